"""Fits a labeler in several processes: MODEL OUTPUT; tells whether what was saved answers alike."""

import json
import os
import sys

import minisift

dev = minisift.read("minisift/sample/dev.jsonl")[:8]
labeler = minisift.fit(
    sys.argv[1],
    "minisift/sample/train.jsonl",
    dev_set=dev,
    output_dir=sys.argv[2],
    shots=2,
    max_prompts=8,
    evaluations=2,
)


def answers(labeler):
    found = [labeler.predict(example) for example in dev]
    return [[(s.start, s.end, s.label, round(s.score, 4)) for s in spans] for spans in found]


if os.environ.get("RANK", "0") == "0":  # each process has a labeler of its own in the end
    same = answers(labeler) == answers(minisift.load(sys.argv[2]))
    curve = labeler.description.made["training"]["curve"]
    evaluations = sum("f1" in point for point in curve)
    print("result", json.dumps([same, evaluations, labeler.description.temperature]))
