"""The short edition; ``python -m tests.fuzz`` is the long one."""

from collections import Counter

import pytest

from points24.tasks.cards import RULES, Deal
from points24.tasks.verdict import Verdict
from tests.fuzz import checks
from tests.fuzz.checks import KINDS, drawn

COUNTS = {"answers": 4000, "replies": 1000, "templates": 300, "rules": 1000}


@pytest.mark.parametrize("kind", COUNTS)
def test_random_inputs_do_what_must_hold(kind):
    outcomes = Counter(KINDS[kind].check(drawn(kind, 1, number)) for number in range(COUNTS[kind]))
    assert len(outcomes) > 1  # the inputs are of both sorts


def test_answers_are_of_every_sort():
    outcomes = Counter(KINDS["answers"].check(drawn("answers", 2, number)) for number in range(6000))
    assert outcomes.keys() == {verdict.value for verdict in Verdict} - {"no_answer"}


def test_a_wrong_verdict_is_found(monkeypatch):
    deal = Deal(("K", "5", "A", "2"), RULES["ood"])
    checks.check_answer((deal, "13+5*2+1"))
    monkeypatch.setattr(checks, "is_correct", lambda *_: False)
    monkeypatch.setattr(checks, "numbers_and_value", lambda _: ([13, 5, 1, 2], 25))
    with pytest.raises(AssertionError, match="correct; the oracle says wrong_value"):
        checks.check_answer((deal, "13+5*2+1"))
