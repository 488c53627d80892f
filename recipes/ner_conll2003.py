"""Named entities: CoNLL-2003, English.

    python recipes/ner_conll2003.py --data FOLDER

FOLDER holds eng.train, eng.testa and eng.testb as distributed: columns of word, part of speech,
chunk and entity, IOB1 tags, -DOCSTART- lines.
"""

from __future__ import annotations

from pathlib import Path

from common import Parts, arguments, run

import minisift

NAMES = {"PER": "person", "ORG": "organization", "LOC": "location", "MISC": "miscellaneous"}
DESCRIPTIONS = {
    "PER": "names of people, real or invented",
    "ORG": "companies, agencies, parties, sports teams, newspapers",
    "LOC": "countries, cities, regions, mountains, rivers, buildings",
    "MISC": "nationalities, languages, events, works of art, products",
}


def read(data: Path) -> Parts:
    return (
        minisift.read(data / "eng.train"),
        minisift.read(data / "eng.testa"),
        minisift.read(data / "eng.testb"),
    )


if __name__ == "__main__":
    given = arguments(__doc__, "ner")
    run(given, read(given.data), NAMES, DESCRIPTIONS)
