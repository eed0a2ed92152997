"""The points24 tasks with several attempts, for lm-eval: after each failure the protocol's verifier answers.

lm-eval generates once per document, which is the first attempt. The others are played when lm-eval filters
the replies: each attempt is one ``generate_until`` over all open dialogues, so every engine batches it.

``--metadata`` may replace the same as in single-attempt tasks, and

    attempts  attempts per deal, 1 to 20
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.registry import register_filter

from points24.tasks.errors import InputError
from points24.tasks.lm_eval.task import (
    FlexibleExtract,
    PaperMatch,
    Points24Task,
    StrictMatch,
    VerdictFilter,
    deal_of,
    exit_on_bad_input,
    known_context,
    metrics,
    share_metrics,
)
from points24.tasks.protocols.protocol import DEFAULT, MAX_ATTEMPTS, read_protocol
from points24.tasks.replies import opened_thinking
from points24.tasks.revision import deciding
from points24.tasks.verdict import Verdict

Messages = list[dict[str, str]]


@dataclass
class OpenDialogue:
    """A dialogue in progress about one deal.

    Attributes:
        request: lm-eval's; its `resps` hold the replies so far.
        messages: the conversation before the next reply.
    """

    request: Instance
    messages: Messages


class ReviseTask(Points24Task):
    """A hand set with several attempts per deal."""

    filter_suffix = "_each"
    most_repeats = 1  # several samples of a dialogue are not played

    def __init__(self, config: dict[str, Any]):
        metadata = config.get("metadata") or {}
        with exit_on_bad_input():
            protocol = read_protocol(str(metadata.get("protocol", DEFAULT)))
            attempts = self.attempts = attempts_in(metadata, protocol.attempts)

        # Not a method: lm-eval deep-copies the configuration, and with a method it would copy the model.
        def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
            return dialogue_metrics(doc, json.loads(results[0]), attempts)

        own_metrics = share_metrics(
            {f"acc@{k}": True for k in range(1, attempts + 1)} | {"attempts_used": False}
        )
        metric_list = config["metric_list"] + own_metrics
        super().__init__(config | {"metric_list": metric_list, "process_results": process_results})

    def float_metrics(self) -> dict[str, bool]:
        """acc_float, and acc_float@1, …"""
        found = super().float_metrics()
        return found | {f"{name}@{k}": up for name, up in found.items() for k in range(1, self.attempts + 1)}

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """As for a single attempt, with the digest of the verifier's wording in the metadata."""
        super().download(dataset_kwargs, **kwargs)
        self.config.metadata["feedback_digest"] = self.protocol.feedback_digest

    def build_all_requests(self, *, chat_template: Any = None, **kwargs: Any) -> None:
        """As in lm-eval, without its cache of requests, which holds prompts but no messages."""
        with exit_on_bad_input():
            if chat_template is None:
                raise InputError(f"{self.config.task}: several attempts need --apply_chat_template")
        self._lm: Any = chat_template.__self__  # see `Points24Task`
        self._first_messages: list[Messages] = []
        kwargs |= {"cache_requests": False, "rewrite_requests_cache": False}
        super().build_all_requests(chat_template=chat_template, **kwargs)

    def fewshot_context(
        self, *args: Any, chat_template: Callable[..., Any] | None = None, **kwargs: Any
    ) -> str | list[str]:
        """As in lm-eval, but keep the messages from which the prompt is rendered."""
        assert chat_template is not None  # checked by build_all_requests

        def kept(messages: Messages, **settings: Any) -> Any:
            self._first_messages.append(messages)
            return chat_template(messages, **settings)

        return super().fewshot_context(*args, chat_template=kept, **kwargs)

    def apply_filters(self) -> list[Instance] | None:
        """Play the attempts after the first, then filter all replies."""
        self._play()
        return super().apply_filters()

    def _play(self) -> None:
        playing = [
            OpenDialogue(request, messages)
            for request, messages in zip(self.instances, self._first_messages, strict=True)
        ]
        for dialogue in playing:
            # With several processes, lm-eval pads shorter shares by repeating their last deal.
            del dialogue.request.resps[1:]
        too_long = 0
        for attempt in range(2, self.attempts + 1):
            going_on = [(dialogue, request) for dialogue in playing if (request := self._next(dialogue))]
            asked = [(dialogue, request) for dialogue, request in going_on if self._fits(request)]
            too_long += len(going_on) - len(asked)
            if not asked:
                break
            progress = f"attempt {attempt} of {self.attempts}, {len(asked)} of {len(self.instances)} deals"
            print(f"points24: {self.config.task}: {progress}", file=sys.stderr)
            replies = self._lm.generate_until([request for _, request in asked])
            for (dialogue, _), reply in zip(asked, replies, strict=True):
                dialogue.request.resps.append(reply)
            playing = [dialogue for dialogue, _ in asked]
        if too_long:
            why = f"with a reply of {self._limit} tokens (max_gen_toks) they would exceed the model's context"
            print(f"points24: {self.config.task}: {too_long} dialogues ended early: {why}", file=sys.stderr)

    def _next(self, dialogue: OpenDialogue) -> Instance | None:
        """The request for a dialogue's next reply; None after a success."""
        request = dialogue.request
        reply = request.resps[-1]
        opened = opened_thinking(str(request.args[0]))
        message = self.protocol.verify(deal_of(request.doc), opened + reply).message
        if message is None:
            return None
        said = [{"role": "assistant", "content": reply}, {"role": "user", "content": message}]
        dialogue.messages = dialogue.messages + said
        prompt = self._lm.apply_chat_template(dialogue.messages)
        settings = deepcopy(self.config.generation_kwargs)  # lm-eval's models may pop entries
        return Instance(
            "generate_until", request.doc, (prompt, settings), request.idx, metadata=request.metadata
        )

    def _fits(self, request: Instance) -> bool:
        """Whether prompt and reply fit the context; lm-eval would cut off the start of a longer prompt."""
        prompt, context = request.args[0], known_context(self._lm)
        if context is None or not isinstance(prompt, str):
            return True
        return len(self._lm.tok_encode(prompt)) + self._limit <= context

    @property
    def _limit(self) -> int:
        settings: dict[str, Any] = self.config.generation_kwargs or {}
        return settings["max_gen_toks"]


def attempts_in(metadata: dict[str, Any], default: int) -> int:
    """The number of attempts per deal.

    Raises:
        InputError: not a whole number from 1 to `MAX_ATTEMPTS`.
    """
    attempts = metadata.get("attempts", default)
    if type(attempts) is not int or not 1 <= attempts <= MAX_ATTEMPTS:
        raise InputError(f"attempts: expected a whole number from 1 to {MAX_ATTEMPTS}, found {attempts!r}")
    return attempts


def dialogue_metrics(doc: dict[str, Any], judged: list[dict[str, Any]], attempts: int) -> dict[str, Any]:
    """The metrics of one dialogue under one filter.

    Args:
        doc: a row of `documents`.
        judged: the filter's judgement of each reply.
        attempts: the maximum number of replies.
    """
    verdicts = [reply["verdict"] for reply in judged]
    place = deciding(verdicts)
    correct = verdicts[place] == Verdict.CORRECT
    return {
        **metrics(doc, judged[place]),
        **_float_metrics(judged, attempts),
        **{f"acc@{k}": float(correct and place < k) for k in range(1, attempts + 1)},
        "attempts_used": float(place + 1),
    }


def _float_metrics(judged: list[dict[str, Any]], attempts: int) -> dict[str, float]:
    """Success under the float checker, which decides by replies of its own; empty without it."""
    if "correct_in_floats" not in judged[0]:
        return {}
    correct = [reply["correct_in_floats"] for reply in judged]
    return {"acc_float": float(any(correct))} | {
        f"acc_float@{k}": float(any(correct[:k])) for k in range(1, attempts + 1)
    }


class _EachAttempt(VerdictFilter):
    """Replace the replies of a dialogue by a JSON list of their judgements, in order."""

    def apply(self, resps: Iterable[Any], docs: list[dict]) -> list[str]:
        return [
            json.dumps([self.judged(reply, doc) for reply in replies])
            for replies, doc in zip(resps, docs, strict=True)
        ]


@register_filter("points24_strict_each")
class StrictEach(_EachAttempt, StrictMatch):
    """Judge by the JSON object that the prompt of `points24` asks for."""


@register_filter("points24_flexible_each")
class FlexibleEach(_EachAttempt, FlexibleExtract):
    """Judge by the last formula of each reply, however the verifier judged it."""


@register_filter("points24_paper_each")
class PaperEach(_EachAttempt, PaperMatch):
    """Judge by the extraction of the paper's verifier."""
