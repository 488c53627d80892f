"""Texts that try to break a labeler: no exception, no invalid answer, no text lost.

    python benchmarks/hostile.py LABELER            # a GGUF file or a folder of fit
    python benchmarks/hostile.py LABELER --texts 500

Control tokens of common models, fake answers, quotes, NULs, emoji, right-to-left text, lone
surrogates; 1 to 5,000 words. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator

import minisift
from minisift.data.examples import Example
from minisift.prompting.response import parse, render, target_of

PIECES = [
    *"<|im_end|> <|im_start|>assistant <eos> </s> <bos> <|endoftext|> <start_of_turn> [INST]".split(),
    *"\x00 \x1b[31m \\ \\n \" ' ` { } [ ] ( ) <0x0A> %s ${x} ; -- || && : #2 #1 : ▁ Ġ".split(" "),
    *"🙂 👩‍👩‍👧‍👦 🇩🇪 é é ﬁ ǅ İ ß ½ ٣ \u202e \u200b \u200f \ufeff \ud83d \udc00 \ufffd".split(" "),
    *"مرحبا שלום 你好世界 ありがとう สวัสดี नमस्ते Ελλάδα Москва naïve Zürich Angela Paris EU".split(),
    *[
        "a: person",
        " Paris: location\n\n",
        "Text:",
        "\n\n",
        "\r\n",
        "\t",
        "    ",
        "a " * 9,
        "a" * 99,
    ],
]


def texts(count: int, names: list[str], seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for number in range(count):
        if number % 1000 == 999:
            words = rng.randint(1000, 5000)
        elif number % 100 == 99:
            words = rng.randint(50, 300)
        else:
            words = rng.randint(1, 12)
        pieces = [*PIECES, *(f"x: {name}\n" for name in names)]
        chosen = (rng.choice(pieces) for _ in range(words))
        yield "".join(piece + rng.choice([" ", " ", " ", ""]) for piece in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labeler")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    labeler = minisift.load(given.labeler)
    task = labeler.description.task
    asked = list(texts(given.texts, list(task.names.values()), given.seed))
    found: Counter[str] = Counter()
    started = time.monotonic()
    stream = labeler.stream(asked, progress=True)
    for text, spans in zip(asked, stream, strict=True):
        found["texts"] += 1
        found["spans"] += len(spans)
        found["offsets that are wrong"] += any(text[s.start : s.end] != s.text for s in spans)
        found["scores out of range"] += any(not 0 <= s.score <= 1 for s in spans)
        gold = Example(text, tuple(spans))  # raises unless flat and word-aligned
        target = target_of(gold)
        if parse(render(target, task.names), target, task.labels_by_name) != list(gold.spans):
            found["invalid answers"] += 1
    seconds = round(time.monotonic() - started)
    print(json.dumps({**found, **stream.counts, "seconds": seconds}))


if __name__ == "__main__":
    main()
