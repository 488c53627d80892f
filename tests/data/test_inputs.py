"""Texts to label, as people keep them, hostile ones included. Without a model."""

import codecs
import gzip
import io
import json
import subprocess
import sys
from datetime import date
from types import SimpleNamespace

import pytest

import minisift
from minisift import Example, Span
from minisift.data.inputs import FORMATS, read_inputs
from minisift.exceptions import DataError

TWO = ["Tom gave Mrs. Alvarez 5 mg.", "Mr. Okafor refused."]
OBJECTS = [{"id": 1, "text": TWO[0], "meta": {"a": [1, None]}}, {"id": "b", "text": TWO[1]}]
JSONL = "".join(json.dumps(record) + "\n" for record in OBJECTS)


def texts(path, **options):
    return [item.text for item in read_inputs(str(path), **options)]


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\n".join(TWO)),
        ("no-ending", "\n".join(TWO) + "\n"),
        ("crlf.txt", "\r\n".join(TWO) + "\r\n"),
        ("bom.txt", "\ufeff" + "\r\n".join(TWO)),
        ("twice.txt", f"\ufeff{TWO[0]}\n\ufeff{TWO[1]}\n\ufeff"),
        ("a.jsonl", JSONL),
        ("a.NDJSON", JSONL.replace("\n", "\r\n\r\n \r\n")),
        ("bom.jsonl", "\ufeff" + JSONL),
        ("array.jsonl", json.dumps(OBJECTS)),
        ("pretty.jsonl", "\n" + json.dumps(OBJECTS, indent=1)),
        ("lines.json", "\n" + JSONL),
        ("strings.jsonl", "\n".join(map(json.dumps, TWO))),
        ("array.JSON", json.dumps(OBJECTS)),
        ("pretty.json", json.dumps(OBJECTS, indent=2).replace("\n", "\r\n")),
        ("bom.json", "\ufeff" + json.dumps(OBJECTS)),
        ("strings.json", json.dumps(TWO, indent=4)),
        ("mixed.json", json.dumps([OBJECTS[0], TWO[1]])),
        ("a.csv", f"id,text\n1,{TWO[0]}\n\n2,{TWO[1]}\n"),
        ("a.CSV", f'\ufeffid,text\r\n1,"{TWO[0]}"\r\n2,"{TWO[1]}"\r\n'),
        ("a.tsv", f"text\tid\n{TWO[0]}\t1\n{TWO[1]}\t2\n"),
    ],
)
def test_texts_are_found(name, content, write):
    assert texts(write(name, content)) == TWO


def test_one_object_on_one_line_or_several(write):
    for indent in (None, 2):
        assert texts(write("one.json", json.dumps(OBJECTS[0], indent=indent))) == TWO[:1]


def test_records_keep_what_they_hold(write):
    path = write("a.jsonl", JSONL)
    assert [item.record for item in read_inputs(str(path))] == OBJECTS
    span = Span(0, 3, "PERSON", "Tom", 0.5)
    first = next(read_inputs(str(path))).with_spans([span])
    assert list(first) == ["id", "text", "meta", "spans"]
    assert first["meta"] == OBJECTS[0]["meta"]
    assert first["spans"][0]["label"] == "PERSON"
    (old,) = read_inputs(str(write("old.jsonl", '{"spans": [1], "text": "a", "z": 1}')))
    assert list(old.with_spans([]).items()) == [("text", "a"), ("z", 1), ("spans", [])]
    (row,) = read_inputs(str(write("a.csv", 'b,text,a\n1,"x ""y"", z",\n')))
    assert row.with_spans([]) == {"b": "1", "text": 'x "y", z', "a": "", "spans": []}


def test_what_was_labelled_is_read_again(write, tmp_path):
    own = write("own.jsonl", '{"text": "don\'t go", "words": [[0, 2], [2, 5], [6, 8]]}\n"Tom"\n')
    first, second = read_inputs(str(own))
    assert first.text == Example("don't go", (), ((0, 2), (2, 5), (6, 8)))
    records = [first.with_spans([Span(2, 5, "NOT", "n't", 0.75)]), second.with_spans([])]
    again = write("out.jsonl", "\n".join(map(json.dumps, records)))
    assert minisift.read(again) == [
        Example("don't go", (Span(2, 5, "NOT"),), ((0, 2), (2, 5), (6, 8))),
        Example("Tom"),
    ]
    minisift.write(minisift.read(again), tmp_path / "written.jsonl")
    assert [item.text for item in read_inputs(str(tmp_path / "written.jsonl"))] == [
        first.text,
        "Tom",
    ]


def test_words_of_another_kind_are_fields_like_others(write):
    for words in ('["a", "b"]', "[]", "7", "[[0]]", "[[true, 1]]"):
        path = write("a.jsonl", f'{{"text": "a b", "words": {words}}}')
        assert texts(path) == ["a b"]
    with pytest.raises(DataError, match=r"a.jsonl:1: word \(0, 9\).*fix"):
        texts(write("a.jsonl", '{"text": "a b", "words": [[0, 9]]}'))


def test_the_field_of_the_text(write):
    inside = write("a.jsonl", '{"id": 1, "data": {"text": "a"}}\n{"id": 2, "data": {"text": "b"}}')
    assert texts(inside, text_field="data.text") == ["a", "b"]
    assert texts(write("a.csv", "data.text,text\na,b"), text_field="data.text") == ["a"]
    with pytest.raises(DataError, match=r"a.jsonl:1: no field 'text', there are 'id', 'data'; fix"):
        texts(inside)
    with pytest.raises(DataError, match=r"no field 'data.body', there are 'text'"):
        texts(inside, text_field="data.body")
    with pytest.raises(DataError, match=r"no field 'id.x', there are none"):
        texts(inside, text_field="id.x")
    with pytest.raises(DataError, match=r"a.jsonl:1: 'data' is \{'text': 'a'\}; fix"):
        texts(inside, text_field="data")
    with pytest.raises(ValueError, match=r"a text a line.*fix"):
        texts(write("a.txt", "a"), text_field="body")


def test_blank_lines_of_a_text_are_texts(write):
    assert texts(write("a.txt", "a\n\n \nb\n")) == ["a", "", " ", "b"]
    assert texts(write("a.txt", "a\rb\u2028c\n")) == ["a\rb\u2028c"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv", "a.tsv"])
@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8])
def test_nothing_is_no_text(name, content, write):
    assert texts(write(name, content)) == []
    assert texts(write("a.json", "[]")) == []
    assert texts(write("a.csv", "text\n")) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv"])
def test_encodings(name, encoding, write):
    text = "Frau Müller \u010a" if encoding.startswith("utf") else "Frau Müller"
    content = {
        "a.txt": f"{text}\r\nb",
        "a.jsonl": json.dumps({"text": text}, ensure_ascii=False) + '\n{"text": "b"}',
        "a.json": json.dumps([text, "b"], ensure_ascii=False, indent=1),
        "a.csv": f"text\n{text}\nb\n",
    }[name]
    assert texts(write(name, content.encode(encoding)), encoding=encoding) == [text, "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good\nFrau M\xfcller\n", "a.txt:2: .*encoding"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": "\xfc"}\n', "a.jsonl:3: .*encoding"),
        ("a.json", b'[\n{"text": "a"},\n{"text": "\xfc"}]', "a.json:3: .*encoding"),
        ("a.csv", b"text\na\n\xfc\n", "a.csv:3: .*encoding"),
        ("utf16.txt", "Tom".encode("utf-16"), "utf16.txt:1: .*encoding='utf-16'"),
        ("le.txt", "Tom".encode("utf-16-le"), "le.txt:1: holds NUL bytes.*--encoding"),
        ("nul.txt", b"good\nb\0ad\n", "nul.txt:2: holds NUL bytes"),
        ("a.gz", gzip.compress(b"text " * 99, mtime=0), "a.gz:1: "),
        ("cut.jsonl", '{"text": "a"}\n{"text": "b"', "cut.jsonl:2: not JSON .* at character 13"),
        ("cut.json", '[\n{"text": "a"},\n{"text": "b"\n', "cut.json:3: not JSON .* character 13"),
        ("cut.json", '\n{\n"text": "a"\n', "cut.json:3: not JSON"),
        ("first.jsonl", '{"text": "a"\n{"text": "b"}', "first.jsonl:1: not JSON"),
        ("deep.jsonl", "[" * 100_000, "deep.jsonl:1: not JSON"),
        ("deep.json", '{"a":' * 100_000, "deep.json:1: not JSON"),
        ("digits.jsonl", "9" * 5000, "digits.jsonl:1: not JSON"),
        ("a.json", '["a", 3]', "a.json: record 2: 3 is neither"),
        ("a.json", '["a", ["b"]]', r"a.json: record 2: \['b'\] is neither"),
        ("a.json", '["a", null]', "a.json: record 2: None is neither"),
        ("a.jsonl", "{}", "a.jsonl:1: no field 'text', there are none"),
        ("a.jsonl", '\n{"text": null}', "a.jsonl:2: 'text' is None"),
        ("a.jsonl", '{"text": 7}', "a.jsonl:1: 'text' is 7"),
        ("a.csv", "body,n\n\na,1\n", "a.csv:3: no field 'text', there are 'body', 'n'"),
        ("a.csv", 'id,text\n1,"a\nb"\n2,c,d\n', "a.csv:4: 3 cells under 2"),
        ("a.csv", 'text\na\n"b\nc\n', "a.csv:3: not CSV"),
        ("a.csv", "text,text\na,b\n", "a.csv:1: two columns 'text'"),
        ("a.parquet", b"PAR1 no", "a.parquet: not Parquet"),
    ],
)
def test_what_is_no_text_is_named(name, content, message, write):
    with pytest.raises(DataError, match=message) as caught:
        texts(write(name, content))
    assert "; fix: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a.spacy", "a.conll", "a.CONLLU", "a.conllup", "a.ann", "a.bio", "a.gguf"]
)
def test_files_that_are_no_texts_are_refused(name, write):
    path = write(name, "Tom B-PER\n")
    with pytest.raises(ValueError, match="fix: "):
        texts(path)
    assert texts(path, format="lines") == ["Tom B-PER"]


def test_before_anything_is_read(tmp_path):
    for path, format, encoding, error in (
        (tmp_path / "missing.txt", None, "utf-8", FileNotFoundError),
        (tmp_path, None, "utf-8", IsADirectoryError),
        (tmp_path / "missing.txt", "xml", "utf-8", ValueError),
        (tmp_path / "missing.txt", None, "utf-9", ValueError),
        (tmp_path / "missing.txt", None, "hex", ValueError),
    ):
        with pytest.raises(error, match="fix: "):
            read_inputs(str(path), format=format, encoding=encoding)


def test_surrogates_and_huge_lines(write):
    assert texts(write("a.jsonl", r'{"text": "\ud800 \ud83d\ude42 \u0000"}')) == ["\ud800 🙂 \0"]
    huge = "word " * 400_000
    assert texts(write("a.txt", huge + "\nb")) == [huge, "b"]
    assert texts(write("a.csv", f'text\n"{huge}"\n')) == [huge]
    assert texts(write("a.json", json.dumps([{"text": huge}]))) == [huge]


@pytest.mark.parametrize(
    ("format", "rest"),
    [("lines", "b\n"), ("jsonl", '{"text": "b"}\n'), ("csv", "b\n"), ("json", '"b"\n')],
)
def test_texts_come_as_they_are_written(format, rest, monkeypatch):
    """From a pipe, the first one before the second is there."""
    first = {"lines": "a\n", "jsonl": '{"text": "a"}\n', "csv": "text\na\n", "json": '"a"\n'}[
        format
    ]
    asked = []

    class Pipe(io.BytesIO):
        def __next__(self):
            asked.append(self.tell())
            return super().__next__()

    pipe = Pipe((first + rest).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    found = read_inputs("-", format=format)
    assert next(found).text == "a"
    assert pipe.tell() == len(first)
    assert [item.text for item in found] == ["b"]


def test_stdin():
    code = (
        "from minisift.data.inputs import read_inputs\nprint([i.text for i in read_inputs('-'{})])"
    )

    def run(content, options=""):
        done = subprocess.run(
            [sys.executable, "-c", code.format(options)], input=content, capture_output=True
        )
        return done.stdout.decode().strip() or done.stderr.decode().splitlines()[-1]

    assert run(b"\xef\xbb\xbfTom\r\nAnn") == "['Tom', 'Ann']"
    assert run(JSONL.encode(), ", format='jsonl'") == repr(TWO)
    assert "stdin:2: not UTF-8" in run(b"a\n\xfc\n")


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"id": n, "day": date(2025, 3, n), "data": {"text": f"t{n}"}} for n in (1, 2)]
    path = tmp_path / "a.PARQUET"
    parquet.write_table(pa.Table.from_pylist([*rows, {"data": {"text": None}}]), path)
    found = read_inputs(str(path), text_field="data.text")
    assert [next(found).record for _ in rows] == rows
    with pytest.raises(DataError, match=r"a.PARQUET: row 3: 'data.text' is None; fix"):
        next(found)


def test_without_pyarrow(tmp_path, monkeypatch, write):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match="fix: pip install pyarrow"):
        texts(write("a.parquet", b"PAR1"))


def test_every_format_is_tested():
    assert set(FORMATS) == {"lines", "jsonl", "json", "csv", "parquet"}
