"""What all formats share: policies, endings, options, real corpora."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import files
from support.strategies import examples, is_utf8

import minisift
from minisift import DataError, Example, Span, read, write
from minisift.data.tags import SCHEMES


def ranges(example):
    return [(span.start, span.end, span.label) for span in example.spans]


@files(150)
@given(st.lists(examples(), max_size=4), st.sampled_from(SCHEMES))
def test_columns_round_trip(tmp_path, sentences, scheme):
    def plain(example):
        words = [example.text[a:b] for a, b in example.words]
        return words and is_utf8(example.text)

    kept = []
    for e in filter(plain, sentences):
        at = {a: i for i, (a, _) in enumerate(e.words)}
        to = {b: i + 1 for i, (_, b) in enumerate(e.words)}
        spans = [(at[s.start], to[s.end], s.label) for s in e.spans]
        kept.append(Example.from_words([e.text[a:b] for a, b in e.words], spans))
    write(kept, tmp_path / "x.conll", scheme=scheme)
    assert read(tmp_path / "x.conll", scheme=scheme) == kept


def test_not_utf8(put):
    with pytest.raises(DataError, match=r"data.json:3: not UTF-8"):
        read(put(b'[{"text": "a", "spans": []},\n\n{"text": "\xe9"}]', "data.json"))
    with pytest.raises(DataError, match=r"data.conll:20002: not UTF-8"):
        read(put(b"\xef\xbb\xbfa O\n" + b"b O\r\n" * 20_000 + b"\xe9 O\n"))
    with pytest.raises(DataError, match=r"data.jsonl:1: not UTF-8"):
        read(put(b'{"text": "\xe9"}\n', "data.jsonl"))
    with pytest.raises(DataError, match="not UTF-8"):
        read(put(b"\xe9 O\n"))


def test_misaligned_policies(put):
    path = put('{"text": "ab cd", "label": [[0, 1, "X"], [3, 5, "Y"]]}\n', "d.jsonl")
    assert ranges(read(path, on_misaligned="snap")[0]) == [(0, 2, "X"), (3, 5, "Y")]
    skipped = read(path, on_misaligned="skip")
    assert ranges(skipped[0]) == [(3, 5, "Y")]
    assert skipped.counts == {"misaligned spans dropped": 1}
    with pytest.raises(ValueError, match="snap"):
        read(path, on_misaligned="guess")
    path = put('{"text": "ab cd", "label": [[0, 2, "X"], [0, 5, "Y"]]}\n', "d.jsonl")
    with pytest.raises(DataError, match=r"d.jsonl:1: .* overlaps .*; fix"):
        read(path)
    for policy in ("snap", "skip"):
        found = read(path, on_misaligned=policy)
        assert ranges(found[0]) == [(0, 5, "Y")]
        assert found.counts == {"overlapping spans dropped": 1}
        assert found.notes == [f"{path}:1: overlapping spans dropped"]


def test_pipes_need_a_format(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"a pipe or device.*; fix: name its format"):
        read(tmp_path / "pipe")
    threading.Thread(target=(tmp_path / "pipe").write_text, args=["Ann B-P\n"]).start()
    assert ranges(read(tmp_path / "pipe", format="conll")[0]) == [(0, 3, "P")]


def test_missing_and_unknown(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "no.conll")
    with pytest.raises(ValueError, match="conll, csv, jsonl, brat, webanno, docbin, huggingface"):
        read(tmp_path / "no.conll", format="xml")
    with pytest.raises(DataError, match="neither"):
        read(3)
    with pytest.raises(ValueError, match="'brat' is read, not written; fix: one of conll, jsonl"):
        write([], tmp_path / "x.ann")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.conll", {"text_field": "a"}),
        ("x.jsonl", {"word_column": 1}),
        ("x.csv", {"spans_key": "sc"}),
        ("x.ann", {"scheme": "io"}),
        ("x.spacy", {"encoding": "latin-1"}),
        ("x.parquet", {"spans_key": "sc"}),
    ],
)
def test_an_option_that_a_format_does_not_have_is_an_error(put, name, options):
    (option,) = options
    with pytest.raises(ValueError, match=rf"{option}=.* is not for .*; fix: leave it out"):
        read(put("", name), **options)


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        ("ner-conll2003/eng.train", 14041),
        ("ner-conll2003/eng.testa", 3250),
        ("ner-conll2003/eng.testb", 3453),
        ("chunking-conll2000/train.txt", 8936),
        ("chunking-conll2000/test.txt", 2012),
        ("absa-rest14/train.conll", 2736),
        ("absa-rest14/dev.conll", 304),
        ("absa-rest14/test.conll", 800),
        ("triggers-casie/train.jsonl", 6973),
        ("triggers-casie/dev.jsonl", 880),
        ("triggers-casie/test.jsonl", 867),
    ],
)
def test_real_data(shared_data, name, sentences):
    found = minisift.read(shared_data / name)
    assert len(found) == sentences
    assert not found.counts


@pytest.mark.slow
def test_span_counts_equal_seqevals(shared_data):
    entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    folders = ("ner-conll2003", "chunking-conll2000", "absa-rest14")
    paths = [path for folder in folders for path in sorted((shared_data / folder).iterdir())]
    assert len(paths) == 8
    for path in paths:
        tags = [[]]
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith("-DOCSTART-"):
                tags[-1].append(line.split()[-1])
            else:
                tags.append([])
        wanted = sum(len(entities(sentence)) for sentence in tags if sentence)
        assert sum(len(example.spans) for example in read(path)) == wanted


def test_the_sample_is_as_its_readme_says():
    folder = Path(minisift.__file__).parent / "sample"
    train, dev = (read(folder / f"{name}.jsonl") for name in ("train", "dev"))
    assert (len(train), len(dev)) == (250, 80)
    assert not {e.text for e in train} & {e.text for e in dev}
    labels = {span.label for example in train for span in example.spans}
    assert labels == {"PERSON", "MEDICATION", "DOSE", "SYMPTOM"}
    assert Span(0, 1, "X").score == 1.0
