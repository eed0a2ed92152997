"""The section of a model card that says how a checkpoint was recovered, and how far to trust that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def model_card(record: dict[str, Any], report: dict[str, Any]) -> str:
    """Markdown with the hub's front matter, from the record and the report of one recipe."""
    recipe, summary = report["recipe"], report["summary"]
    settings = ", ".join(
        f"{key} {value}" for key, value in recipe.items() if key != "name" and value is not None
    )
    lines = [
        *_front_matter(record, recipe["method"]),
        "## Recovery",
        "",
        f"Made from `{record['target']}` with `{record['source']}` as the source: {settings}.",
        "",
        f"    {record['command']}",
        "",
        *(f"- {line}" for line in findings(report)),
        f"- Matrix by matrix in `recovery.json` ({summary['matrices'] + summary['tensors']} entries).",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(record: dict[str, Any], method: str) -> list[str]:
    """The hub's metadata. Only hub ids can be a base model there; folders of this machine are left out."""
    made_from = [record["target"], record["source"], record.get("base"), *(record.get("others") or ())]
    ids = [name for name in dict.fromkeys(made_from) if name and _is_hub_id(name)]
    data = {"library_name": "transformers", "tags": ["points24", "recovery", "merge", method]}
    if ids:
        data |= {"base_model": ids, "base_model_relation": "merge"}
    return ["---", *yaml.safe_dump(data, sort_keys=False).splitlines(), "---", ""]


def _is_hub_id(name: str) -> bool:
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).expanduser().is_dir()


def findings(report: dict[str, Any]) -> list[str]:
    """What users of the result should know, one line each."""
    summary = report["summary"]
    is_spliced = any("source" in matrix["null"] for matrix in report["matrices"])
    lines = []
    if not summary["matrices"] and not summary["tensors"]:
        lines.append("Nothing was changed: source and target are the same wherever the recipe works.")
    else:
        beyond = (
            ", so that the result lies beyond the source, farther from the target than the source is"
            if summary["edit_of_distance"] > 1
            else ""
        )
        lines += [
            f"The edit measures {summary['edit_of_distance']:.1%} of the distance between source and target"
            f"{beyond}.",
            f"{summary['lost_to_rounding']:.1%} of the edit was lost to rounding the output"
            + ("; a wider --dtype keeps it." if summary["lost_to_rounding"] > 0.1 else "."),
        ]
        if summary["smallest_gap"] is not None:
            lines.append(
                f"Smallest relative gap between singular values at a cut: {summary['smallest_gap']:.1e}. "
                "Where it is small, the choice of ranks is not unique"
                + ("; --taper softens the cut." if is_spliced else ".")
            )
        if is_spliced and summary["smallest_gap"] is not None:
            lines.append(
                "Restored and kept bases are not orthogonal, so the singular values hold only approximately."
            )
        if is_spliced and summary["null"]:
            lines.append(f"{summary['null']} null directions are arbitrary; they stay the target's.")
    odd = {
        n: why for n, why in report["skipped"].items() if why not in ("not chosen", "no matrix of a layer")
    }
    lines += [f"{name} kept the target's values: {why}." for name, why in odd.items()]
    lines += [
        f"{name} was left out: weights in another file than the target's own." for name in report["left_out"]
    ]
    kept = len(report["skipped"]) - len(odd)
    lines.append(f"{kept} more tensors (biases, norms, what was not chosen) are the target's.")
    return lines
