"""Several samples per deal: from lm-eval's output to records, intervals, comparisons and tables."""

import json

import numpy as np
import pytest

from points24.harness.analysis.comparison import difference, interval_of, sampling_of, score_of, terms_of
from points24.harness.analysis.statistics import clustered_wilson, wilson
from points24.harness.records.ingest import About, check_against_results, records_of, rescored
from points24.harness.records.lm_eval_output import runs
from points24.harness.records.record import record_of
from points24.leaderboards.aggregate import tables
from points24.leaderboards.render.page import page
from points24.leaderboards.render.tables import markdown_section, table_csv
from points24.tasks.errors import InputError
from tests.leaderboards.conftest import record, row, write_output
from tests.tasks.test_sampling import SAMPLING, sampler

SAMPLES = {
    "decoding": {"do_sample": True, "temperature": 0.7},
    "samples": [[1, 1, -2], [1, -2, -2], [-1, 2, 0], [0, 0, 0]],
}


def sampled(**changes):
    return record("1100", **(SAMPLES | changes))


def of_bits(*deals):
    """Samples of one formula each, right or wrong."""
    return [[1 if bit == "1" else -2 for bit in deal] for deal in deals]


def test_pass_and_majority_by_hand():
    found = {name: share for name, (share, _) in sampling_of(sampled()).items()}
    # correct of 3: 2, 1, 1, 0
    assert found["pass@1"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 3 + 0) / 4)
    assert found["pass@2"] == pytest.approx((1 + 2 / 3 + 2 / 3 + 0) / 4)
    assert found["pass@3"] == pytest.approx(3 / 4)
    # all three votes: 1 1 2 -> right; 1 2 2 -> wrong; 1 2 - -> a tie of which the second is right; none
    assert found["maj@3"] == pytest.approx((1 + 0 + 1 / 2 + 0) / 4)
    assert found["pass@1"] == pytest.approx(sampled().accuracy)
    assert list(found) == ["pass@1", "pass@2", "maj@2", "pass@3", "maj@3"]


def test_every_interval_holds_its_estimate():
    for share, (low, high) in sampling_of(sampled()).values():
        assert 0 <= low <= share <= high <= 1


def test_the_interval_of_pass_at_1_by_hand():
    """The shares 1, 1/2, 1/2, 0 vary about 1/2 half as much as outcomes do: 4 of them are worth 8."""
    found = sampling_of(sampled(samples=of_bits("11", "10", "01", "00")))
    assert found["pass@1"][1] == pytest.approx(wilson(4, 8))


def test_more_samples_narrow_the_interval_but_never_beyond_their_number():
    found = clustered_wilson([0.5] * 4, range(4), samples=8)  # no spread between the deals
    assert found == pytest.approx(wilson(16, 32))


def test_intervals_cover_the_truth_of_deals_that_differ():
    """400 experiments: 60 deals whose chances are 0.1 or 0.7, 8 samples each; the mean chance is 0.4."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        chances = rng.choice([0.1, 0.7], 60)
        shares = rng.binomial(8, chances) / 8
        low, high = clustered_wilson(shares.tolist(), range(60), samples=8)
        covered += low <= 0.4 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_sampled_record_survives_its_line_and_has_a_key_of_its_own():
    first = sampled()
    assert record_of(json.loads(first.line())) == first
    other = sampled(samples=[[1, 1, 1], *SAMPLES["samples"][1:]])
    assert first.key != other.key


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"samples": [[1, 1], [1, 1, 1], [-1], [0]]}, "samples: expected as many for each of n = 4 deals"),
        ({"samples": [[1, 1]]}, "samples: expected as many for each of n = 4 deals"),
        ({"samples": []}, "samples: expected as many for each of n = 4 deals"),
        ({"samples": [[]] * 4}, "samples: expected several per deal"),
        ({"samples": [[1], [1], [0], [0]]}, "samples: expected several per deal"),
        ({"samples": [[-1, 1]] * 4}, "samples: expected the first of each deal to be as in outcomes"),
        ({"samples": [[True, 1]] * 4}, "samples\\[0\\]\\[0\\]: expected a valid integer"),
        ({"samples": "1100"}, "samples: expected a valid list"),
        ({"repeats": 3}, "repeats: unknown key"),
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
    better = sampled(model="better", samples=of_bits("111", "111", "011", "011"))
    worse = sampled(model="worse")
    (table,) = tables([worse, better])
    assert [r.record.model for r in table.rows] == ["better", "worse"]
    found = table.rows[1].best
    assert found is not None
    assert found.share == pytest.approx(4 / 12 - 10 / 12)
    assert found.interval.low <= found.share <= found.interval.high
    assert found.p == pytest.approx(1 / 8)  # gains 1, 2, 1, 2 all of one sign: 2 of 16 ways
    shown = page([table])
    assert "pass@n / maj@n %" in shown
    assert "100.0 / 100.0" in shown  # three of three, or two of three: the majority is right
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
    assert strict.samples == [[1, -2, -2, 0]] * 3
    assert strict.command is not None
    assert "--metadata repeats=4" in strict.command
    assert records_of(rescored(run), About())[0] == strict
