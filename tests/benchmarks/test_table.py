"""The table of `make bench`: its arithmetic, not its timings."""

import pytest

from tests.benchmarks.table import Row, exponent, table


def test_a_ratio_above_1_means_that_ours_is_faster():
    assert Row("a", 2.0, "b", 6.0, "s").ratio == 3


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_is_found(power):
    assert exponent([10, 100, 1000], lambda size: 7 * size**power) == pytest.approx(power, abs=1e-12)


def test_a_row_without_growth_leaves_its_cells_empty():
    *_, line = table([Row("a", 0.12345, "b", 1234.5, "s")]).splitlines()
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "a",
        "0.123",
        "b",
        "1.23e+03",
        "s",
        "1e+04",
        "",
        "",
    ]
