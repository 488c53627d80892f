"""The whole cycle on the shipped sample: prompt, fit, score, export, label from one file.

    python recipes/demo.py [FOLDER]

About seven minutes on two cores the first time; what a run has built (the adapter, the GGUF
file) is used again by the next.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import minisift

SAMPLE = Path(minisift.__file__).parent / "sample"
MODEL = "smollm2-135m"
SENTENCES = (
    "Mrs. Kowalczyk felt dizzy again after 5 mg of amlodipine, says her son Piotr.",
    "Tom gave Mrs. Alvarez 5 mg of warfarin; no nausea, no swollen ankles.",
)


def step(text: str) -> None:
    print(f"\n== {text}", flush=True)


def main(folder: Path) -> None:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("minisift").setLevel(logging.INFO)
    started = time.monotonic()
    train = minisift.read(SAMPLE / "train.jsonl")
    dev = minisift.read(SAMPLE / "dev.jsonl")
    adapter, gguf = folder / "adapter", folder / "notes.gguf"

    step(f"a labeler from {FEW} labelled sentences, no training (15 seconds)")
    first = minisift.prompt(MODEL, train[:FEW])
    few = first.evaluate(dev, progress=True)
    print(few)

    if adapter.exists():
        step(f"using the adapter in {adapter}; remove it to train again")
    else:
        step(f"fine-tuning on {len(train)} sentences of home-care notes (3 minutes)")
        minisift.fit(
            MODEL, train, dev_set=dev, output_dir=adapter, max_prompts=PROMPTS, evaluations=0
        )
    if gguf.exists():
        step(f"using {gguf}")
    else:
        step("merging, exporting and verifying (1 minute)")
        minisift.load(adapter).export(gguf, quantization="q8_0", verify_on=dev[:20])

    step(f"scores of {gguf} on {len(dev)} dev sentences, by llama.cpp (10 seconds)")
    labeler = minisift.load(gguf)
    report = labeler.evaluate(dev, progress=True)
    print(report)

    step("labelling two sentences")
    for text, spans in zip(SENTENCES, labeler.predict(SENTENCES), strict=True):
        print(text)
        for span in spans:
            print(f"  {span.start:3}-{span.end:<3} {span.label:11} {span.score:.2f}  {span.text}")
    print(
        f"\ndev F1 {report.f1:.3f}, from {FEW} sentences without training {few.f1:.3f}; "
        f"{time.monotonic() - started:.0f} seconds"
    )


FEW = 24
PROMPTS = 160
"""Enough for this data; by default `fit` would take 280."""

if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
