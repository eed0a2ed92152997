"""A rollout of verifiers itself, with a client whose replies are known."""

import asyncio

import pytest

from points24.rewards import load_environment
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import json_reply
from points24.tasks.solver import solutions

vf = pytest.importorskip("verifiers", reason="needs verifiers: pip install 'verifiers<0.2'")


def test_rollouts_are_paid_by_their_verdict():
    from verifiers.clients import Client  # pyright: ignore[reportMissingImports]: optional
    from verifiers.types import Response, ResponseMessage  # pyright: ignore[reportMissingImports]: optional

    deal = hand_set("ood").deals[0]
    replies = iter([json_reply(deal, solutions(deal.values, 24)[0]), "6*4*1*1", "no idea"])

    class Scripted(Client):
        def setup_client(self, config):
            return None

        async def to_native_tool(self, tool):
            return tool

        async def to_native_prompt(self, messages):
            return messages, {}

        async def get_native_response(self, prompt, model, sampling_args, tools=None, **kwargs):
            return next(replies)

        async def raise_from_native_response(self, response):
            pass

        async def from_native_response(self, response):
            message = ResponseMessage(content=response, finish_reason="stop", is_truncated=False)
            return Response(id="0", created=0, model="scripted", message=message)

        async def close(self):
            pass

    env = vf.load_environment("points24.rewards", name="ood", num_examples=1, table="sparse")
    found = asyncio.run(
        env.evaluate(
            Scripted(None), "scripted", rollouts_per_example=3, max_concurrent=1, state_columns=["verdict"]
        )
    )
    outputs = found["outputs"]
    assert sorted(each["reward"] for each in outputs) == [0, 0, 1]
    assert sorted(each["verdict"] for each in outputs) == ["correct", "no_answer", "wrong_numbers"]
    assert [each["correct"] for each in outputs if each["verdict"] == "correct"] == [1]


def test_an_unknown_table_is_refused_when_the_environment_is_made():
    with pytest.raises(InputError, match="rewards: expected"):
        load_environment(table="dense")
