"""A folder of small files, and what commands make of them."""

import json

import pytest
from support.commands import EXPORT, FIT, LINES, RECORDS, Run

COLUMNS = """\
PER muller Müller 1
PER feld Feld 2
_ kommen kam 3

LOC lyon Lyon 4
_ sein war 5
_ schön schön 6

PER nora Nora 7
_ mögen mag 8
LOC bonn Bonn 9

_ regnen Regen 10
"""


@pytest.fixture(scope="session")
def here(tmp_path_factory, small_base):
    """The folder that commands run in: small files, and `base`, a model of two layers."""
    spacy = pytest.importorskip("spacy")
    from datasets import Dataset, DatasetDict
    from spacy.tokens import Doc, DocBin, Span

    folder = tmp_path_factory.mktemp("commands")
    (folder / "base").symlink_to(small_base)
    span = {"start": 0, "end": 4, "label": "PER"}
    town = {"start": 0, "end": 4, "label": "LOC"}

    def write(name, *lines, encoding="utf-8"):
        shown = (line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
        (folder / name).write_bytes("".join(shown).encode(encoding))

    write("columns.csv", COLUMNS, encoding="latin-1")
    write(
        "numbers.jsonl",
        {"tokens": ["Nora", "Feld", "kam"], "ner_tags": [1, 2, 0]},
        {"tokens": ["Lyon"], "ner_tags": [3]},
    )
    write(
        "bodies.jsonl",
        {"letter": {"body": "Nora kam"}, "spans": [span]},
        {"letter": {"body": "Lyon"}, "spans": [town]},
    )
    write(
        "broken.jsonl",
        {"text": "Nora", "spans": [{**span, "end": 3}]},
        "{\n",
        {"text": "Lyon", "spans": [town]},
    )
    docs = [
        Doc(spacy.blank("de").vocab, words=words) for words in (["Nora", "kam"], ["In", "Lyon"])
    ]
    docs[0].spans["sc"] = [Span(docs[0], 0, 1, "PER")]
    docs[1].spans["sc"] = [Span(docs[1], 1, 2, "LOC")]
    DocBin(docs=docs, store_user_data=True).to_disk(folder / "groups.spacy")
    rows = [{"tokens": ["Nora"], "tags": ["B-PER"]}, {"tokens": ["Lyon"], "tags": ["B-LOC"]}]
    parts = {"train": Dataset.from_list(rows[:1]), "test": Dataset.from_list(rows)}
    DatasetDict(parts).save_to_disk(folder / "sets")
    write("own.jsonl", {"text": "Nora war in Lyon.", "spans": [span]})
    write("colon.jsonl", {"text": "5 mg", "spans": [{**span, "label": "Drug: dose"}]})
    write("own.conll", "Nora B-PER\n")
    write("latin.txt", "Müller\n", encoding="latin-1")
    write("records.dat", json.dumps(RECORDS, indent=1), encoding="utf-16")
    write("long.txt", "wort " * 9000)
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter").touch()
    return folder


@pytest.fixture(scope="session")
def fit_run(here):
    """`minisift fit` with every flag; writes `labeler`."""
    return Run(FIT, here)


@pytest.fixture(scope="session")
def export_run(here, fit_run):
    """`minisift export` of that; writes `notes.gguf`."""
    return Run(EXPORT, here)


@pytest.fixture
def run(here, export_run):
    """Runs one of LINES, by name."""
    return lambda name, **options: Run(LINES[name], here, **options)
