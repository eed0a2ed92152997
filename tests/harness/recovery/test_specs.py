import pytest
from hypothesis import given
from hypothesis import strategies as st

from points24.harness.recovery.specs import parse_amount, parse_layers, parse_ranks, weights
from points24.tasks.errors import InputError


@pytest.mark.parametrize(
    ("text", "ranks", "intervals"),
    [
        ("top 20%", 10, ((0, 2),)),
        ("top 25%", 10, ((0, 3),)),  # 2.5: a half rounds upwards
        ("top 24.9%", 10, ((0, 2),)),
        ("top 1%", 10, ((0, 1),)),  # at least one
        ("tail 5%", 100, ((95, 100),)),
        ("top 20% + tail 5%", 100, ((0, 20), (95, 100))),
        ("Top 20%+tail 5 %", 100, ((0, 20), (95, 100))),
        ("top 60% + tail 40%", 10, ((0, 10),)),  # they meet
        ("top 10 + top 20%", 10, ((0, 10),)),
        ("top 128", 512, ((0, 128),)),
        ("top 128", 64, ((0, 64),)),
        ("top 100%", 7, ((0, 7),)),
        ("all", 7, ((0, 7),)),
        ("ALL", 1, ((0, 1),)),
    ],
)
def test_rank_specs(text, ranks, intervals):
    assert parse_ranks(text).intervals(ranks) == intervals


@pytest.mark.parametrize(
    "text",
    ["", "top", "20%", "top 0", "top 0%", "top 101%", "top -1", "top 1.5", "top 1e2", "top 20% tail 5%",
     "top 20% +", "first 20%", "top nan", "top ٣", "top 20%%", "+", "all + top 5%", "top 1/2"],
)  # fmt: skip
def test_a_rank_spec_that_means_nothing_is_refused_in_one_line(text):
    with pytest.raises(InputError) as error:
        parse_ranks(text)
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "count", "layers"),
    [
        ("first 25%", 28, range(7)),
        ("last 25%", 28, range(21, 28)),
        ("first 25%", 6, [0, 1]),
        ("first 1%", 6, [0]),
        ("last 4", 6, range(2, 6)),
        ("0-6", 28, range(7)),
        ("3", 28, [3]),
        ("0-1, 4", 6, [0, 1, 4]),
        ("all", 3, range(3)),
        ("first 99", 3, range(3)),
    ],
)
def test_layer_specs(text, count, layers):
    assert parse_layers(text).layers(count) == set(layers)


@pytest.mark.parametrize(
    "text", ["", "first", "6-0", "-1", "1-", "0..3", "first 0%", "top 25%", "1,,2", "all 3"]
)
def test_a_layer_spec_that_means_nothing_is_refused(text):
    with pytest.raises(InputError, match="expected"):
        parse_layers(text)


def test_a_layer_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match=r"no layer 4; allowed: 0-3"):
        parse_layers("2-9").layers(4)


@given(st.integers(1, 100), st.integers(1, 500))
def test_a_share_is_the_nearest_count(percent, whole):
    count = parse_amount(f"{percent}%").of(whole)
    assert 1 <= count <= whole
    assert count == 1 or abs(100 * count - percent * whole) <= 50


def test_without_a_taper_weights_are_one_inside_and_zero_outside():
    assert weights(((0, 2), (5, 6)), 6) == [1, 1, 0, 0, 0, 1]


def test_a_taper_is_a_straight_line_centred_at_each_inner_cut():
    assert weights(((0, 4),), 8, taper=4) == [1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0]
    assert weights(((6, 8),), 8, taper=2) == [0, 0, 0, 0, 0, 0.25, 0.75, 1]


def test_a_taper_leaves_the_ends_of_the_spectrum_alone():
    assert weights(((0, 8),), 8, taper=4) == [1] * 8


@given(st.integers(1, 40), st.integers(0, 20), st.data())
def test_a_taper_restores_as_much_as_the_cut_it_softens(ranks, taper, data):
    k = data.draw(st.integers(1, ranks))
    soft = weights(((0, k),), ranks, taper)
    assert soft == sorted(soft, reverse=True)
    if taper / 2 <= min(k, ranks - k):
        assert sum(soft) == pytest.approx(k)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("all", 1), ("top 20%", 0.2), ("tail 5%", 0.05), ("top 20% + tail 5%", 0.25), ("top 20% + top 5%", 0.2),
        ("top 80% + tail 80%", 1), ("top 128", None), ("top 20% + tail 4", None),
    ],
)  # fmt: skip
def test_the_share_of_ranks_is_known_without_a_matrix_unless_it_is_a_count(text, share):
    assert parse_ranks(text).share == share


@pytest.mark.parametrize(
    ("text", "share"), [("all", 1), ("first 25%", 0.25), ("last 4", None), ("0-6", None)]
)
def test_the_share_of_layers_is_known_without_a_model_unless_it_is_a_count(text, share):
    assert parse_layers(text).share == share
