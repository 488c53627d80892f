"""Span F1 from few labels: minisift with the bundled models beside what else one would train.

    pip install -c constraints.txt -r benchmarks/requirements.txt
    python benchmarks/quality.py FOLDER --rows rows.jsonl
    python benchmarks/quality.py FOLDER --rows rows.jsonl --tasks ner --sizes 50 200 --systems CRF

FOLDER holds the four tasks' data: ner-conll2003, absa-rest14, chunking-conll2000, triggers-casie.
Each run trains on sentences that its seed draws, the same for all systems, and is scored on the same
part of the test set; with --part dev on sentences of the training file that it did not draw, which is where
choices are made: `--part dev --systems "parts of SmolLM2-135M"` shows what each part of minisift brings. minisift
runs with its defaults and is scored as the exported F16 file, or with --engine transformers as it is; rows tell which, the table does not. Rows are appended as runs end;
those that are there already are not run again.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from peers import PEERS, Label, Peer

import minisift
from minisift.files import whole
from minisift.models.device import device_name
from minisift.scoring.evaluation import score

TASKS = {
    "ner": ("ner-conll2003/eng.train", "ner-conll2003/eng.testb", 6),
    "absa": ("absa-rest14/train.conll", "absa-rest14/test.conll", 2),
    "chunking": ("chunking-conll2000/train.txt", "chunking-conll2000/test.txt", 4),
    "triggers": ("triggers-casie/train.jsonl", "triggers-casie/test.jsonl", 2),
}
"""Training file, test file, and which share of the test file's sentences is labelled."""
MODELS = {"SmolLM2-135M": "smollm2-135m", "Gemma-3-270m": "gemma-3-270m"}
KEYS = ("task", "size", "seed", "system")
DEV = 300
"""Sentences of the training file that a run on dev is scored on, at most."""
PARTS = (
    ", cold",
    ", cold, loss over what is allowed",
    ", one run, loss over all",
    ", one run, no end bias",
    ", one run",
    ", nothing held out",
    "",
)
"""A model's systems from the base model alone to minisift as it is: each has a part more than one before."""


def systems(engine: str = "llama.cpp") -> dict[str, Peer]:
    """What is measured, by name. "cold": with nothing but the base model to start from, and a loss over
    the whole vocabulary."""
    found: dict[str, Peer] = dict(PEERS)
    for name, model in MODELS.items():
        for kind, make, options in (
            ("", minisift.fit, {}),
            (", one run", minisift.fit, {"runs": 1}),
            (", one run, no end bias", without_bias, {"runs": 1}),
            (", one run, loss over all", minisift.fit, {"runs": 1, "loss": "full"}),
            (", nothing held out", minisift.fit, {"held_out": 0}),
            (", cold", minisift.fit, {"start": None, "loss": "full", "runs": 1}),
            (", cold, loss over what is allowed", minisift.fit, {"start": None, "runs": 1}),
            (", prompt", minisift.prompt, {}),
            (", prompt 8", minisift.prompt, {"shots": 8}),
            (", prompt 24", minisift.prompt, {"shots": 24}),
            (", prompt 8, cold", minisift.prompt, {"shots": 8, "start": None}),
            (", prompt 24, cold", minisift.prompt, {"shots": 24, "start": None}),
        ):
            found[f"minisift {name}{kind}"] = functools.partial(
                sift, functools.partial(make, model, **options), engine
            )
    return found


def without_bias(*given: Any, **options: Any) -> minisift.Labeler:
    """What `fit` makes, but for the end's bias."""
    labeler = minisift.fit(*given, **options)
    labeler.lean(1)
    return labeler


def sift(
    make: Callable[..., minisift.Labeler], engine: str, train: Sequence[Any], seed: int
) -> Label:
    labeler = make(train, seed=seed)
    if engine == "transformers":
        return labeler.predict
    scratch = tempfile.TemporaryDirectory()
    path = Path(scratch.name) / "labeler.gguf"
    labeler.export(path, quantization="f16", verify=False)
    del labeler
    exported = minisift.load(path)

    def label(texts: Sequence[Any]) -> Any:
        with scratch:
            found = exported.predict(texts)
            exported.close()
        return found

    return label


def material(
    folder: Path, task: str, size: int, seed: int, part: str
) -> tuple[list[minisift.Example], list[minisift.Example]]:
    """The sentences that a run trains on, and those that it is scored on."""
    train_file, test_file, every = TASKS[task]
    options: Any = {"on_error": "skip", "on_misaligned": "skip"}
    pool = list(minisift.read(folder / train_file, **options))
    drawn = random.Random(seed).sample(range(len(pool)), size)
    if part == "test":
        texts = list(minisift.read(folder / test_file, **options))[::every]
    else:
        others = sorted(set(range(len(pool))) - set(drawn))
        texts = [pool[at] for at in random.Random(seed).sample(others, min(DEV, len(others)))]
    return [pool[at] for at in drawn], texts


def run(
    folder: Path, task: str, size: int, seed: int, system: str, engine: str, part: str
) -> dict[str, Any]:
    train, texts = material(folder, task, size, seed, part)
    started = time.monotonic()
    label = systems(engine)[system](train, seed)
    made = time.monotonic()
    found = label(texts)
    labelled = time.monotonic()
    report = score(texts, found)
    return {
        **dict(zip(KEYS, (task, size, seed, system), strict=True)),
        **({"part": part} if part != "test" else {}),
        "f1": round(report.f1, 4),
        "precision": round(report.precision, 4),
        "recall": round(report.recall, 4),
        "training_seconds": round(made - started),
        "texts_per_second": round(len(texts) / (labelled - made), 1),
        "version": minisift.__version__,
        **(_ours(report, engine) if "minisift" in system else {}),
    }


def _ours(report: minisift.Report, engine: str) -> dict[str, Any]:
    """What a row tells of minisift alone."""
    error = round(report.calibration_error, 4)
    return {"calibration_error": error, "engine": engine, "device": device_name()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """F1, a line a task and system, a column a size: mean, deviation and number of the draws, the best of each
    task and size in bold; behind it the minutes until a system labels, and the texts that it labels a second."""
    sizes = sorted({row["size"] for row in rows})
    found: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["task"], row["system"], row["size"]].append(row)
    means = {at: _mean(cell, "f1") for at, cell in found.items()}
    lines = ["| | " + " | ".join(f"{size:,}" for size in sizes) + " |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for task in TASKS:
        best = {
            z: max((f1 for at, f1 in means.items() if at[::2] == (task, z)), default=0)
            for z in sizes
        }
        for system in systems():
            here = [found.get((task, system, size), []) for size in sizes]
            if any(here):
                cells = [_cell(rows, best[size]) for rows, size in zip(here, sizes, strict=True)]
                lines.append(f"| {task}: {system} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows: Sequence[dict[str, Any]], best: float) -> str:
    """What the table says of a system's draws at one size. best: the best system's mean."""
    if not rows:
        return ""
    mean = _mean(rows, "f1")
    text = f"**{mean:.3f}**" if mean == best else f"{mean:.3f}"
    if len(rows) > 1:
        text += f" ± {statistics.stdev(row['f1'] for row in rows):.3f} ({len(rows)})"
    if timed := [row for row in rows if "training_seconds" in row]:
        minutes = _mean(timed, "training_seconds") / 60
        text += f"; {minutes:.1f} min, {_mean(timed, 'texts_per_second'):.0f}/s"
    return text


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.mean(row[key] for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=Path, default=Path("quality.jsonl"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[20, 50, 200, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    named = {f"parts of {model}": [f"minisift {model}{part}" for part in PARTS] for model in MODELS}
    default = [*PEERS, *(f"minisift {model}" for model in MODELS)]
    parser.add_argument(
        "--systems",
        nargs="+",
        choices=[*systems(), *named],
        default=default,
        help="parts: from the base model alone to minisift as it is, with a part more each",
    )
    parser.add_argument("--part", choices=("test", "dev"), default="test", help="what is scored on")
    parser.add_argument(
        "--engine",
        choices=("llama.cpp", "transformers"),
        default="llama.cpp",
        help="what labels; transformers where there is a GPU and llama.cpp was built without",
    )
    given = parser.parse_args()
    rows = []
    if given.rows.exists():
        rows = [json.loads(line) for line in given.rows.read_text().splitlines()]
    done = {(*(row[key] for key in KEYS), row.get("part", "test")) for row in rows}
    wanted = (
        (task, size, seed, system)
        for seed in given.seeds
        for task in given.tasks
        for size in given.sizes
        for system in chain.from_iterable(named.get(name, [name]) for name in given.systems)
    )
    for cell in wanted:
        if (*cell, given.part) in done:
            continue
        print(*cell, flush=True)
        rows.append(run(given.folder, *cell, engine=given.engine, part=given.part))
        print(f"F1 {rows[-1]['f1']:.3f}, {rows[-1]['training_seconds']} s", flush=True)
        with whole(given.rows) as draft:
            draft.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table([row for row in rows if row.get("part", "test") == given.part]))


if __name__ == "__main__":
    main()
