import json
import subprocess

import pytest

from points24.harness.cli import main
from points24.harness.models import model_folder
from points24.harness.records import FILTERS
from points24.leaderboards import demo
from points24.tasks.verdict import Verdict

SHARES = {"acc": 0.25, "acc_weighted": 0.3, "wrong_value": 0.5, "wrong_rule": 0.25}


def results(n: int = 8) -> dict:
    """What lm-eval writes, as far as the table reads it."""
    row = {
        f"{metric},{name}": SHARES.get(metric, 0.0)
        for name in FILTERS
        for metric in (
            "acc",
            "acc_weighted",
            "truncated",
            *(v.value for v in Verdict if v is not Verdict.CORRECT),
        )
    }
    return {
        "results": dict.fromkeys(demo.TASKS, row),
        "n-samples": {task: {"original": n, "effective": n} for task in demo.TASKS},
    }


def test_the_table_has_a_row_per_task_and_filter_with_an_interval():
    header, _, *rows = demo.results_table(results()).splitlines()
    assert len(rows) == 4
    cells = [cell.strip() for cell in rows[0].split("|")[1:-1]]
    # Wilson, by hand: 2 of 8, z = 1.96: centre 0.331, half width 0.260
    assert cells[:6] == ["points24_id", "strict-match", "8", "25.0%", "7.1% – 59.1%", "30.0%"]
    assert (
        dict(zip([c.strip() for c in header.split("|")[1:-1]], cells, strict=True))["wrong_rule"] == "25.0%"
    )


def test_the_demo_runs_plain_lm_eval_on_the_shipped_model(monkeypatch, capsys, tmp_path):
    ran = []

    def run(command, **kwargs):
        ran.append(command)
        output = command[command.index("--output_path") + 1]
        (tmp_path / output / "model").mkdir(parents=True)
        (tmp_path / output / "model" / "results_1.json").write_text(json.dumps(results()))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["demo"]) == 0
    assert f"pretrained={model_folder('nano-base')},dtype=float32" in ran[0]
    captured = capsys.readouterr()
    assert captured.out.strip() == demo.results_table(results())
    assert captured.err.startswith("$ lm_eval --model hf")


@pytest.mark.parametrize("status", [1, 2])
def test_a_failed_run_is_no_table(monkeypatch, capsys, status):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, status))
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"lm_eval failed with exit status {status}" in captured.err
