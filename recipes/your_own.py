"""Your own data: from an annotation tool's export to one file that labels text.

    python recipes/your_own.py labelled.jsonl
    python recipes/your_own.py labelled.jsonl --names ORG=company MED=medicine --model gemma-3-270m

The file is what `minisift.read` takes: JSONL of doccano, Prodigy or Label Studio, columns, DocBin.
Without a file it is the sample that ships with minisift. A copy of this script is a good start.
"""

from __future__ import annotations

import argparse
import logging
import random
from pathlib import Path

import minisift

SAMPLE = Path(minisift.__file__).parent / "sample" / "train.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--names", nargs="*", default=[], help="LABEL=name in the prompt")
    parser.add_argument("--max-prompts", type=int, help="training prompts; by default fit decides")
    parser.add_argument("--output", type=Path, default=Path("demo/your_own"))
    given = parser.parse_args()
    logging.basicConfig(format="%(message)s")

    # What cannot be used is told, not lost: see the notes. on_misaligned="snap" lets spans that
    # cut a word grow to the whole of it.
    examples = minisift.read(given.file, on_error="skip", on_misaligned="snap")
    for note in examples.notes:
        print(note)

    # A fifth is kept aside: its score is what to expect on new text. Half of it chooses the best
    # adapter on the way, so that the other half stays unseen.
    shuffled = random.Random(0).sample(examples, len(examples))
    tenth = max(1, len(shuffled) // 10)
    test, dev, train = shuffled[:tenth], shuffled[tenth : 2 * tenth], shuffled[2 * tenth :]

    # Names that say what a label means help the model.
    labeler = minisift.fit(
        given.model,
        train,
        dev_set=dev,
        names=dict(name.split("=", 1) for name in given.names),
        max_prompts=given.max_prompts,
        output_dir=given.output,
        resume=True,
    )
    gguf = given.output.with_name(f"{given.output.name}.gguf")
    labeler.export(gguf, quantization="q8_0", verify_on=dev)

    # From here on no torch is needed: this is what runs where text is labelled.
    labeler = minisift.load(gguf)
    report = labeler.evaluate(test)
    print(f"{report}\n\nWhat went wrong:\n{report.errors()}")
    for span in labeler.predict(test[0].text):
        print(span)


if __name__ == "__main__":
    main()
