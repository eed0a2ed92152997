import pytest

from points24.harness.experiment.findings import findings
from points24.harness.experiment.manifest import manifest_of
from points24.harness.experiment.measures import reproduction_of
from tests.harness.experiment.shifts import LOSS, shifts
from tests.harness.experiment.test_measures import BEST, STEPS, world


def made(seeds=3, **given):
    manifest, records = world(seeds)
    return reproduction_of(manifest_of(manifest), records, shifts(seeds, **given))


def claim(found):
    return next(each for finding in findings(found) for each in finding.claims if each.label == "0b")


def test_a_loss_that_falls_to_the_end_does_not_show_the_peak():
    found = claim(made())
    assert found.verdict == "holds"
    gap = found.decides[0]
    assert gap.name == "OOD: peak − checkpoint with the lowest ID loss"
    peak = next(each for each in findings(made())[0].claims[0].decides if each.name == "OOD: peak − final")
    assert gap.mean == pytest.approx(peak.mean)  # the lowest loss is the final one
    falls = {each.name: each.mean for each in found.context}
    place = STEPS.index(BEST)
    expected = (LOSS[STEPS[-1]] - LOSS[STEPS[place]]) * 1.05  # the mean of 1, 1.05 and 1.1
    assert falls["ID loss: final − best OOD"] == pytest.approx(expected)


def test_a_loss_that_turns_at_the_peak_shows_it():
    turning = {step: abs(step - BEST) / 1000 + 0.1 for step in STEPS}
    found = claim(made(loss=turning))
    assert found.verdict != "holds"
    assert found.decides[0].mean == pytest.approx(0, abs=0.02)


def test_without_shift_records_there_is_no_such_finding():
    manifest, records = world(2)
    found = findings(reproduction_of(manifest_of(manifest), records))
    assert all(each.label != "0b" for finding in found for each in finding.claims)
