"""What `fit` gets out of the first sentences of CoNLL-2003, and what the exported file keeps.

    python benchmarks/conll2003.py FOLDER                      # 1,000 sentences, default settings
    python benchmarks/conll2003.py FOLDER --cold               # as README's figures were made
    python benchmarks/conll2003.py FOLDER --max-prompts 300 --strategy src

FOLDER holds eng.train and eng.testa in their distributed form (IOB1 columns). Scores are span
F1 of the Q8_0 file under llama.cpp on two slices of eng.testa; the agreement compares that file
with the adapter under transformers, sentence by sentence, on every 16th sentence of it. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import minisift
from minisift.prompting.renderer import STRATEGIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--strategy", choices=STRATEGIES, default="mrc")
    parser.add_argument("--max-prompts", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--sampling")
    parser.add_argument(
        "--cold",
        action="store_true",
        help="from the base model alone, with a loss over the whole vocabulary",
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--compare", type=int, default=200, help="dev sentences to compare on")
    parser.add_argument("--output", type=Path, default=Path("demo/conll2003"))
    given = parser.parse_args()
    names = ("strategy", "max_prompts", "learning_rate", "sampling")
    settings = {name: value for name in names if (value := getattr(given, name)) is not None}
    if given.cold:
        settings |= {"start": None, "loss": "full"}

    train = minisift.read(given.folder / "eng.train")[: given.sentences]
    dev = minisift.read(given.folder / "eng.testa")
    started = time.monotonic()
    labeler = minisift.fit(
        given.model, train, output_dir=given.output, resume=given.resume, **settings
    )
    result = {
        "model": given.model,
        "sentences": len(train),
        **settings,
        "fit_seconds": round(time.monotonic() - started),
        "training": labeler.description.made["training"],
    }
    gguf = given.output.with_suffix(".gguf")
    report = labeler.export(gguf, quantization="q8_0", verify_on=dev[::16][: given.compare])
    result["same_spans"] = f"{report['same_spans']} of {report['texts']}"
    result["first_difference"] = report["first_difference"]
    exported = minisift.load(gguf)
    for name, part in (("first 500 of testa", dev[:500]), ("every 6th of testa", dev[::6])):
        scores = exported.evaluate(part)
        print(f"\n{name}\n{scores}", flush=True)
        result[name] = round(scores.f1, 4)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak_gb"] = round(peak / (1e9 if sys.platform == "darwin" else 1e6), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
