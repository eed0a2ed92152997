import hashlib
import subprocess

from points24.harness.checkpoints.digest import weights_digest


def test_a_single_file_has_its_own_digest(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert weights_digest(tmp_path) == hashlib.sha256(b"weights").hexdigest()


def test_shards_have_the_digest_that_sha256sum_gives(tmp_path):
    for i in (2, 1):
        (tmp_path / f"model-0000{i}-of-00002.safetensors").write_bytes(b"%d" % i)
    command = "sha256sum *.safetensors | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert weights_digest(tmp_path) == printed.stdout.split()[0]


def test_a_folder_without_weights_has_none(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert weights_digest(tmp_path) is None
