import pytest

from points24.harness.analysis.foretelling import shifts_of
from points24.leaderboards.reports import shift
from points24.leaderboards.reports.reproduction import markdown
from tests.harness.experiment.shifts import shifts
from tests.harness.experiment.test_loss_finding import made
from tests.harness.experiment.test_measures import world


def test_the_report_has_the_claim_the_sentence_the_figure_and_the_table():
    text = markdown("nano", made())
    assert "**0b, the loss does not show the peak: holds.**" in text
    below = text.partition("## Which number foretells the forgetting")[2].partition("\n## ")[0]
    sentence, figure, table, *_ = below.strip().split("\n\n")
    assert sentence.startswith("Over ")
    assert "The ID loss does not get worse in any of 3 runs." in sentence
    assert figure.endswith("(figures/nano_shift.svg)")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["rule preference"][-1].endswith("(3 of 3)")
    assert by_name["ID loss (NLL of the right replies)"][-1] == "never (0 of 3)"
    assert "training loss" in by_name


def test_no_runs_have_no_section():
    assert shift.section(shifts_of(shifts(1), []), []) == []


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_figure_shows_every_run_and_the_mean(seeds):
    plots = pytest.importorskip("points24.leaderboards.reports.shift_plots", reason="needs the extra `plots`")
    _, records = world(seeds)
    figure = plots.shift_figure(shifts_of(shifts(seeds), records))
    preference = figure.axes[1]
    lines = [line for line in preference.lines if len(line.get_xdata()) > 2]
    assert len(lines) == (1 if seeds == 1 else seeds + 1)
    assert list(lines[-1].get_ydata()) == pytest.approx(
        [sum(each) / seeds for each in zip(*(line.get_ydata() for line in lines[:seeds]), strict=True)]
    )
    states = figure.axes[-1]
    assert {text.get_text() for text in states.get_legend().get_texts()} >= {"ID", "OOD", "base"}


def test_a_run_without_base_beside_it_has_neither_divergence_nor_states():
    plots = pytest.importorskip("points24.leaderboards.reports.shift_plots", reason="needs the extra `plots`")
    _, records = world(1)
    found = shifts_of(shifts(1), records)
    bare = found._replace(records=[])
    figure = plots.shift_figure(bare)
    assert len(figure.axes) == 4
