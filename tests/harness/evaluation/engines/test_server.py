"""``points24 eval`` of models behind an OpenAI-compatible server."""

import json

import pytest

from points24.harness.cli import main
from points24.harness.records.record import record_of
from tests.tasks.test_lm_eval import chat_server, memoriser, solver

LIMIT = 6


class Player:
    """Plays right on the ID deals, by the ID rule on all others, and nothing after so many requests."""

    def __init__(self):
        self.left: float = float("inf")

    def __call__(self, messages):
        self.left -= 1
        if self.left < 0:
            raise ConnectionAbortedError
        return memoriser(messages[-1]["content"])


@pytest.fixture
def player():
    return Player()


@pytest.fixture
def evaluate(player, tmp_path):
    """(runs ``points24 eval`` of the server's models and returns its exit status, the requests it got)"""
    with chat_server(player) as (arguments, requests):

        def run(*models, flags=(), **model_args):
            args = {"base_url": arguments["base_url"], "num_concurrent": 1, "max_retries": 1} | model_args
            return main(
                ["eval", *models, "--engine", "local-chat-completions", "--apply_chat_template", "--json",
                 "-o", str(tmp_path / "out"), "--limit", str(LIMIT),
                 "--model_args", ",".join(f"{key}={value}" for key, value in args.items()), *flags]
            )  # fmt: skip

        yield run, requests


def records(capsys):
    return [record_of(json.loads(line)) for line in capsys.readouterr().out.splitlines()]


def test_a_servers_models_are_scored_by_the_names_it_knows(evaluate, capsys):
    evaluate, requests = evaluate
    assert evaluate("org/first", "second") == 0
    found = records(capsys)
    assert [(r.model, r.task) for r in found[::2]] == [
        (model, task) for model in ("org/first", "second") for task in ("points24_id", "points24_ood")
    ]
    assert {r.k for r in found if r.task == "points24_id"} == {LIMIT}
    assert {r.k for r in found if r.task == "points24_ood"} == {0}
    assert {(r.engine, r.weights_sha256) for r in found} == {("local-chat-completions", None)}
    assert [request["model"] for request in requests] == ["org/first"] * 12 + ["second"] * 12


def test_it_counts_what_is_right(monkeypatch, evaluate, player, capsys):
    evaluate, _ = evaluate
    asked = []

    def every_second(messages):
        asked.append(messages)
        return solver(messages[-1]["content"]) if len(asked) % 2 else "no"

    monkeypatch.setattr(Player, "__call__", lambda self, messages: every_second(messages))
    assert evaluate("model", flags=["--tasks", "points24_ood"]) == 0
    assert {(r.k, r.n) for r in records(capsys)} == {(3, 6)}


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_server_that_dies_is_a_failed_job_and_the_same_command_goes_on(evaluate, player, capsys, at_once):
    evaluate, requests = evaluate
    player.left = 15
    assert evaluate("first", "second", num_concurrent=at_once) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 4
    lines = [line for line in captured.err.splitlines() if line.startswith("points24: ")]
    assert lines[0] == "points24: trying 1 jobs again"
    assert lines[1].startswith("points24: second failed: ")
    assert "Remote end closed connection" in lines[1] or "Server disconnected" in lines[1]
    assert lines[2:] == ["points24: 1 of 2 jobs failed; the same command tries them again"]
    player.left = float("inf")
    before = len(requests)
    assert evaluate("first", "second", num_concurrent=at_once) == 0
    again = requests[before:]  # with several at once, a request of the failed run may arrive late
    assert {request["model"] for request in again} == {"second"}
    assert len({str(request["messages"]) for request in again}) == 2 * LIMIT
    assert [r.model for r in records(capsys)] == ["first"] * 4 + ["second"] * 4


def test_a_server_that_is_not_there_is_named(tmp_path, evaluate, capsys):
    evaluate, _ = evaluate
    assert evaluate("model", base_url="http://127.0.0.1:1/v1/chat/completions") == 1
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("points24: model failed")
    ]
    assert len(lines) == 1
    assert "Connect" in lines[0]
    assert "port=1" in lines[0]
