"""Records -> the ``model-index`` of a Hugging Face model card."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from points24.harness.analysis.comparison import interval_of, terms_of
from points24.harness.records.record import Record
from points24.leaderboards.render import wording


def model_card(records: Sequence[Record]) -> str:
    """The card's YAML front matter for the records of one model; shares in 0 … 1."""
    index = eval_results_to_model_index(records[0].model, [_result(record) for record in records])
    return yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True)


def _result(record: Record) -> EvalResult:
    terms = terms_of(record)
    low, high = interval_of(record)
    return EvalResult(
        task_type="text-generation",
        task_name=wording.title(terms),
        dataset_type="points24",
        dataset_name=f"points24 hand set {record.hand_set}",
        dataset_config=record.task or record.hand_set,
        dataset_revision=record.hand_set_digest,
        dataset_args={
            "rule": record.rule,
            "target": record.target,
            "attempts": record.attempts,
            "num_fewshot": record.num_fewshot,
            "task_version": record.task_version,
            "template_digest": record.template_digest,
        },
        metric_type="accuracy",
        metric_name=f"accuracy ({record.filter})" if record.filter else "accuracy",
        metric_value=record.accuracy,
        metric_args={
            "k": record.k,
            "n": record.n,
            "interval_95": [round(low, 6), round(high, 6)],
            "record": record.key,
        },
        source_url=_url(record.source),
    )


def _url(source: str | None) -> str | None:
    return f"https://arxiv.org/abs/{source[6:]}" if source and source.startswith("arXiv:") else None
