"""Phrase chunks: CoNLL-2000.

    python recipes/chunking_conll2000.py --data FOLDER

FOLDER holds train.txt and test.txt as distributed: columns of word, part of speech and chunk. The last
1,000 training sentences are the dev set, since the task has none.
"""

from __future__ import annotations

from pathlib import Path

from common import Parts, arguments, run

import minisift

NAMES = {
    "NP": "noun phrase",
    "VP": "verb phrase",
    "PP": "preposition",
    "ADVP": "adverb phrase",
    "ADJP": "adjective phrase",
    "SBAR": "subordinator",
    "PRT": "particle",
    "CONJP": "conjunction",
    "INTJ": "interjection",
    "LST": "list marker",
    "UCP": "unlike coordination",
}
DESCRIPTIONS = {
    "NP": "a noun with what stands before it; possessives begin their own",
    "VP": "a verb with its auxiliaries and adverbs between them",
    "PP": "the preposition alone, without its noun phrase",
    "ADVP": "adverbs that stand alone",
    "ADJP": "adjectives that stand alone",
    "SBAR": "the word that opens a subordinate clause",
    "PRT": "the particle of a phrasal verb",
    "CONJP": "conjunctions of several words",
    "INTJ": "exclamations",
    "LST": "numbers and letters that count items",
    "UCP": "coordinated phrases of different kinds",
}


def read(data: Path) -> Parts:
    train = minisift.read(data / "train.txt")
    return train[:-1000], train[-1000:], minisift.read(data / "test.txt")


if __name__ == "__main__":
    given = arguments(__doc__, "chunking")
    run(given, read(given.data), NAMES, DESCRIPTIONS)
