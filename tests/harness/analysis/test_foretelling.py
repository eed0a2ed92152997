import numpy as np
import pytest
from scipy.stats import spearmanr

from points24.harness.analysis.foretelling import (
    PREFERENCE,
    STEP,
    Point,
    Trajectory,
    Turn,
    foretellings,
    ood_turns,
    turn,
)
from points24.harness.analysis.shift_summaries import foretelling_sentence, foretelling_table
from points24.harness.analysis.statistics import Interval

STEPS = (5, 10, 20, 40)


def points(*values: float, half: float = 0.01) -> tuple[Point, ...]:
    return tuple(Point(value, Interval(value - half, value + half)) for value in values)


def run(name: str, ood: tuple[float, ...], **quantities: tuple[float, ...]) -> Trajectory:
    known = {STEP: tuple(Point(step) for step in STEPS)}
    known |= {key.replace("_", " "): points(*values) for key, values in quantities.items()}
    return Trajectory(name, STEPS, points(*ood), known)


def of(found, key, name="to_come"):
    """A correlation of a quantity that has one."""
    correlation = getattr(next(each for each in found if each.quantity.key == key), name)
    assert correlation is not None
    return correlation


def test_correlations_are_spearmans_over_all_checkpoints():
    rng = np.random.default_rng(1)
    accuracies = [tuple(np.round(rng.random(4), 1)) for _ in range(3)]  # with ties
    values = [tuple(np.round(rng.random(4), 1)) for _ in range(3)]
    runs = [run(str(i), a, ood_preference=v) for i, (a, v) in enumerate(zip(accuracies, values, strict=True))]
    found = foretellings(runs)
    to_come = [a[i] - a[-1] for a in accuracies for i in range(3)]
    so_far = [max(a[: i + 1]) - a[i] for a in accuracies for i in range(4)]
    known = [v[i] for v in values for i in range(3)]
    assert of(found, PREFERENCE).r == pytest.approx(spearmanr(known, to_come)[0])
    assert of(found, PREFERENCE, "so_far").r == pytest.approx(
        spearmanr([x for v in values for x in v], so_far)[0]
    )


def test_only_the_comparison_at_equal_steps_tells_runs_apart():
    # All lose over time. The quantity falls with time in every run, and is higher where less will be lost.
    losses = (0.1, 0.2, 0.3, 0.4)
    runs = [
        run(
            f"{i}",
            (loss, loss / 2, loss / 4, 0),
            ood_preference=tuple(10 - step / 5 - 9 * loss for step in STEPS),
        )
        for i, loss in enumerate(losses)
    ]
    found = foretellings(runs)
    told = of(found, PREFERENCE, "at_equal_steps")
    assert told.r == pytest.approx(-1)
    assert told.interval == pytest.approx((-1, -1))
    assert told.is_clear
    assert found[0].quantity.key == STEP
    assert found[0].at_equal_steps is None  # the same in all runs
    assert of(found, STEP, "so_far").r > 0.5
    assert of(found, STEP).r < 0 < of(found, PREFERENCE).r


def test_one_run_has_no_interval_and_no_comparison():
    (found,) = foretellings([run("a", (0.2, 0.3, 0.1, 0.0))])
    assert found.to_come is not None
    assert found.to_come.interval is None
    assert found.at_equal_steps is None


def test_a_quantity_that_one_run_lacks_is_left_out():
    runs = [run("a", (0.2, 0.3, 0.1, 0.0), ood_preference=(1, 2, 3, 4)), run("b", (0.2, 0.3, 0.1, 0.0))]
    assert [each.quantity.key for each in foretellings(runs)] == [STEP]


@pytest.mark.parametrize(
    ("values", "worse", "expected"),
    [
        ((1, 3, 2, 1), -1, Turn(10, 20)),
        ((1, 3, 2.99, 1), -1, Turn(10, 40)),  # within the interval at first
        ((1, 3, 1, 2.99), -1, Turn(10, None)),  # comes back
        ((1, 2, 3, 4), -1, Turn(40, None)),
        ((4, 3, 2, 1), -1, Turn(5, 10)),
        ((1, 2, 3, 4), 1, Turn(5, 10)),
        ((3, 1, 1, 2), 1, Turn(10, 40)),
    ],
)
def test_when_a_quantity_has_turned_for_good(values, worse, expected):
    assert turn(STEPS, points(*values), worse) == expected


def test_the_sentence_says_which_comes_first():
    runs = [
        run("a", (0.1, 0.3, 0.3, 0.1), ood_preference=(5, 3, 2, 1), id_nll=(4, 3, 2, 1)),
        run("b", (0.1, 0.3, 0.2, 0.1), ood_preference=(5, 3, 2, 1), id_nll=(4, 3, 2, 1)),
    ]
    assert ood_turns(runs) == (Turn(10, 40), Turn(10, 20))
    found = foretellings(runs)
    text = foretelling_sentence(found, runs)
    assert text.startswith(
        "Over 8 checkpoints of 2 runs, what goes with the OOD loss to come most closely is "
    )
    assert (
        "The rule preference turns 20 steps before OOD accuracy falls (mean over the runs: by step 10, "
        "against 30; 2 of 2 runs). The ID loss does not get worse in any of 2 runs." in text
    )
    rows = {row["quantity"]: row for row in foretelling_table(found)}
    assert rows["rule preference"]["turns by step"] == "10 (2 of 2)"
    assert rows["ID loss (NLL of the right replies)"]["turns by step"] == "never (0 of 2)"
    assert rows["the step itself"]["turns by step"] == ""
