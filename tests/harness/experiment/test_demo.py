from points24.harness.analysis.formats import WIDTH
from points24.harness.cli import main
from points24.harness.experiment import commands as demo
from points24.harness.records.store import add_records
from tests.harness.experiment.test_measures import world


def test_the_demo_shows_the_fall_and_the_recovery(monkeypatch, capsys, tmp_path):
    _, records = world(1, n=60)

    def conduct(experiments):
        (experiment,) = experiments
        assert experiment.config.base == "nano-plain"
        assert [stage.name for stage in experiment.stages(0)] == ["sft-0", "sweep-0"]
        assert experiment.settings["sweep"]["limit"]
        trained = [r for r in records if r.stage in ("base", "SFT") and not r.recipe]
        ends = [r for r in records if r.stage in ("recovered", "SFT")]
        add_records(experiment.out / "sft-0" / "records" / "records.jsonl", trained)
        add_records(experiment.out / "sweep-0" / "records" / "records.jsonl", ends)

    monkeypatch.setattr(demo, "conduct", conduct)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= WIDTH for line in text.splitlines() if not line.startswith("|"))
    for words in (
        "best OOD",
        "recovered %",
        "directions, all ranks",
        "interpolate 0.5",
        "Best of 8 recipes",
    ):
        assert words in text
