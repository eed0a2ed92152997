"""How protocols, rows and comparisons read, the same in every output."""

from __future__ import annotations

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import Difference, Terms, sampling_of
from points24.harness.analysis.statistics import deals_needed, paired_deals_needed
from points24.harness.records.decoding import GREEDY
from points24.harness.records.record import Record
from points24.leaderboards.aggregate import Row
from points24.tasks.hand_sets import HAND_SETS
from points24.tasks.protocols.protocol import DEFAULT


def against(found: Difference | None) -> tuple[str, str]:
    """Difference with its interval, and p with Holm's in brackets; empty without a comparison."""
    if found is None:
        return "", ""
    low, high = found.interval
    return (
        f"{formats.points(found.share)} [{formats.points(low)}, {formats.points(high)}]",
        f"{formats.p_value(found.p)} ({formats.p_value(found.p_holm)})",
    )


def standing(row: Row) -> str:
    """Whether a row differs from the best of its table."""
    if row.best is None or (row.best.table and not row.best.table.only_a and not row.best.table.only_b):
        return "best"  # or deal by deal the same, such as the same weights in batches of another size
    return "below" if row.best.is_clear else "tied"


def title(terms: Terms) -> str:
    name = terms.task or f"Reported on the paper's {terms.rule.upper()} deals"
    return f"{name}, {terms.filter}" if terms.filter else name


def attempts(number: int) -> str:
    return "single attempt" if number == 1 else f"up to {number} attempts with feedback"


def of_all_samples(record: Record) -> str:
    """pass@n and maj@n in percent for the n samples of a deal; empty where there is one."""
    return " / ".join(formats.percent(share) for share, _ in list(sampling_of(record).values())[-2:])


def facts(terms: Terms) -> list[tuple[str, str]]:
    """What the rows of a table share, as names and values."""
    about = HAND_SETS.get(terms.hand_set, "a hand set of another version")
    digests = [
        ("hand set digest", terms.hand_set_digest),
        ("template digest", terms.template_digest),
        ("protocol digest", terms.protocol_digest),
    ]
    return [
        ("deals", f"{terms.n:,} of hand set {terms.hand_set} ({about})"),
        ("rule", f"{terms.rule}, target {terms.target}"),
        ("protocol", attempts(terms.attempts)),
        *([("asked in", f"protocol {terms.protocol}")] if terms.protocol != DEFAULT else []),
        *([("decoding", terms.decoding)] if terms.decoding != GREEDY else []),
        *([("samples per deal", str(terms.repeats))] if terms.repeats > 1 else []),
        *([("task version", terms.task_version)] if terms.task_version else []),
        *([("examples in the prompt", str(terms.num_fewshot))] if terms.num_fewshot else []),
        *((name, digest[:12]) for name, digest in digests if digest),
    ]


ONE_PROTOCOL = (
    "A table holds one protocol: task version, hand set, prompt template, number of attempts, filter and "
    "number of deals. Figures of different tables cannot be ranked against each other."
)
INTERVALS = "Intervals are Wilson's at 95 %; where hands repeat, n is divided by the repeats' design effect."


def notes() -> list[str]:
    """How to read the tables."""
    unpaired = f"{deals_needed(0.15, 0.20):,}"
    paired = f"{paired_deals_needed(0.05, 0.15):,}"
    return [
        ONE_PROTOCOL,
        INTERVALS,
        "Differences are in percentage points. Measured records of one table played the same deals, so "
        "their tests are paired: exact McNemar with Tango's interval, or an exact sign-flip test by hand "
        "where hands repeat. Reported rows have no per-deal outcomes; they get a two-sample score test, "
        "which needs larger gaps.",
        "The p in brackets is adjusted by Holm over all comparisons of the table. `tied` means that at 5 %, "
        "after this adjustment, the row does not differ from the best one. The best row is picked by the "
        "same deals, which flatters it.",
        f"To distinguish 15 % from 20 % with 80 % power takes {unpaired} deals a record without pairing, and "
        f"{paired} paired deals if the two disagree on 15 % of them. The paper's 234 suffice for neither.",
    ]


def provenance(record: Record) -> list[tuple[str, str]]:
    """Where a figure comes from, as names and values; unknown ones are left out."""
    decoding = ", ".join(f"{key}={value}" for key, value in (record.decoding or {}).items())
    recipe = ", ".join(f"{key}={value}" for key, value in (record.recipe or {}).items())
    packages = ", ".join(f"{name} {number}" for name, number in (record.versions or {}).items())
    values = [
        ("status", record.status),
        ("source", record.source),
        ("parent", record.parent),
        ("command", record.command),
        ("date", record.date),
        ("weights SHA-256", record.weights_sha256),
        ("chat template digest", record.chat_template_digest),
        ("decoding", decoding),
        ("engine", " ".join(filter(None, (record.engine, record.dtype)))),
        ("truncated replies", None if record.truncated is None else str(record.truncated)),
        ("recipe", recipe),
        ("versions", packages),
        ("record", record.key),
    ]
    return [(name, value) for name, value in values if value]
