"""The points24 tasks for lm-eval: the class, functions and filters that the YAML files in `points24/` name.

One class serves every single-attempt task; `revise` has another for several attempts. A YAML file names the
hand set. ``--metadata`` may replace

    rule      "id", "ood", or a mapping such as "J=5,Q=7,K=9"
    target    the number to reach
    protocol  a protocol's name or folder (see `points24.tasks.protocols`): prompt, filters, metrics, decoding
    template  name or path of a prompt template (see `points24.tasks.prompts`), instead of the protocol's
    decoding  "greedy" or "model", instead of the protocol's
    repeats   samples per deal, 1 to 256, with --gen_kwargs do_sample=true,temperature=…: pass@k and maj@k

The results hold the values used, with digests, under ``configs.<task>.metadata``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from datasets import Dataset, DatasetDict
from lm_eval.api.filter import Filter
from lm_eval.api.instance import Instance
from lm_eval.api.registry import register_filter
from lm_eval.api.task import ConfigurableTask

from points24.tasks.cards import Deal, parse_any_rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import HandSet, hand_set
from points24.tasks.lm_eval.decoding import decoding_of, model_decoding, without_sampling
from points24.tasks.prompts import Template, template
from points24.tasks.protocols.protocol import DEFAULT, PROTOCOLS, Protocol, read_protocol
from points24.tasks.replies import is_truncated, opened_thinking
from points24.tasks.sampling import estimate_names, estimates, numbered, vote_of
from points24.tasks.time_limit import check_chat_template
from points24.tasks.verdict import FLEXIBLE, PAPER, STRICT, Verdict, judge_reply

SETTINGS = ("rule", "target", "protocol", "template", "decoding", "repeats", "attempts")
"""Keys of ``--metadata``; the last is for several attempts."""
PLAIN_GEN_TOKS = 512
"""Reply limit for a plain-text prompt; the JSON reply takes under 100 tokens."""
CHAT_GEN_TOKS = 4096
"""Reply limit for a prompt in a chat template, with room to reason first."""
SHOWN_FORMULA = 200
"""Characters of a formula that the samples keep."""

_FUNCTIONS = {STRICT: "points24_strict", FLEXIBLE: "points24_flexible", PAPER: "points24_paper"}
"""The filter functions by extraction, for lm-eval's registry."""


class Points24Task(ConfigurableTask):
    """A hand set with a single attempt per deal."""

    attempts = 1
    most_repeats = 256
    filter_suffix = ""
    """What the names of our filter functions end in."""

    def __init__(self, config: dict[str, Any]):
        settings = {key: value for key, value in config.items() if key != "class"}
        with exit_on_bad_input():
            metadata = config.get("metadata") or {}
            check_keys(metadata)
            protocol = self.protocol = read_protocol(str(metadata.get("protocol", DEFAULT)))
            self.decoding = decoding_of(metadata, protocol)
            self.repeats = settings["repeats"] = self._repeats(metadata, config)
            settings["filter_list"] = self._filters()
            more = estimate_names(self.repeats) if self.repeats > 1 else ()
            shares = self.float_metrics() | dict.fromkeys(more, True)
            settings["metric_list"] = [*settings["metric_list"], *share_metrics(shares)]
            if self.decoding == "model":
                settings["generation_kwargs"] = without_sampling(settings["generation_kwargs"])
            if protocol.max_gen_toks:
                settings["generation_kwargs"] = {"max_gen_toks": protocol.max_gen_toks} | settings[
                    "generation_kwargs"
                ]
            super().__init__(config=settings)

    def float_metrics(self) -> dict[str, bool]:
        """The metrics of the float checker, if the protocol has it."""
        return {"acc_float": True} if self.has_floats else {}

    @property
    def has_floats(self) -> bool:
        return "float" in self.protocol.checkers

    def _filters(self) -> list[dict[str, Any]]:
        settings = {"floats": True} if self.has_floats else {}
        settings |= {"repeats": self.repeats} if self.repeats > 1 else {}
        return [
            {"name": name, "filter": [{"function": _FUNCTIONS[name] + self.filter_suffix, **settings}]}
            for name in self.protocol.filters
        ]

    def _repeats(self, metadata: Mapping[str, Any], config: Mapping[str, Any]) -> int:
        """Samples per deal: what the metadata ask for, else lm-eval's own key in the YAML file."""
        found = metadata.get("repeats", config.get("repeats", 1))
        if self.most_repeats == 1 and found != 1:
            raise InputError(f"repeats={found}: a task of several attempts takes one sample per deal")
        if type(found) is not int or not 1 <= found <= self.most_repeats:
            raise InputError(
                f"repeats: expected a whole number from 1 to {self.most_repeats}, found {found!r}"
            )
        return found

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Generate the documents; nothing is downloaded."""
        metadata: dict[str, Any] = self.config.metadata or {}
        rule, target = metadata.get("rule"), metadata.get("target")
        hands = hand_set(metadata["hand_set"], None if rule is None else parse_any_rule(str(rule)), target)
        wording = template(metadata["template"]) if metadata.get("template") else self.protocol.prompt
        self.dataset = DatasetDict({"test": Dataset.from_list(documents(hands, self.protocol, wording))})
        given = metadata.get("protocol", DEFAULT)
        self.config.metadata = metadata | {
            "rule": hands.rule.name,
            "target": hands.target,
            "hand_set_digest": hands.digest,
            "template_digest": wording.digest,
            "attempts": self.attempts,
            "protocol": self.protocol.name,
            "protocol_digest": self.protocol.digest,
            **({"repeats": self.repeats} if self.repeats > 1 else {}),
            **({} if given in PROTOCOLS else {"protocol_folder": given}),
        }

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **kwargs: Any) -> None:
        """As in lm-eval, with our reply limit and decoding unless ``--gen_kwargs`` sets them."""
        settings: dict[str, Any] = self.config.generation_kwargs or {}
        # `chat_template` is a method of the model, the only way for a task to see its model.
        lm = getattr(chat_template, "__self__", None)
        if chat_template is not None:
            with exit_on_bad_input():
                check_chat_template(chat_template)
        if "max_gen_toks" not in settings:
            settings["max_gen_toks"] = reply_limit(lm)
        if self.decoding == "model":
            with exit_on_bad_input():
                settings.update(model_decoding(lm, settings, self.config.task))
        samples = settings.get("do_sample") and settings.get("temperature", 1) > 0
        with exit_on_bad_input():
            if self.repeats > 1 and not samples:
                raise InputError(
                    f"{self.config.task}: repeats={self.repeats}, but greedy replies are all equal; "
                    "sample with --gen_kwargs do_sample=true,temperature=…"
                )
        super().build_all_requests(chat_template=chat_template, **kwargs)

    def apply_filters(self) -> list[Instance] | None:
        """As in lm-eval, where a reply begins with the tag of the thinking that its prompt has opened."""
        for request in self.instances:
            opened = opened_thinking(str(request.args[0]))
            request.resps = [opened + reply if isinstance(reply, str) else reply for reply in request.resps]
        if self.repeats > 1 and all(len(set(request.resps)) == 1 for request in self.instances):
            print(
                f"points24: warning: {self.config.task}: the {self.repeats} samples of each deal are equal; "
                "a server that is told a seed may give one reply again and again (see the task's README)",
                file=sys.stderr,
            )
        return super().apply_filters()


def check_keys(metadata: Mapping[str, Any]) -> None:
    """Refuse a misspelt key; not every unknown one, because lm-eval adds the model's arguments.

    Raises:
        InputError: a key that is almost one of `SETTINGS`.
    """
    for key in metadata.keys() - set(SETTINGS):
        if near := get_close_matches(str(key), SETTINGS, n=1, cutoff=0.8):
            raise InputError(
                f"metadata: unknown key {key}; did you mean {near[0]}? allowed: {', '.join(SETTINGS)}"
            )


def documents(hands: HandSet, protocol: Protocol, wording: Template) -> list[dict[str, Any]]:
    """One row per deal, with its prompt, a right reply and its weight."""
    stated = hands.stated
    return [
        {
            "cards": list(deal.cards),
            "numbers": list(deal.values),
            "rule": deal.rule.name,
            "target": deal.target,
            "weight": weight,
            "prompt": wording.render(deal.under(stated) if stated else deal),
            "reply": protocol.reply(deal, hands.example(place)),
        }
        for place, (deal, weight) in enumerate(zip(hands.deals, hands.weights, strict=True))
    ]


def deal_of(doc: dict[str, Any]) -> Deal:
    """The deal that a document asks."""
    return Deal(tuple(doc["cards"]), parse_any_rule(doc["rule"]), doc["target"])


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """The metrics of a row of `documents`, from a filter's judgement, or its list of one per sample."""
    judged = json.loads(results[0])
    return sample_metrics(doc, judged) if isinstance(judged, list) else metrics(doc, judged)


def metrics(doc: dict[str, Any], judged: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a row of `documents`, from a judgement of `VerdictFilter`."""
    floats = {"acc_float": float(judged["correct_in_floats"])} if "correct_in_floats" in judged else {}
    acc = float(judged["verdict"] == Verdict.CORRECT)
    return {
        "acc": acc,
        "acc_weighted": (acc, doc["weight"]),
        "acc_weighted_stderr": (acc, doc["weight"]),
        "wrong_rule": float(judged["verdict"] == Verdict.WRONG_RULE),
        **floats,
    }


def sample_metrics(doc: dict[str, Any], judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The metrics of a document with several samples: the mean of each over them, pass@k and maj@k."""
    each = [metrics(doc, sample) for sample in judged]
    means = {
        name: sum(one[name] for one in each) / len(each)
        for name, value in each[0].items()
        if not isinstance(value, tuple)
    }
    weighted = dict.fromkeys(("acc_weighted", "acc_weighted_stderr"), (means["acc"], doc["weight"]))
    samples = numbered([sample["vote"] for sample in judged], [bool(one["acc"]) for one in each])
    return means | weighted | dict(zip(estimate_names(len(each)), estimates(tuple(samples)), strict=True))


def reply_limit(lm: object | None) -> int:
    """Tokens that a reply may take: more in a chat template, at most half of a known context.

    Args:
        lm: the lm-eval model behind the chat template; None for plain text.
    """
    if lm is None:
        return PLAIN_GEN_TOKS
    context = known_context(lm)
    return min(CHAT_GEN_TOKS, context // 2) if context else CHAT_GEN_TOKS


def known_context(lm: object) -> int | None:
    """Tokens that fit the context; None if unknown, as for a server, whose `max_length` is nominal."""
    return getattr(lm, "max_length", None) if getattr(lm, "tokenized_requests", True) else None


def weighted_mean(items: Sequence[tuple[float, int]]) -> float:
    """The mean of (value, weight) pairs."""
    return sum(value * weight for value, weight in items) / sum(weight for _, weight in items)


def weighted_mean_stderr(items: Sequence[tuple[float, int]]) -> float:
    """Standard error of `weighted_mean` for fixed weights; nan for a single item.

    Linearised ratio estimator (Cochran, Sampling Techniques, 3rd ed., section 6.5). With its n/(n-1)
    correction, equal weights give the standard error of a plain mean.
    """
    n = len(items)
    if n < 2:
        return math.nan
    mean, total = weighted_mean(items), sum(weight for _, weight in items)
    return math.sqrt(sum((w * (value - mean)) ** 2 for value, w in items) * n / (n - 1)) / total


def share_metrics(names: Mapping[str, bool]) -> list[dict[str, Any]]:
    """lm-eval's settings of metrics that are means.

    Args:
        names: of the metrics, with whether higher is better.
    """
    return [{"metric": name, "aggregation": "mean", "higher_is_better": up} for name, up in names.items()]


class VerdictFilter(Filter):
    """Replace each reply by its judgement in JSON, so that the samples show formula and verdict."""

    extraction: str

    def __init__(self, floats: bool = False, repeats: int = 1):
        self.floats, self.repeats = floats, repeats

    def apply(self, resps: Iterable[Any], docs: list[dict]) -> list[str]:
        """As in lm-eval: `resps` holds a list of replies per document; several samples have votes."""
        pairs = zip(resps, docs, strict=True)
        if self.repeats == 1:
            return [json.dumps(self.judged(replies[0], doc)) for replies, doc in pairs]
        # With several processes lm-eval pads shorter shares by repeating their last deal.
        return [
            json.dumps([self.judged(reply, doc, votes=True) for reply in replies[: self.repeats]])
            for replies, doc in pairs
        ]

    def judged(self, reply: str, doc: dict[str, Any], votes: bool = False) -> dict[str, Any]:
        deal = deal_of(doc)
        judgement = judge_reply(deal, reply, self.extraction)
        return {
            "verdict": judgement.verdict.value,
            "formula": judgement.formula and judgement.formula[:SHOWN_FORMULA],
            "reason": judgement.reason,
            "truncated": is_truncated(reply),
            **({"correct_in_floats": judgement.correct_in_floats} if self.floats else {}),
            **({"vote": vote_of(deal, judgement.formula, self.extraction)} if votes else {}),
        }


@register_filter("points24_strict")
class StrictMatch(VerdictFilter):
    extraction = STRICT


@register_filter("points24_flexible")
class FlexibleExtract(VerdictFilter):
    extraction = FLEXIBLE


@register_filter("points24_paper")
class PaperMatch(VerdictFilter):
    extraction = PAPER


@contextmanager
def exit_on_bad_input() -> Iterator[None]:
    """Within the ``lm_eval`` command, turn an `InputError` into one line and exit status 2."""
    try:
        yield
    except InputError as e:
        package = getattr(sys.modules["__main__"], "__package__", None)
        if package != "lm_eval" and "lm_eval.__main__" not in sys.modules:
            raise
        print(f"points24: error: {e}", file=sys.stderr)
        sys.exit(2)
