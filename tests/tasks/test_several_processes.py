"""Two processes of lm-eval share the deals: the records of one."""

import os
import subprocess
import sys

import pytest

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.records.store import read_records

# lm-eval shares deals only where it sees several GPUs.
TWO_GPUS = """
import torch
torch.cuda.device_count = lambda: 2
from lm_eval.__main__ import cli_evaluate
cli_evaluate()
"""
PROCESSES = {
    "one": [sys.executable],
    "two": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "flags"),
    [("points24_ood", []), ("points24_ood_revise", ["--apply_chat_template"])],
)
def test_two_processes_give_the_records_of_one(tmp_path, task, flags):
    script = tmp_path / "evaluate.py"
    script.write_text(TWO_GPUS, "utf-8")
    found = []
    for name, launcher in PROCESSES.items():
        out, board = tmp_path / name, tmp_path / f"{name}-board"
        given = (
            f"--model hf --tasks {task} --limit 9 --batch_size 4 --device cpu --gen_kwargs max_gen_toks=48"
        )
        command = [*launcher, str(script), *given.split(), "--log_samples", "--output_path", str(out), *flags]
        command += ["--model_args", f"pretrained={model_folder('nano-base')},dtype=float32"]
        subprocess.run(command, check=True, env=os.environ | {"ACCELERATE_USE_CPU": "true"})
        assert main(["leaderboard", "ingest", str(out), "--dir", str(board)]) == 0
        records = read_records(board / "records")
        found.append(sorted((r.filter, r.outcomes, r.n, str(r.verdicts)) for r in records))
    assert found[0] == found[1]
