"""Records for a terminal: every score of a few checkpoints, or one line each of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from tabulate import tabulate

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import interval_of, sampling_of
from points24.harness.records.record import Record
from points24.tasks.verdict import Verdict

MOST_ROWS = 20
"""Of a summary."""
_NAME = 52
"""Characters of a checkpoint's name in a summary."""

_WRONG = [verdict for verdict in Verdict if verdict != Verdict.CORRECT]
_SHARES = [f"_{verdict.value}".split("_")[-2:] for verdict in _WRONG] + [["cut", "off"]]
# Headers as rows, because tabulate makes room around real ones.
_HEADERS = [
    ["", "", "", "", "", *(above for above, _ in _SHARES)],
    ["task", "filter", "n", "acc %", "95 %", *(below for _, below in _SHARES)],
]


def score_tables(records: Iterable[Record]) -> str:
    """Per checkpoint a table with a row per task and filter: accuracy, and the share of each other verdict.

    Shares are in percent of the replies. The last column is the share of those that were cut off.
    """
    blocks = []
    for title, group in groupby(sorted(records, key=_place), key=_title):
        rows = [*_HEADERS, *(row for record in group for row in _rows(record))]
        sides = ["left", "left", *["right"] * (len(_HEADERS[0]) - 2)]
        table = tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=sides)
        blocks.append(f"{title}\n\n{table}")
    return "\n\n".join(blocks)


def summary(records: Sequence[Record]) -> str:
    """One checkpoint in full; of several a line each, the best on the last task first, at most `MOST_ROWS`.

    A line has the accuracies in percent under the first filter of the records.
    """
    names = {record.model: _name(record) for record in records}
    if len(names) < 2:
        return score_tables(records)
    shown = [record for record in records if record.filter == records[0].filter]
    tasks = list(dict.fromkeys(record.task for record in shown))
    accuracy = {(record.model, record.task): record.accuracy for record in shown}
    ranked = sorted(names, key=lambda model: -accuracy.get((model, tasks[-1]), 0.0))
    rows = [
        [names[model], *(formats.percent(accuracy.get((model, task))) for task in tasks)]
        for model in ranked[:MOST_ROWS]
    ]
    headers = ["checkpoint", *(_short(task) for task in tasks)]
    more = len(ranked) - MOST_ROWS
    end = f"\n… and {more} more" if more > 0 else ""
    title = f"accuracy in %, {records[0].filter}"
    return f"{title}\n\n{tabulate(rows, headers, disable_numparse=True)}{end}"


def _place(record: Record) -> tuple[str, ...]:
    return _title(record), record.task or "", record.filter or ""


def _title(record: Record) -> str:
    how = [record.engine, record.dtype, record.num_fewshot and f"{record.num_fewshot}-shot", record.protocol]
    return f"{record.label} ({', '.join(str(part) for part in how if part)})"


def _rows(record: Record) -> list[list[str]]:
    shares = [formats.percent(record.verdict_share(verdict)) for verdict in _WRONG]
    cut = "" if record.truncated is None else formats.percent(record.truncated / record.n)
    accuracy = formats.percent(record.accuracy), formats.interval(interval_of(record))
    first = [_short(record.task), _filter(record), str(record.n), *accuracy, *shares, cut]
    return [first] + [
        ["", name, "", formats.percent(share), formats.interval(interval)]
        for name, (share, interval) in sampling_of(record).items()
    ]


def _short(task: str | None) -> str:
    return (task or "").removeprefix("points24_")


def _filter(record: Record) -> str:
    """strict, flexible or paper."""
    return (record.filter or "").partition("-")[0]


def _name(record: Record) -> str:
    """A checkpoint's name; of a recovered one the recipe, without what all layers and the pair add."""
    name = record.model
    if record.stage == "recovered":
        name = name.partition("_of_")[0].removesuffix("-layers-all")
    return name if len(name) <= _NAME else f"{name[: _NAME // 2]}…{name[-_NAME // 2 + 1 :]}"
