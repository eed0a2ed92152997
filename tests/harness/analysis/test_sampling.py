"""Several samples per deal: from lm-eval's output to records, intervals, comparisons and tables."""

import json

import pytest

from points24.harness.analysis.comparison import difference, interval_of, sampling_of, score_of, terms_of
from points24.harness.analysis.sampling import interval_of_mean
from points24.harness.analysis.statistics import clustered_wilson, wilson
from points24.harness.records.ingest import About, check_against_results, records_of, rescored
from points24.harness.records.lm_eval_output import runs
from points24.harness.records.record import record_of
from points24.leaderboards.aggregate import tables
from points24.leaderboards.render.tables import markdown_section, table_csv
from points24.tasks.errors import InputError
from tests.leaderboards.conftest import record, row, write_output
from tests.tasks.test_sampling import SAMPLING, sampler

SAMPLES = {
    "repeats": 3,
    "decoding": {"do_sample": True, "temperature": 0.7},
    "sample_outcomes": ["110", "100", "010", "000"],
    "votes": [[1, 1, 2], [1, 2, 2], [1, 2, 0], [0, 0, 0]],
}


def sampled(**changes):
    return record("1100", **(SAMPLES | changes))


def test_pass_and_majority_by_hand():
    found = {name: share for name, (share, _) in sampling_of(sampled()).items()}
    # correct of 3: 2, 1, 1, 0
    assert found["pass@1"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 3 + 0) / 4)
    assert found["pass@2"] == pytest.approx((1 + 2 / 3 + 2 / 3 + 0) / 4)
    assert found["pass@3"] == pytest.approx(3 / 4)
    # all three votes: 1 1 2 -> right; 1 2 2 -> wrong; 1 2 - -> a tie of which the second is right; none
    assert found["maj@3"] == pytest.approx((1 + 0 + 1 / 2 + 0) / 4)
    assert found["maj@1"] == found["pass@1"] == pytest.approx(sampled().accuracy)


def test_every_interval_holds_its_estimate():
    for share, (low, high) in sampling_of(sampled()).values():
        assert 0 <= low <= share <= high <= 1


@pytest.mark.parametrize("outcomes", ["1100", "0000", "1111", "1000"])
def test_one_sample_per_deal_is_the_accuracy_with_its_interval(outcomes):
    values = [float(bit) for bit in outcomes]
    assert interval_of_mean(values, range(4), 1) == pytest.approx(wilson(sum(values), 4))
    assert interval_of_mean(values, [0, 0, 1, 1], 1) == pytest.approx(
        clustered_wilson([int(v) for v in values], [0, 0, 1, 1])
    )
    assert record(outcomes).accuracy == outcomes.count("1") / 4


def test_more_samples_narrow_the_interval_but_never_beyond_their_number():
    low, high = interval_of_mean([0.5] * 4, range(4), 8)  # no spread between the deals
    assert (low, high) == pytest.approx(wilson(16, 32))


def test_a_sampled_record_survives_its_line_and_has_a_key_of_its_own():
    first = sampled()
    assert record_of(json.loads(first.line())) == first
    other = sampled(sample_outcomes=["111", "100", "010", "000"])
    assert first.key != other.key


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"votes": None}, "repeats, sample_outcomes, votes: expected together"),
        ({"repeats": 1}, "repeats, sample_outcomes, votes: expected together"),
        ({"sample_outcomes": ["110"]}, "sample_outcomes: expected 3 samples for each of n = 4 deals"),
        ({"votes": [[1]] * 4}, "votes: expected 3 samples for each of n = 4 deals"),
        ({"sample_outcomes": ["010"] * 4}, "sample_outcomes: expected the first of each deal as in outcomes"),
    ],
)
def test_samples_that_do_not_hold_together_are_refused(changes, why):
    with pytest.raises(InputError, match=why):
        record_of(row() | SAMPLES | changes)


def test_sampled_records_are_never_ranked_with_others():
    greedy, few, many = record(), sampled(), record("1100", decoding=SAMPLES["decoding"])
    assert len({terms_of(r).slug for r in (greedy, few, many)}) == 3
    assert len(tables([greedy, few, many])) == 3
    with pytest.raises(ValueError, match="records of different protocols"):
        difference(greedy, few)


def test_a_table_of_samples_is_ranked_by_all_of_them():
    """The better model by its first samples is the worse one by all."""
    better = sampled(model="better", sample_outcomes=["111", "111", "011", "011"])
    worse = sampled(model="worse")
    (table,) = tables([worse, better])
    assert [r.record.model for r in table.rows] == ["better", "worse"]
    found = table.rows[1].best
    assert found is not None
    assert found.share == pytest.approx(4 / 12 - 10 / 12)
    assert found.interval.low <= found.share <= found.interval.high
    assert found.p == pytest.approx(1 / 8)  # gains 1, 2, 1, 2 all of one sign: 2 of 16 ways
    text = markdown_section(table)
    assert "pass@3 / maj@3 %" in text
    assert "4 × 3 samples" in text
    assert "samples per deal: 3" in text
    header, first, _ = table_csv(table).splitlines()
    assert header.endswith("pass@3,pass@3_low,pass@3_high,maj@3,maj@3_low,maj@3_high")
    assert len(first.split(",")) >= len(header.split(","))
    assert score_of(better).share == pytest.approx(10 / 12)
    assert interval_of(better) == sampling_of(better)["pass@1"][1]


def test_lm_evals_output_becomes_a_record_of_all_samples(tmp_path):
    play = sampler([True, "1+1", "1+1", "x"])
    write_output(
        tmp_path, play, tasks=["points24_ood"], limit=3, metadata={"repeats": 4}, gen_kwargs=SAMPLING
    )
    (read,) = runs(tmp_path)
    run = read()
    check_against_results(run)
    strict, _ = records_of(run, About())
    assert (strict.repeats, strict.k, strict.n) == (4, 3, 3)
    assert strict.sample_outcomes == ["1000"] * 3
    assert strict.votes == [[1, 2, 2, 0]] * 3
    assert strict.command is not None
    assert "--metadata repeats=4" in strict.command
    assert records_of(rescored(run), About())[0] == strict
