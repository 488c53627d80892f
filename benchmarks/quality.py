"""Span F1 from few labels: minisift with the bundled models beside what else one would train.

    pip install -c constraints.txt -r benchmarks/requirements.txt
    python benchmarks/quality.py FOLDER --rows rows.jsonl
    python benchmarks/quality.py FOLDER --rows rows.jsonl --tasks ner --sizes 50 200 --systems CRF

FOLDER holds the four tasks' data: ner-conll2003, absa-rest14, chunking-conll2000, triggers-casie.
Each run trains on sentences that its seed draws, the same for all systems, and is scored on the same
part of the test set. minisift runs with its defaults and is scored as the exported F16 file, or with
--engine transformers as it is; rows tell which, the table does not. Rows are appended as runs end;
those that are there already are not run again. The table gives mean and standard deviation over the
seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers import PEERS

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
MODELS = {"minisift SmolLM2-135M": "smollm2-135m", "minisift Gemma-3-270m": "gemma-3-270m"}
KEYS = ("task", "size", "seed", "system")


def sift(model: str, train: Sequence[Any], seed: int, texts: Sequence[Any], engine: str) -> Any:
    labeler = minisift.fit(model, train, seed=seed)
    if engine == "transformers":
        return labeler.predict(texts)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "labeler.gguf"
        labeler.export(path, quantization="f16", verify=False)
        exported = minisift.load(path)
        found = exported.predict(texts)
        exported.close()
    return found


def run(folder: Path, task: str, size: int, seed: int, system: str, engine: str) -> dict[str, Any]:
    train_file, test_file, every = TASKS[task]
    options: Any = {"on_error": "skip", "on_misaligned": "skip"}
    pool = minisift.read(folder / train_file, **options)
    train = random.Random(seed).sample(list(pool), size)
    texts = list(minisift.read(folder / test_file, **options))[::every]
    started = time.monotonic()
    if system in MODELS:
        found = sift(MODELS[system], train, seed, texts, engine)
    else:
        found = PEERS[system](train, seed, texts)
    report = score(texts, found)
    return {
        **dict(zip(KEYS, (task, size, seed, system), strict=True)),
        "f1": round(report.f1, 4),
        "precision": round(report.precision, 4),
        "recall": round(report.recall, 4),
        "seconds": round(time.monotonic() - started),
        "version": minisift.__version__,
        **({"engine": engine, "device": device_name()} if system in MODELS else {}),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean and deviation of F1, a line a system, a column a task and size."""
    columns = sorted({(row["task"], row["size"]) for row in rows})
    order = [*MODELS, *PEERS]
    systems = sorted({row["system"] for row in rows}, key=order.index)
    lines = ["| | " + " | ".join(f"{task} {size}" for task, size in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for system in systems:
        cells = []
        for column in columns:
            found = [
                row["f1"]
                for row in rows
                if row["system"] == system and (row["task"], row["size"]) == column
            ]
            spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.3f}{spread}" if found else "")
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=Path, default=Path("quality.jsonl"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 200, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    systems = [*MODELS, *PEERS]
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems)
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
    done = {tuple(row[key] for key in KEYS) for row in rows}
    wanted = (
        (task, size, seed, system)
        for seed in given.seeds
        for task in given.tasks
        for size in given.sizes
        for system in given.systems
    )
    for cell in wanted:
        if cell in done:
            continue
        print(*cell, flush=True)
        rows.append(run(given.folder, *cell, given.engine))
        print(f"F1 {rows[-1]['f1']:.3f}, {rows[-1]['seconds']} s", flush=True)
        with whole(given.rows) as draft:
            draft.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows))


if __name__ == "__main__":
    main()
