"""The section of a model card that says how a checkpoint was recovered, and how far to trust that."""

from __future__ import annotations

from typing import Any


def model_card(record: dict[str, Any], report: dict[str, Any]) -> str:
    """Markdown, from the record and the report of one recipe."""
    recipe, summary = report["recipe"], report["summary"]
    settings = ", ".join(
        f"{key} {value}" for key, value in recipe.items() if key != "name" and value is not None
    )
    lines = [
        "## Recovery",
        "",
        f"Made from `{record['target']}` with `{record['source']}` as the source: {settings}.",
        "",
        f"    {record['command']}",
        "",
        *(f"- {line}" for line in findings(report)),
        f"- Matrix by matrix in `recovery.json` ({summary['matrices']} of them).",
    ]
    return "\n".join(lines) + "\n"


def findings(report: dict[str, Any]) -> list[str]:
    """What users of the result should know, one line each."""
    summary = report["summary"]
    lines = []
    if summary["matrices"]:
        lines += [
            f"The edit measures {summary['edit_of_distance']:.1%} of the distance between source and target.",
            f"{summary['lost_to_rounding']:.1%} of the edit was lost to rounding the output"
            + ("; a wider --dtype keeps it." if summary["lost_to_rounding"] > 0.1 else "."),
        ]
        if summary["smallest_gap"] is not None:
            lines.append(
                f"Smallest relative gap between singular values at a cut: {summary['smallest_gap']:.1e}. "
                "Where it is small, the choice of ranks is not unique; --taper softens the cut."
            )
            lines.append(
                "Restored and kept bases are not orthogonal, so the singular values hold only approximately."
            )
        if summary["null"]:
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
