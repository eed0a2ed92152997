"""What is refused, with one line, exit status 2, and nothing left behind."""

import json
import resource
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from points24.harness.cli import main
from tests.harness.recovery.models import make_pair


@pytest.fixture
def pair(tmp_path):
    return make_pair(tmp_path)


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs a recovery that has to fail, and returns its message."""

    def run(source, target, *flags):
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        flags = flags or ("--ranks", "top 20%")
        status = main(
            ["recover", "--source", str(source), "--target", str(target), "-o", str(tmp_path / "out"), *flags]
        )
        printed = capsys.readouterr()
        assert status == 2
        assert printed.out == ""
        assert sorted(tmp_path.rglob("*")) == before
        (line,) = [line for line in printed.err.splitlines() if not line.startswith("points24: recover: ")]
        return line.removeprefix("points24: error: ")

    return run


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_another_architecture(pair, refused, tmp_path):
    other, _ = make_pair(tmp_path / "other", "qwen2")
    assert "different architectures: model_type is qwen2" in refused(other, pair[1])


def test_other_shapes_inside_the_layers(pair, refused):
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(pair[0], lambda t: t.update({name: t[name][:20].contiguous()}))
    assert f"different architectures: {name} is [20, 32]" in refused(*pair)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
def test_a_missing_tensor(pair, refused, which, name):
    change_weights(pair[which], lambda t: t.pop(name))
    assert refused(*pair).startswith(f"{pair[which]}: {name} is missing")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("which", "whose"), [(0, "source"), (1, "target")])
def test_nan_and_inf_are_named(pair, refused, which, whose, value):
    name = "model.layers.1.self_attn.v_proj.weight"
    change_weights(pair[which], lambda t: t[name].__setitem__((3, 5), value))
    message = refused(*pair)
    assert message.startswith(name)
    assert message.endswith(f"in the {whose}")


def test_nan_in_a_baseline(pair, refused):
    change_weights(pair[0], lambda t: t["model.norm.weight"].__setitem__(0, float("nan")))
    message = refused(*pair, "--method", "interpolate", "--weight", "0.5")
    assert message.startswith("model.norm.weight: NaN")


@pytest.mark.parametrize("bytes_left", [0, 5, 100, -1])
def test_a_truncated_file(pair, refused, bytes_left):
    file = pair[0] / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:bytes_left])
    assert str(file) in refused(*pair)


def test_a_flipped_bit_anywhere_in_the_header_is_refused_or_harmless(pair, tmp_path, capsys):
    file = pair[0] / "model.safetensors"
    content = bytearray(file.read_bytes())
    header = int.from_bytes(content[:8], "little")
    for place in range(0, 8 + header, 37):
        content[place] ^= 0x10
        file.write_bytes(content)
        content[place] ^= 0x10
        out = tmp_path / "out"
        status = main(
            ["recover", "--source", str(pair[0]), "--target", str(pair[1]), "-o", str(out), "--ranks", "1"]
        )
        assert status == 2
        assert not out.exists()


def test_a_flipped_bit_in_a_weight_is_found_where_there_is_a_digest(pair, refused, tmp_path):
    first = tmp_path / "first"
    assert (
        main(
            [
                "recover",
                "--source",
                str(pair[0]),
                "--target",
                str(pair[1]),
                "-o",
                str(first),
                "--ranks",
                "all",
            ]
        )
        == 0
    )
    content = bytearray((first / "model.safetensors").read_bytes())
    content[-9] ^= 1
    (first / "model.safetensors").write_bytes(content)
    assert "model.safetensors: SHA-256" in refused(pair[0], first)


@pytest.mark.parametrize(
    "quantise",
    [
        lambda folder: change_config(folder, quantization_config={"quant_method": "gptq"}),
        lambda folder: change_weights(
            folder, lambda t: t.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)})
        ),
        lambda folder: change_weights(
            folder, lambda t: t.update({"x.qweight": torch.ones(32, dtype=torch.int32)})
        ),
        lambda folder: change_weights(
            folder, lambda t: t.update({"model.norm.weight": torch.ones(32).to(torch.float8_e4m3fn)})
        ),
    ],
)
def test_quantised_weights(pair, refused, quantise):
    quantise(pair[1])
    assert "quantised" in refused(*pair)


def test_pickles(pair, refused):
    (pair[1] / "model.safetensors").rename(pair[1] / "pytorch_model.bin")
    assert "pytorch_model.bin (pickled)" in refused(*pair)


def test_a_folder_without_weights(pair, refused):
    (pair[1] / "model.safetensors").unlink()
    assert "found neither" in refused(*pair)


def test_code_of_its_own(pair, refused):
    change_config(pair[0], auto_map={"AutoModel": "modeling.Mine"})
    assert "auto_map" in refused(*pair)


@pytest.mark.parametrize("shard", ["../target/model.safetensors", "/etc/passwd", "..", "", "a\\b"])
def test_a_shard_outside_the_folder(pair, refused, shard):
    index = {"weight_map": dict.fromkeys(load_file(pair[0] / "model.safetensors"), shard)}
    (pair[0] / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "is no file in this folder" in refused(*pair)


def test_an_index_that_names_another_shard(pair, refused, tmp_path):
    source, _ = make_pair(tmp_path / "sharded", max_shard_size="15KB")
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name = next(iter(index["weight_map"]))
    index["weight_map"][name] = next(
        f for f in index["weight_map"].values() if f != index["weight_map"][name]
    )
    path.write_text(json.dumps(index))
    assert f"{name} is not in" in refused(source, pair[1])


def test_a_missing_shard(pair, refused, tmp_path):
    source, _ = make_pair(tmp_path / "sharded", max_shard_size="15KB")
    next(source.glob("*.safetensors")).unlink()
    assert "No such file" in refused(source, pair[1])


def test_the_hubs_cache_is_made_of_links_and_is_read_and_verified(pair, refused, tmp_path, capsys):
    from points24.harness.files import sha256

    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in pair[0].iterdir():
        blob = blobs / sha256(file)
        shutil.copyfile(file, blob)
        (snapshot / file.name).symlink_to(blob)
    out = tmp_path / "good"
    assert (
        main(
            ["recover", "--source", str(snapshot), "--target", str(pair[1]), "-o", str(out), "--ranks", "all"]
        )
        == 0
    )
    content = bytearray((snapshot / "model.safetensors").read_bytes())
    content[-9] ^= 1
    (snapshot / "model.safetensors").write_bytes(content)
    assert "SHA-256" in refused(snapshot, pair[1])


def test_an_existing_output_folder(pair, refused, tmp_path):
    (tmp_path / "out").mkdir()
    assert "exists" in refused(*pair)


def test_an_output_folder_that_another_run_fills(pair, refused, tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "notes").touch()
    assert "out.partial exists" in refused(*pair)


def test_an_output_folder_inside_the_target(pair, capsys):
    out = str(pair[1] / "out")
    assert (
        main(["recover", "--source", str(pair[0]), "--target", str(pair[1]), "-o", out, "--ranks", "all"])
        == 2
    )
    assert "lies inside" in capsys.readouterr().err


@pytest.mark.parametrize("needs", [("bfloat16", 1), ("float32", 1), ("bfloat16", 3)])
def test_too_little_room_is_found_before_anything_is_written(pair, refused, tmp_path, monkeypatch, needs):
    dtype, recipes = needs
    flags = [w for share in range(1, recipes + 1) for w in ("--ranks", f"top {share}0%")] + ["--dtype", dtype]
    weights = sum(t.numel() for t in load_file(pair[1] / "model.safetensors").values())
    others = sum(f.stat().st_size for f in pair[1].iterdir() if f.suffix != ".safetensors")
    needed = recipes * (weights * (4 if dtype == "float32" else 2) + others)
    needed += 2 * 8 * 32 * 33  # factors of the pair of matrices in hand, 32 on their shorter side
    asked = []

    def disk(free):
        usage = shutil.disk_usage(tmp_path)._replace(free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda path: asked.append(path) or usage)

    disk(needed - 1)
    assert "GiB are free on that disk" in refused(*pair, *flags)
    assert asked == [tmp_path]
    monkeypatch.undo()
    disk(needed)
    flags += ["--source", str(pair[0]), "--target", str(pair[1]), "-o", str(tmp_path / "a" / "b")]
    assert main(["recover", *flags]) == 0
    assert asked == [tmp_path] * 2


def test_a_disk_that_is_full(pair, tmp_path):
    """A limit on the size of files stands in for it: every write beyond fails."""
    program = (
        "import sys; from points24.harness.cli import main; raise SystemExit(main(['recover', '--source', sys.argv[1],"
        "'--target', sys.argv[2], '-o', sys.argv[3], '--ranks', 'all', '--dtype', sys.argv[4]]))"
    )
    for dtype in ("bfloat16", "float32"):
        before = sorted(tmp_path.iterdir())
        run = subprocess.run(
            [sys.executable, "-c", program, *map(str, pair), str(tmp_path / "out"), dtype],
            capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        )  # fmt: skip
        assert run.returncode == 2
        assert "File too large" in run.stderr.splitlines()[-1]
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--ranks", "top twenty"), "'twenty': expected"),
        (("--ranks", "top 20%", "--layers", "2-5"), "there is no layer 2; allowed: 0-1"),
        (
            ("--ranks", "top 20%", "--modules", "q_prj"),
            "this model has no q_prj; allowed: attention, down_proj, embed_tokens",
        ),
        (("--ranks", "top 20%", "--taper", "x"), "'x': expected"),
        (("--ranks", "top 20%", "--weight", "0.5"), "weight does not go with method spectral"),
        (("--ranks", "top 20%", "--ranks", "top 20%"), "asked for twice"),
        (("--layers", "0"), "ranks is missing"),
        (("--method", "interpolate"), "weight is missing"),
        (("--method", "interpolate", "--weight", "nan"), "expected a number"),
        (("--method", "reset"), "layers is missing"),
        (("--method", "task-arithmetic", "--weight", "1"), "base is missing"),
        (("--ranks", "all", "--layer-prefix", "("), "not a regular expression"),
        (("--ranks", "all", "--layer-prefix", "nothing."), "no tensor belongs to a layer"),
    ],
)
def test_flags_that_make_no_sense(pair, refused, flags, message):
    assert message in refused(*pair, *flags)


def test_a_checkpoint_that_is_not_there(pair, refused, tmp_path):
    assert "expected a folder or a model of the hub" in refused(tmp_path / "no" / "such" / "folder", pair[1])
    assert "not available from the hub" in refused("no-such/model", pair[1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(pair, refused):
    assert "device 'cuda'" in refused(*pair, "--ranks", "all", "--device", "cuda")
