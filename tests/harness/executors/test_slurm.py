"""What a SLURM job says when it fails, by submitit's own processes in place of SLURM."""

import pytest

from points24.harness.executors.workers import Workers

pytest.importorskip("submitit", reason="SLURM needs submitit: pip install 'points24[slurm]'")


def fails(common, share):
    raise ValueError("nothing\nto do")


def test_what_a_job_raises_is_told_in_one_line(tmp_path, capsys):
    workers = Workers("slurm", 1, {"cluster": "local", "timeout_min": 1})
    workers.execute(fails, None, [["share"]], tmp_path)
    (log,) = tmp_path.glob("*.err")
    job = log.name.partition("_")[0]
    assert capsys.readouterr().err == f"points24: SLURM job {job} failed: to do see {log}\n"
