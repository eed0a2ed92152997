"""pass@k and maj@k against hand computations and brute force; and several samples inside lm-eval."""

import json
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from points24.tasks.cards import RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.prompts import json_reply
from points24.tasks.sampling import estimate_names, estimates, majority_at, numbered, pass_at, vote_of
from points24.tasks.verdict import FILTERS
from tests.tasks.test_lm_eval import Player, deal_in, evaluate, solver

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])
SAMPLING = {"do_sample": True, "temperature": 0.7}


def test_pass_at_k_by_hand():
    # 5 samples, 2 correct: 1 - C(3,k)/C(5,k)
    assert [pass_at(k, 5, 2) for k in (1, 2, 3, 4)] == pytest.approx([2 / 5, 7 / 10, 9 / 10, 1])
    assert pass_at(3, 5, 0) == 0
    assert pass_at(1, 1, 1) == 1
    with pytest.raises(ValueError, match="expected 1 <= k"):
        pass_at(6, 5, 2)


def test_the_reported_k_are_powers_of_two_and_all():
    names = estimate_names(6)
    assert names == ["pass@1", "pass@2", "maj@2", "pass@4", "maj@4", "pass@6", "maj@6"]
    assert [estimate_names(n)[-2:] for n in (2, 8)] == [["pass@2", "maj@2"], ["pass@8", "maj@8"]]


def test_equal_formulas_share_a_number():
    assert numbered(["b", None, "a", "b"], [True, False, False, True]) == [1, 0, -2, 1]


def test_estimates_by_hand():
    # right right wrong: pass@2 = 1 (two wrong ones there are not); maj@2 as below; maj@3: 2 votes to 1
    assert estimates((1, 1, -2)) == pytest.approx((2 / 3, 1, 2 / 3, 1, 1))


def test_majority_by_hand():
    # a a b: one sample is an a with 2/3; of two, {a,a} wins and two {a,b} tie: (1 + 2 * 1/2) / 3
    assert majority_at([1, 1, -2]) == pytest.approx([2 / 3, 2 / 3, 1])
    # one has no vote: alone it wins nothing, beside a it leaves a the winner
    assert majority_at([0, 1]) == pytest.approx([1 / 2, 1])
    assert majority_at([0, 0]) == [0, 0]
    # two right formulas split the vote, and the commonest one is wrong
    assert majority_at([1, 2, -3, -3]) == pytest.approx([1 / 2, 1 / 2, 1 / 3, 0])


def by_brute_force(samples, k):
    won = []
    for chosen in combinations(samples, k):
        counts = Counter(abs(sample) for sample in chosen if sample)
        top = [vote for vote, count in counts.items() if count == max(counts.values())]
        won.append(sum(vote in samples for vote in top) / len(top) if top else 0)
    return sum(won) / len(won)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, -3, -4]), min_size=1, max_size=8))
def test_majority_agrees_with_all_choices_of_samples(samples):
    expected = [by_brute_force(samples, k) for k in range(1, len(samples) + 1)]
    assert majority_at(samples) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, -3, -4]), min_size=1, max_size=8))
def test_pass_agrees_with_all_choices_of_samples(samples):
    for k in range(1, len(samples) + 1):
        chosen = list(combinations(samples, k))
        expected = sum(any(sample > 0 for sample in each) for each in chosen) / len(chosen)
        right = sum(sample > 0 for sample in samples)
        assert pass_at(k, len(samples), right) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("13+5*2+1", "(1 + 2*5) + 13", True),
        ("13-(5-2)", "13+2-5", True),
        ("13+5*2+1", "(13-5)*(1+2)", False),  # both are 24
        ("1+2", "2+1", True),
        ("13-5", "5-13", False),
    ],
)
def test_a_vote_is_a_formula_up_to_order_and_brackets(one, other, alike):
    votes = {vote_of(DEAL, formula, "strict-match") for formula in (one, other)}
    assert None not in votes
    assert (len(votes) == 1) is alike


def test_what_is_no_legal_formula_abstains():
    assert vote_of(DEAL, None, "strict-match") is None
    assert vote_of(DEAL, "13+", "strict-match") is None
    assert vote_of(DEAL, "K+5", "flexible-extract") == vote_of(DEAL, "5+13", "flexible-extract")


def sampler(replies):
    """Replies to each deal with these in turn: a formula as the solver has it, or a text."""
    asked: Counter[str] = Counter()

    def play(prompt: str) -> str:
        place, asked[prompt] = asked[prompt], asked[prompt] + 1
        return solver(prompt) if replies[place] is True else json_reply(deal_in(prompt), replies[place])

    return play


def test_lm_eval_reports_pass_and_majority_over_the_samples():
    lm = Player(sampler([True, "1+1", "1+1", "x"]))
    results = evaluate(lm, ["points24_ood"], {"repeats": 4}, limit=3, gen_kwargs=SAMPLING)
    row = results["results"]["points24_ood"]
    for name in FILTERS:
        assert row[f"acc,{name}"] == row[f"acc_weighted,{name}"] == row[f"pass@1,{name}"] == 0.25
        assert row[f"pass@2,{name}"] == 0.5
        assert row[f"pass@4,{name}"] == 1
        assert row[f"maj@4,{name}"] == 0
        assert row[f"wrong_rule,{name}"] == 0
    assert len(lm.prompts) == 12
    judged = json.loads(results["samples"]["points24_ood"][0]["filtered_resps"][0])
    assert [each["vote"] for each in judged][1:] == ["1+1", "1+1", None]
    assert results["configs"]["points24_ood"]["metadata"]["repeats"] == 4


def test_one_sample_per_deal_is_as_ever():
    results = evaluate(Player(solver), ["points24_ood"], {"repeats": 1}, limit=1)
    assert "pass@1,strict-match" not in results["results"]["points24_ood"]
    judged = json.loads(results["samples"]["points24_ood"][0]["filtered_resps"][0])
    assert "vote" not in judged


@pytest.mark.parametrize(
    ("task", "metadata", "gen_kwargs", "message"),
    [
        ("points24_ood", {"repeats": 4}, None, "repeats=4, but greedy replies are all equal; sample with"),
        (
            "points24_ood",
            {"repeats": 4},
            {"do_sample": True, "temperature": 0.0},
            "greedy replies are all equal",
        ),
        (
            "points24_ood",
            {"repeats": 0},
            SAMPLING,
            "repeats: expected a whole number from 1 to 256, found 0",
        ),
        ("points24_ood", {"repeats": "4"}, SAMPLING, "repeats: expected a whole number"),
        (
            "points24_ood_revise",
            {"repeats": 4},
            SAMPLING,
            "repeats=4: a task of several attempts takes one sample per deal",
        ),
    ],
)
def test_what_cannot_be_sampled_is_refused(task, metadata, gen_kwargs, message):
    with pytest.raises(InputError, match=message):
        evaluate(Player(solver), [task], metadata, limit=1, gen_kwargs=gen_kwargs)
