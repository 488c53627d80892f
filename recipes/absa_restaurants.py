"""Aspect terms with their polarity: SemEval-2014 task 4, restaurants.

    python recipes/absa_restaurants.py --data FOLDER

FOLDER holds the XML files as distributed (`*Train*.xml`, `*Test*Gold*.xml`; a tenth of the training
sentences is the dev set), or train.conll, dev.conll and test.conll in columns of word and tag.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from common import Parts, arguments, draw, run

import minisift
from minisift import Example, Span
from minisift.data.examples import align

NAMES = {
    "positive": "positive",
    "negative": "negative",
    "neutral": "neutral",
    "conflict": "conflict",
}
DESCRIPTIONS = {
    "positive": "aspects of the restaurant that the writer likes",
    "negative": "aspects of the restaurant that the writer dislikes",
    "neutral": "aspects that are mentioned without an opinion",
    "conflict": "aspects that the writer both likes and dislikes",
}


def read(data: Path) -> Parts:
    if not any(data.glob("*.xml")):
        return tuple(minisift.read(data / f"{part}.conll") for part in ("train", "dev", "test"))
    train, test = (read_xml(find(data, kind)) for kind in ("*[Tt]rain*.xml", "*[Tt]est*.xml"))
    dev = draw(train, len(train) // 10, seed=0)
    kept = set(map(id, train)) - set(map(id, dev))
    return [example for example in train if id(example) in kept], dev, test


def find(data: Path, pattern: str) -> Path:
    """The file of that kind; of test files the one with gold labels."""
    files = sorted(data.glob(pattern), key=lambda path: "gold" not in path.name.lower())
    if not files:
        raise FileNotFoundError(f"{data}: no {pattern}; fix: give the folder of SemEval's files")
    return files[0]


def read_xml(path: Path) -> list[Example]:
    """Sentences with character offsets; aspect terms that cut words grow to whole ones."""
    examples = []
    for sentence in ElementTree.parse(path).iter("sentence"):
        text = sentence.findtext("text") or ""
        spans = [
            Span(int(term.attrib["from"]), int(term.attrib["to"]), term.attrib["polarity"])
            for term in sentence.iter("aspectTerm")
        ]
        examples.append(align(text, spans, on_misaligned="snap")[0])
    return examples


if __name__ == "__main__":
    given = arguments(__doc__, "absa")
    run(given, read(given.data), NAMES, DESCRIPTIONS)
