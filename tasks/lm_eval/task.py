"""The points24 tasks for lm-eval: what their YAML files in `points24/` name.

One class serves every single-attempt task; `revise` has the one for several attempts. A YAML file says which
hand set; ``--metadata`` may replace

    rule      "id", "ood", or a mapping such as "J=5,Q=7,K=9"
    target    the number to reach
    template  path of a prompt template (see `points24.tasks.prompts`)

What was really used, with digests, is written into the results under ``configs.<task>.metadata``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from datasets import Dataset, DatasetDict
from lm_eval.api.filter import Filter
from lm_eval.api.registry import register_filter
from lm_eval.api.task import ConfigurableTask

from points24.tasks.cards import TARGET, Deal, parse_rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import HandSet, hand_set
from points24.tasks.prompts import Template, json_reply, template
from points24.tasks.replies import is_truncated
from points24.tasks.solver import solutions
from points24.tasks.verdict import FLEXIBLE, STRICT, Verdict, judge_reply

PLAIN_GEN_TOKS = 512
"""Reply limit for a model that is given plain text: the JSON reply takes under 100 tokens."""
CHAT_GEN_TOKS = 4096
"""Reply limit for a model that is addressed through its chat template: room to reason first."""
SHOWN_FORMULA = 200
"""Characters of a formula that are kept beside its verdict in the samples."""


class Points24Task(ConfigurableTask):
    """A single attempt at every deal of a hand set."""

    attempts = 1

    def __init__(self, config: dict[str, Any]):
        settings = {key: value for key, value in config.items() if key != "class"}
        with errors_in_one_line():
            super().__init__(config=settings)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Make the documents; nothing is fetched."""
        metadata: dict[str, Any] = self.config.metadata or {}
        rule, target = metadata.get("rule"), metadata.get("target", TARGET)
        hands = hand_set(metadata["hand_set"], None if rule is None else parse_rule(str(rule)), target)
        wording = template(metadata.get("template"))
        self.dataset = DatasetDict({"test": Dataset.from_list(documents(hands, wording))})
        self.config.metadata = metadata | {
            "rule": hands.rule.name,
            "target": hands.target,
            "hand_set_digest": hands.digest,
            "template_digest": wording.digest,
            "attempts": self.attempts,
        }

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **kwargs: Any) -> None:
        """As in lm-eval, after choosing the reply limit that ``--gen_kwargs max_gen_toks=`` did not set."""
        limits: dict[str, Any] = self.config.generation_kwargs or {}
        if "max_gen_toks" not in limits:
            # `chat_template` is the model's own method, the one place where lm-eval shows a task its model.
            limits["max_gen_toks"] = reply_limit(getattr(chat_template, "__self__", None))
        super().build_all_requests(chat_template=chat_template, **kwargs)


def documents(hands: HandSet, wording: Template) -> list[dict[str, Any]]:
    """One row per deal: the prompt, a right reply, and the deal's weight."""
    return [
        {
            "cards": list(deal.cards),
            "numbers": list(deal.values),
            "rule": deal.rule.name,
            "target": deal.target,
            "weight": weight,
            "prompt": wording.render(deal),
            "reply": json_reply(deal, solutions(deal.values, deal.target)[0]),
        }
        for deal, weight in zip(hands.deals, hands.weights, strict=True)
    ]


def deal_of(doc: dict[str, Any]) -> Deal:
    """The deal that a document asks."""
    return Deal(tuple(doc["cards"]), parse_rule(doc["rule"]), doc["target"])


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """The metrics of one document under one filter.

    Args:
        doc: a row of `documents`.
        results: the filter's judgements, of which there is one.
    """
    return metrics(doc, json.loads(results[0]))


def metrics(doc: dict[str, Any], judged: dict[str, Any]) -> dict[str, Any]:
    """The metrics of one reply, from its judgement by a filter."""
    shares = {verdict.value: float(judged["verdict"] == verdict.value) for verdict in Verdict}
    acc = shares.pop(Verdict.CORRECT.value)
    return {
        "acc": acc,
        "acc_weighted": (acc, doc["weight"]),
        "acc_weighted_stderr": (acc, doc["weight"]),
        **shares,
        "truncated": float(judged["truncated"]),
    }


def reply_limit(lm: object | None) -> int:
    """Tokens that a reply may take: more through a chat template, never over half of a known context.

    Args:
        lm: the lm-eval model behind the chat template; None for plain text.
    """
    if lm is None:
        return PLAIN_GEN_TOKS
    context = known_context(lm)
    return min(CHAT_GEN_TOKS, context // 2) if context else CHAT_GEN_TOKS


def known_context(lm: object) -> int | None:
    """Tokens that prompt and reply may have together, where the lm-eval model knows."""
    # A server's context is not known here: lm-eval's API models carry a nominal one.
    return getattr(lm, "max_length", None) if getattr(lm, "tokenized_requests", True) else None


def weighted_mean(items: Sequence[tuple[float, int]]) -> float:
    """Mean of the values, each weighted by how often the paper's sampler deals its hand."""
    return sum(value * weight for value, weight in items) / sum(weight for _, weight in items)


def weighted_mean_stderr(items: Sequence[tuple[float, int]]) -> float:
    """Standard error of `weighted_mean` with the weights taken as fixed; nan for a single item.

    Linearised ratio estimator (Cochran, Sampling Techniques, 3rd ed., section 6.5), with the n/(n-1)
    correction, so that equal weights give the standard error of a plain mean.
    """
    n = len(items)
    if n < 2:
        return math.nan
    mean, total = weighted_mean(items), sum(weight for _, weight in items)
    return math.sqrt(sum((w * (value - mean)) ** 2 for value, w in items) * n / (n - 1)) / total


class VerdictFilter(Filter):
    """Replaces each reply by its judgement in JSON, so that the samples show formula and verdict."""

    extraction: str

    def apply(self, resps: Iterable[Any], docs: list[dict]) -> list[str]:
        """As in lm-eval: `resps` has a list of replies per document, of which there is one."""
        return [json.dumps(self.judged(replies[0], doc)) for replies, doc in zip(resps, docs, strict=True)]

    def judged(self, reply: str, doc: dict[str, Any]) -> dict[str, Any]:
        """The judgement of one reply."""
        verdict, formula, reason = judge_reply(deal_of(doc), reply, self.extraction)
        return {
            "verdict": verdict.value,
            "formula": formula and formula[:SHOWN_FORMULA],
            "reason": reason,
            "truncated": is_truncated(reply),
        }


@register_filter("points24_strict")
class StrictMatch(VerdictFilter):
    extraction = STRICT


@register_filter("points24_flexible")
class FlexibleExtract(VerdictFilter):
    extraction = FLEXIBLE


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Let bad input end the ``lm_eval`` command with one line and status 2; elsewhere it is raised."""
    try:
        yield
    except InputError as e:
        if _is_lm_eval_command():
            print(f"points24: error: {e}", file=sys.stderr)
            sys.exit(2)
        raise


def _is_lm_eval_command() -> bool:
    main = sys.modules["__main__"]
    return "lm_eval.__main__" in sys.modules or getattr(main, "__package__", None) == "lm_eval"
