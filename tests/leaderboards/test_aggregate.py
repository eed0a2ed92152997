import pytest

from points24.harness.analysis.statistics import mcnemar, wilson
from points24.leaderboards.aggregate import flipped, tables
from points24.tasks.cards import RULES
from points24.tasks.hand_sets import hand_set
from tests.leaderboards.conftest import record, reported


@pytest.mark.parametrize(
    "changes",
    [
        {"task_version": "0.9"},
        {"template_digest": "0" * 64},
        {"attempts": 5},
        {"filter": "flexible-extract"},
        {"num_fewshot": 2},
        {"decoding": {"do_sample": False, "repetition_penalty": 1.5}},
        {"decoding": {"do_sample": True, "temperature": 0.7}},
        {"task": "points24_ood_like", "hand_set_digest": "0" * 64},
    ],
)
def test_records_that_differ_in_protocol_land_in_different_tables(changes):
    assert len(tables([record(), record(**changes)])) == 2


@pytest.mark.parametrize(
    "decoding",
    [
        {"do_sample": False, "temperature": 0.0, "until": [], "max_gen_toks": 512},
        {"do_sample": False, "temperature": 0.0, "until": ["."], "max_gen_toks": 64},
        {"temperature": 0.0},
    ],
)
def test_greedy_replies_of_any_length_share_a_table(decoding):
    (table,) = tables([record(), record("1000", decoding=decoding)])
    assert len(table.rows) == 2


def test_samples_of_other_seeds_share_a_table():
    sampled = {"do_sample": True, "temperature": 0.7}
    (table,) = tables([record("1000", decoding=sampled | {"seed": seed}) for seed in (1, 2)])
    assert table.terms.decoding == "sampled, temperature=0.7"


def test_the_number_of_deals_and_the_status_are_part_of_the_protocol():
    assert len(tables([record("1100"), record("11000"), reported(2, 4)])) == 3


def test_records_that_differ_in_the_checkpoint_alone_share_a_table_best_first():
    (table,) = tables([record("1000"), record("1110", model="better", chat_template_digest="0" * 64)])
    assert [row.record.model for row in table.rows] == ["better", "a-model"]


def test_all_deals_stand_before_the_first_few():
    shown = tables([record("10"), record("110"), record("1")])
    assert [table.terms.n for table in shown] == [3, 2, 1]


def test_tables_do_not_depend_on_the_order_of_the_records():
    records = [record("1000"), record("1110", model="b"), record("1010", model="c"), reported(1, 9)]
    assert tables(records) == tables(records[::-1])


def test_a_checkpoint_is_tested_against_its_parent_and_the_best():
    best = record("1" * 12 + "0000", model="best")
    base = record("0" * 14 + "11", model="base")
    tuned = record("1" * 6 + "0" * 10, model="tuned", parent="base")
    (table,) = tables([base, tuned, best])
    rows = {row.record.model: row for row in table.rows}
    assert rows["best"].best is None
    assert rows["base"].parent is None
    parent, against_best = rows["tuned"].parent, rows["tuned"].best
    assert parent
    assert against_best
    assert (parent.share, parent.p) == (4 / 16, mcnemar(6, 2))
    assert (against_best.share, against_best.p) == (-6 / 16, mcnemar(0, 6))
    # Holm over the table's three tests: base-best 2:12 (p 0.013), tuned-best 0:6 (0.031), tuned-base (0.29).
    assert against_best.p_holm == pytest.approx(2 * mcnemar(0, 6))
    assert parent.p_holm == pytest.approx(mcnemar(6, 2))


def test_reported_figures_are_tested_as_two_samples_with_the_intervals_of_their_n():
    (table,) = tables([reported(21, 234), reported(36, 234, model="other", parent="theirs")])
    better, worse = table.rows
    assert better.parent
    assert better.parent.p == pytest.approx(0.034, abs=5e-4)
    assert better.parent.table is None
    assert worse.interval == wilson(21, 234)


def test_the_weighted_accuracy_weighs_hands_as_the_papers_sampler_deals_them():
    weights = hand_set("ood", RULES["ood"]).weights[:4]
    (table,) = tables([record("1100")])
    assert table.rows[0].weighted == pytest.approx((weights[0] + weights[1]) / sum(weights))


def test_the_deals_that_flipped_are_the_hand_sets():
    deals = hand_set("ood", RULES["ood"]).deals
    assert flipped(record("1100"), record("1010", model="b")) == ([deals[1]], [deals[2]])
