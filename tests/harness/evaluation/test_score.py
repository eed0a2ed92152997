import json

from torch.utils import collect_env

from points24.harness.evaluation import score
from points24.harness.records.ingest import About
from tests.tasks.test_lm_eval import Player, solver


def test_what_is_installed_is_listed_once_and_stands_in_every_result(tmp_path, monkeypatch):
    listed = []
    monkeypatch.setattr(collect_env, "run", lambda command: listed.append(command) or (0, "", ""))
    score._environment.cache_clear()
    settings = {"model": "player", "model_args": {"pretrained": "player"}, "batch_size": 1, "limit": 2}
    counts = []
    for name in ("one", "two"):
        score.score(Player(solver), ["points24_id"], tmp_path / name, About("player"), **settings)
        counts.append(len(listed))
    score._environment.cache_clear()
    assert counts[0] == counts[1] > 0
    one, two = (json.loads(path.read_text())["pretty_env_info"] for path in tmp_path.rglob("results_*.json"))
    assert one == two
    assert "PyTorch version" in one


def test_outside_a_repository_git_does_not_complain(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    score._environment.cache_clear()
    settings = {"model": "player", "model_args": {"pretrained": "player"}, "batch_size": 1, "limit": 1}
    score.score(Player(solver), ["points24_id"], tmp_path / "out", About("player"), **settings)
    score._environment.cache_clear()
    assert "fatal" not in capfd.readouterr().err
    (results,) = tmp_path.rglob("results_*.json")
    assert json.loads(results.read_text())["git_hash"] is None
