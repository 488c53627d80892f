"""spaCy's DocBin: there and back, groups of spans, what nobody annotated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import files
from support.strategies import examples, is_utf8

from minisift import DataError, Example, Span, read, write

spacy = pytest.importorskip("spacy")


def ranges(example):
    return [(span.start, span.end, span.label) for span in example.spans]


@files(40)
@given(st.lists(examples(), max_size=3))
def test_round_trip(tmp_path, sentences):
    kept = [e for e in sentences if is_utf8(e.text)]
    write(kept, tmp_path / "x.spacy")
    assert read(tmp_path / "x.spacy") == kept


def test_text_between_words_is_kept(tmp_path):
    example = Example("  abc - def\n\n ghi ", (Span(8, 11, "X"),), ((8, 11), (14, 17)))
    write([example], tmp_path / "x.spacy")
    (found,) = read(tmp_path / "x.spacy")
    assert (found.text, found.spans) == (example.text, example.spans)


@pytest.fixture
def put_docs(tmp_path):
    def put(*docs):
        spacy.tokens.DocBin(docs=docs).to_disk(tmp_path / "x.spacy")
        return tmp_path / "x.spacy"

    return put


def doc_of(text, *entities, language="en"):
    doc = spacy.blank(language)(text)
    doc.ents = [doc.char_span(start, end, label=label) for start, end, label in entities]
    return doc


def test_entities(put_docs):
    docs = [doc_of("Ann's  dog\nBob ", (0, 3, "P"), (11, 14, "P")), doc_of("x", language="de")]
    first, second = read(put_docs(*docs))
    assert ranges(first) == [(0, 3, "P"), (11, 14, "P")]
    assert [first.text[a:b] for a, b in first.words] == ["Ann", "'s", "dog", "Bob"]
    assert ranges(second) == []


def test_what_nobody_annotated_is_no_text_without_spans(put_docs):
    part = spacy.blank("en")("Ann met Bob")
    part.set_ents([part.char_span(0, 3, label="P")], default="missing")
    found = read(put_docs(spacy.blank("en")("Ann"), part, doc_of("so"), doc_of("")))
    assert [e.text for e in found] == ["so", ""]
    assert found.counts == {"docs that nobody annotated": 1, "docs annotated in part": 1}


def test_groups_of_spans(put_docs):
    doc = spacy.blank("en")("Ann met Bob")
    doc.spans["sc"] = [doc.char_span(0, 3, label="P"), doc.char_span(0, 7, label="Q")]
    doc.spans["none"] = []
    other = doc_of("so", (0, 2, "P"))
    path = put_docs(doc)
    with pytest.raises(DataError, match=r"no doc has entities \(.*'none', 'sc'\); fix: spans_key="):
        read(path)
    with pytest.raises(DataError, match=r"no 'sd' \(keys of doc.spans: 'none', 'sc'\)"):
        read(path, spans_key="sd")
    with pytest.raises(DataError, match=r"doc 1: .*overlaps"):
        read(path, spans_key="sc")
    found = read(path, spans_key="sc", on_misaligned="snap")
    assert ranges(found[0]) == [(0, 7, "Q")]
    both = put_docs(doc, other)
    found = read(both)
    assert [ranges(e) for e in found] == [[(0, 2, "P")]]
    assert found.counts == {
        "docs that nobody annotated": 1,
        "spans of doc.spans['sc'] not read": 2,
    }
    assert read(both, spans_key="none").counts == {
        "spans of doc.spans['sc'] not read": 2,
        "docs without doc.spans['none']": 1,
    }


def test_what_is_no_docbin(put):
    with pytest.raises(DataError, match="not a DocBin"):
        read(put(b"nonsense", "bad.spacy"))
