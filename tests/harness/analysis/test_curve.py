import json

import pytest

from points24.harness.analysis.comparison import interval_of
from points24.harness.analysis.curve import best_ood, curve, forgetting
from points24.harness.analysis.statistics import Paired, paired_interval, wilson
from points24.harness.analysis.summaries import curve_sentence, curve_summary, curve_table
from points24.tasks.cards import RULES
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from tests.leaderboards.conftest import record


def base(outcomes="1100", **changes):
    return record(outcomes, **{"model": "base"} | changes)


def at(number, outcomes="1100", **changes):
    about = {"model": f"run/checkpoint-{number}", "parent": "base", "stage": "SFT", "step": number}
    return record(outcomes, **about | changes)


def on(name):
    """What makes a record one of another hand set under the ID rule."""
    digest = hand_set(name, RULES["id"]).digest
    return {"task": f"points24_{name}", "hand_set": name, "rule": "id", "hand_set_digest": digest}


def won(*counts):
    """A run that wins the first k of 12 deals at steps 10, 20, …: of two records one wins what the other does."""
    return curve([at(10 * (i + 1), "1" * k + "0" * (12 - k)) for i, k in enumerate(counts)])


def test_steps_stand_in_order_with_the_parent_first():
    found = curve([at(30), at(10), base(), at(20, **on("id"))])
    assert found.steps == [0, 10, 20, 30]
    assert list(found.ood) == [0, 10, 30]
    assert list(found.scores) == ["id", "ood"]
    assert (found.run, found.stage, found.parent, found.final) == ("run", "SFT", "base", 30)


def test_a_parent_that_is_a_checkpoint_itself_is_step_0():
    sft = at(40, model="sft/checkpoint-40")
    found = curve([sft, base(), at(10, model="ppo/checkpoint-10", stage="PPO", parent="sft/checkpoint-40")])
    assert (found.run, found.ood[0]) == ("ppo", sft)


def test_what_belongs_to_no_curve_is_left_out():
    others = [at(20, attempts=5), at(30, filter="flexible-extract"), at(40, **on("face_id"))]
    assert curve([at(10), *others]).steps == [10]
    assert curve([at(10), *others], "flexible-extract").steps == [30]


def test_of_two_records_of_one_checkpoint_the_newer_counts():
    newer = at(10, "1000", date="2026-02-01T00:00:00Z")
    assert curve([newer, at(10, "1100")]).ood == {10: newer}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "no curve: no record of a training step on hand set ood under filter strict-match"),
        ([base()], "no record of a training step"),
        ([at(10, **on("id"))], "no record of a training step"),
        ([at(10), at(10, model="other/checkpoint-10")], "several runs: other SFT, run SFT"),
        ([at(10), at(20, stage="PPO")], "several runs: run PPO, run SFT"),
        ([at(10), at(20, parent="another")], "several parents: another, base"),
        ([at(10), at(20, "110")], "run SFT: records of several protocols on hand set ood"),
        ([at(10), base(template_digest="0" * 64)], "several protocols"),
        ([at(10), at(20, step=None)], "step: expected at least 1, found None"),
        ([at(10), at(20, step=0)], "step: expected at least 1, found 0"),
    ],
)
def test_what_is_no_curve_is_refused(records, message):
    with pytest.raises(InputError, match=message):
        curve(records)


def test_the_best_step_is_the_first_of_the_runs_own():
    assert best_ood(won(1, 3, 3, 2)) == 20
    assert best_ood(curve([base("1110"), at(10, "1000"), at(20, "1100")])) == 20


def test_forgetting_begins_after_the_last_step_like_the_peak():
    # Against the peak's 10: 8 (2 deals to none, p 1/2), 6 (4 to none, 1/8), 0 (10 to none, 1/512).
    # Holm: 3/512, then 2/8, then 1/2.
    found = forgetting(won(8, 10, 6, 0))
    assert (found.peak, found.peak_from, found.peak_to) == (20, 10, 30)
    assert (found.begins_after, found.seen_by, found.final) == (30, 40, 40)
    assert found.p == pytest.approx(3 / 512)
    assert found.lost == pytest.approx(10 / 12)
    assert found.interval == paired_interval(Paired(0, 10, 0, 2))


def test_the_peaks_interval_ends_at_the_first_step_unlike_it():
    # 0, 12, 11, 0, 11, 0: each 0 is 12 deals to none, p 1/2048, times up to 5.
    found = forgetting(won(0, 12, 11, 0, 11, 0))
    assert (found.peak_from, found.peak, found.peak_to, found.seen_by) == (20, 20, 30, 40)


def test_a_dip_that_is_made_good_is_no_forgetting():
    found = forgetting(won(12, 0, 11))
    assert (found.seen_by, found.begins_after, found.peak_to) == (None, None, 10)


def test_an_end_that_chance_can_explain_is_no_forgetting():
    found = forgetting(won(12, 7))  # 5 deals to none: p 1/16
    assert (found.p, found.seen_by, found.peak_to) == (pytest.approx(1 / 16), None, 20)
    assert curve_sentence(found).startswith("No forgetting seen: OOD accuracy falls by 41.7 points")


def test_tests_are_adjusted_for_every_step_that_differs_from_the_peak():
    assert forgetting(won(12, 6)).seen_by == 20  # 6 deals to none: p 1/32
    assert forgetting(won(12, 12, 6)).seen_by == 30  # the same outcomes: nothing to test
    assert forgetting(won(12, 11, 6)).p == pytest.approx(2 / 32)
    assert forgetting(won(12, 11, 6)).seen_by is None


def test_deals_won_anew_count_against_a_loss():
    # 8 deals to 2: twice the chance of at most 2 heads in 10, 2 * 56/1024.
    found = forgetting(curve([at(10, "1" * 8 + "0000"), at(20, "0" * 8 + "1100")]))
    assert found.p == pytest.approx(112 / 1024)


def test_a_run_that_only_gains_has_forgotten_nothing():
    found = forgetting(won(1, 5, 12))
    assert (found.peak, found.final, found.lost, found.p, found.seen_by) == (30, 30, 0, 1, None)
    assert curve_sentence(found) == "No forgetting seen: OOD accuracy is highest at the final step, 30."


def test_a_run_that_only_forgets_has_its_peak_at_step_0():
    run = curve([base("1" * 12), at(10, "1" * 5 + "0" * 7), at(20, "0" * 12)])
    found = forgetting(run)
    assert (found.peak, found.begins_after, found.seen_by) == (0, 0, 10)
    assert [row[""] for row in curve_table(run)] == [
        "peak, forgetting begins after", "best OOD, forgetting seen", "final"
    ]  # fmt: skip


def test_a_run_of_one_step_has_a_curve():
    found = won(3)
    assert (best_ood(found), forgetting(found).seen_by) == (10, None)


def test_rows_show_shares_intervals_and_the_memorised_rule():
    verdicts = {"correct": 21, "wrong_rule": 117, "no_answer": 96}
    run = curve([at(10, "1" * 21 + "0" * 213, verdicts=verdicts), at(20, "1100", **on("id_heldout"))])
    low, high = wilson(2, 4)
    assert curve_table(run) == [
        {
            "step": "10",
            "held-out %": "",
            "OOD %": "9.0 [5.9, 13.3]",
            "wrong_rule %": "50.0",
            "": "best OOD, final",
        },
        {
            "step": "20",
            "held-out %": f"50.0 [{100 * low:.1f}, {100 * high:.1f}]",
            "OOD %": "",
            "wrong_rule %": "",
            "": "",
        },
    ]


def test_the_summary_is_json_that_leads_back_to_the_records():
    run = curve([base(), at(10, "1110")])
    found = json.loads(json.dumps(curve_summary(run)))
    assert found == curve_summary(run)
    assert (found["run"], found["best_ood"], found["final"]) == ("run", 10, 10)
    assert found["forgetting"]["sentence"] == curve_sentence(forgetting(run))
    assert found["steps"][1] == {
        "step": 10,
        "ood": {
            "model": "run/checkpoint-10",
            "k": 3,
            "n": 4,
            "accuracy": 0.75,
            "interval": list(interval_of(run.ood[10])),
            "verdicts": {"correct": 3, "wrong_value": 1},
            "record": run.ood[10].key,
        },
    }
