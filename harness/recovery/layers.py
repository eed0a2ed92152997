"""A recovery layer by layer: it goes on after a kill, and several processes can share the layers."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.write import Copy, check_space
from points24.harness.executors.workers import Workers
from points24.harness.files import partial_of, write_text
from points24.harness.recovery.card import model_card
from points24.harness.recovery.estimate import factors_bytes
from points24.harness.recovery.recover import CheckedPair, change, new_report, summary
from points24.harness.recovery.spectral.kept_factors import KeptFactors
from points24.harness.recovery.unfinished import Unfinished, UnfinishedError, unfinished_folder
from points24.tasks.errors import InputError

Layer = int | None
"""None stands for what is outside the layers."""
ALONE = Workers()
_FACTS = ("matrices", "tensors")
"""What a report knows about each tensor."""


def recover(  # noqa: PLR0913 — a pair, where its copies go, in which dtype, and by whom
    pair: CheckedPair,
    out: Path,
    record: dict[str, Any],
    *,
    dtype: str | None,
    device: torch.device,
    workers: Workers = ALONE,
) -> list[dict]:
    """Write every recipe's checkpoint: `out`, which must not exist, or a folder below it for each of several.

    A run that was killed is given again and goes on: tensors that were done stay as they are. Each folder's
    record takes over `record`, which says where this comes from. `dtype` is the output's (F32, ...); None
    keeps the target's.

    Returns:
        What was done and what to know about it, one report for each recipe; the folders carry them too.

    Raises:
        InputError: NaN or Inf in a weight, or `out` cannot be written (no room on the disk, say). Nothing is
            left behind.
        UnfinishedError: a worker has ended before its layers were done.
    """
    for checkpoint in (pair.source, pair.target):
        if out.resolve().is_relative_to(checkpoint.given):
            raise InputError(f"{out} lies inside {checkpoint.given}; choose another output folder")
    dtypes = [recipe.method.dtype or dtype for recipe in pair.plan.recipes]
    if not partial_of(out).exists():
        in_hand = max(factors_bytes(pair.plan, pair.target).values(), default=0)
        check_space(pair.target, out, dtypes, workers.count * in_hand)

    def prepare(folder: Path) -> None:
        folder.mkdir()
        for where in zip(_folders(folder, pair), dtypes, strict=True):
            Copy(pair.target, *where)

    with unfinished_folder(out, _task(pair, record, dtype, device), prepare) as unfinished:
        work = _Work(pair, unfinished.folder.absolute(), dtypes, device, workers.count > 1)
        todo = [layer for layer in work.layers if not unfinished.is_done(layer)]
        if len(todo) < len(work.layers):
            done = f"{len(work.layers) - len(todo)} of {len(work.layers)} layers are done"
            print(f"points24: recover: {unfinished.folder}: {done}", file=sys.stderr)
        shares = [share for i in range(workers.count) if (share := todo[i :: workers.count])]
        workers.execute(recover_layers, work, shares, partial_of(out).absolute() / "slurm")
        if unfinished.error.exists():
            raise InputError(unfinished.error.read_text("utf-8"))
        if left := [layer for layer in todo if not unfinished.is_done(layer)]:
            raise UnfinishedError(f"{len(left)} of {len(work.layers)} layers are not done")
        reports = _reports(work, unfinished)
        for copy, report in zip(work.copies(), reports, strict=True):
            copy.finish(record | report, model_card(record, report))
    return reports


def _task(
    pair: CheckedPair, record: Mapping[str, Any], dtype: str | None, device: torch.device
) -> dict[str, Any]:
    """All that decides the bytes of the output, as JSON gives it back."""
    checkpoints = {"source": pair.source, "target": pair.target, "base": pair.base}
    task: dict[str, Any] = {name: each and weights_digest(each.given) for name, each in checkpoints.items()}
    task["others"] = [weights_digest(each.given) for each in pair.others]
    task |= {"recipe": [recipe.describe() for recipe in pair.plan.recipes], "dtype": dtype}
    task["matrices"] = hashlib.sha256(repr(pair.plan.matrices).encode()).hexdigest()
    task |= {"device": device.type, "versions": record.get("versions")}
    return json.loads(json.dumps(task))


def _folders(made: Path, pair: CheckedPair) -> list[Path]:
    """The folder of each recipe."""
    recipes = pair.plan.recipes
    return [made] if len(recipes) == 1 else [made / recipe.name for recipe in recipes]


@dataclass(frozen=True)
class _Work:
    """What every process has to know."""

    pair: CheckedPair
    folder: Path
    """The unfinished one."""
    dtypes: Sequence[str | None]
    """Of each recipe's copy."""
    device: torch.device
    is_shared: bool

    @property
    def layers(self) -> dict[Layer, list[str]]:
        """The tensors of each layer that change, in the order of the target's files."""
        found: dict[Layer, list[str]] = {}
        for name in self.pair.target.tensors:
            if name in self.pair.plan.matrices or name in self.pair.plan.whole:
                found.setdefault(self.pair.plan.layer_of.get(name), []).append(name)
        return found

    def copies(self) -> list[Copy]:
        folders = _folders(Unfinished(self.folder).made, self.pair)
        where = zip(folders, self.dtypes, strict=True)
        return [Copy(self.pair.target, folder, dtype, is_there=True) for folder, dtype in where]


def recover_layers(work: _Work, layers: Sequence[Layer]) -> None:
    """Recover some layers, each tensor once, whatever other processes do. Bad input is left in `error`."""
    unfinished, names, copies = Unfinished(work.folder), work.layers, work.copies()
    try:
        for layer in _shown(layers, work.is_shared):
            began = time.perf_counter()
            with unfinished.claim(layer):
                if not unfinished.is_done(layer):
                    _recover_layer(work, unfinished, layer, names[layer], copies)
            number = unfinished.finish(layer)
            if not sys.stderr.isatty() or work.is_shared:
                where = "outside the layers" if layer is None else f"layer {layer}"
                took = f"{len(names[layer])} tensors, {time.perf_counter() - began:.1f} s"
                print(f"points24: recover: {where}: {took}; {number} of {len(names)} done", file=sys.stderr)
    except InputError as e:
        write_text(unfinished.error, str(e))


def _shown(layers: Sequence[Layer], is_shared: bool) -> Iterator[Layer]:
    """The layers, with a bar on a terminal that no other process writes to."""
    yield from tqdm(layers, "recover", unit="layer", disable=True if is_shared else None)


def _recover_layer(
    work: _Work, unfinished: Unfinished, layer: Layer, names: Sequence[str], copies: Sequence[Copy]
) -> None:
    kept = unfinished.tensors(layer)
    for number, name in enumerate(names):
        if name not in kept:
            factors = KeptFactors(unfinished.folder, f"{layer}.{number}")
            reports: dict[int, dict[str, Any]] = {i: {key: [] for key in _FACTS} for i in range(len(copies))}
            change(work.pair, name, dict(enumerate(copies)), reports, device=work.device, factors_of=factors)
            for copy in copies:
                copy.flush(name)
            kept[name] = list(reports.values())
            unfinished.keep(layer, kept)
            factors.forget()


def _reports(work: _Work, unfinished: Unfinished) -> list[dict[str, Any]]:
    """The report of each recipe, with what is known of every tensor in the order of the files."""
    known = {name: facts for layer in work.layers for name, facts in unfinished.tensors(layer).items()}
    reports = [new_report(work.pair, recipe) for recipe in work.pair.plan.recipes]
    for number, report in enumerate(reports):
        for name in (name for name in work.pair.target.tensors if name in known):
            for key in _FACTS:
                report[key] += known[name][number][key]
        report["summary"] = summary(report)
    return reports
