"""Hugging Face's data sets: objects, saved folders, Parquet and Arrow files; words or texts."""

import json
import os
import subprocess
import sys

import pytest
from support.hub import serving

from minisift import DataError, read, write

datasets = pytest.importorskip("datasets")


def ranges(example):
    return [(span.start, span.end, span.label) for span in example.spans]


def test_datasets():
    tag = datasets.ClassLabel(names=["O", "B-PER", "I-PER"])
    content = {
        "id": ["1", "2"],
        "tokens": [["Ann", "Lee", "ran"], ["x"]],
        "ner_tags": [[1, 2, 0], [0]],
    }
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(tag),
        }
    )
    data = datasets.Dataset.from_dict(content, features=features)
    assert [ranges(e) for e in read(data)] == [[(0, 7, "PER")], []]
    named = datasets.Dataset.from_dict({"words": [["a"]], "tags": [["S-X"]]})
    assert ranges(read(named, tag_column="tags")[0]) == [(0, 1, "X")]
    with pytest.raises(DataError, match="choose a split"):
        read(datasets.DatasetDict({"train": data}))
    with pytest.raises(DataError, match="nothere"):
        read(data, tag_column="nothere")
    with pytest.raises(DataError, match="dataset row 0"):
        read(datasets.Dataset.from_dict({"tokens": [["a", "b"]], "tags": [["O"]]}))


@pytest.mark.parametrize(
    ("words", "tags", "what"),
    [
        (["a"], [-1], "tag -1 has no name"),
        (["a"], [None], "tag None has no name"),
        (["a", "b"], [0], "2 words but 1 tags"),
        ([""], [0], "word '' is blank"),
        ([None], [0], "word None is blank"),
        ([" a"], [0], "white space at an end"),
        (None, [0], "no words or no tags"),
        (["a"], [2], "continues no span"),
    ],
)
def test_bad_rows_of_datasets(words, tags, what):
    names = datasets.List(datasets.ClassLabel(names=["O", "B-X", "I-X"]))
    features = datasets.Features({"w": datasets.List(datasets.Value("string")), "t": names})
    rows = {"w": [["a", "b"], words, []], "t": [[1, 2], tags, []]}
    data = datasets.Dataset.from_dict(rows, features=features)
    with pytest.raises(DataError, match=f"dataset row 1: .*{what}.*; fix: "):
        read(data)
    found = read(data, on_error="skip")
    assert [ranges(e) for e in found] == [[(0, 3, "X")], []]
    assert found.counts == {"bad records skipped": 1}


def test_columns_of_datasets():
    rows = {"w": [["a"]], "x": [["b"]], "tags": [["S-X"]], "labels": [[3]], "id": [1]}
    data = datasets.Dataset.from_dict(rows)
    with pytest.raises(DataError, match=r"2 columns could hold the words \(w, x\)"):
        read(data)
    assert ranges(read(data.remove_columns("x"))[0]) == [(0, 1, "X")]
    assert read(data.rename_column("x", "tokens"))[0].text == "b"
    with pytest.raises(DataError, match=r"int64, not tags; fix: .*ClassLabel"):
        read(data, tag_column="labels")
    label = datasets.ClassLabel(names=["O", "B-X"])
    large = {
        "w": datasets.LargeList(datasets.Value("large_string")),
        "t": datasets.LargeList(label),
    }
    data = datasets.Dataset.from_dict({"w": [["a"]], "t": [[1]]}, datasets.Features(large))
    assert ranges(read(data)[0]) == [(0, 1, "X")]
    assert ranges(read(data.with_format("numpy"))[0]) == [(0, 1, "X")]
    with pytest.raises(DataError, match=r"2 columns could hold the tags \(t, t2\)"):
        read(data.add_column("t2", data["t"], feature=datasets.List(label)))


def test_datasets_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="load_dataset"):
        write([], tmp_path / "x", format="huggingface")
    with pytest.raises(DataError, match="list is neither"):
        read([{"tokens": ["a"], "tags": ["O"]}])


TEXT, NUMBER = datasets.Value("string"), datasets.Value("int64")


@pytest.mark.parametrize("kind", ["objects", "lists", "class labels"])
def test_texts_with_spans(kind):
    """A list of objects, or the object of lists that `Sequence` keeps it as."""
    label = datasets.ClassLabel(names=["O", "P"]) if kind == "class labels" else TEXT
    span = {"start": NUMBER, "end": NUMBER, "label": label}
    spans = [{"start": 8, "end": 11, "label": "P"}]
    feature = [span]
    if kind == "lists":
        feature, spans = datasets.Sequence(span), {"start": [8], "end": [11], "label": ["P"]}
    features = datasets.Features({"id": NUMBER, "text": TEXT, "spans": feature, "label": TEXT})
    row = {"id": 3, "text": "Ann met Bob", "spans": spans, "label": "news"}
    data = datasets.Dataset.from_list([row], features=features)
    assert ranges(read(data)[0]) == [(8, 11, "P")]
    body = data.rename_column("text", "body")
    assert ranges(read(body, text_field="body")[0]) == [(8, 11, "P")]
    with pytest.raises(DataError, match=r"dataset row 0: 'text' is None; fix: .*text_field"):
        read(body)


def test_files_of_data_sets(tmp_path):
    tag = datasets.ClassLabel(names=["O", "B-P"])
    features = datasets.Features({"tokens": datasets.List(TEXT), "ner_tags": datasets.List(tag)})
    rows = {"tokens": [["Ann", "ran"]], "ner_tags": [[1, 0]]}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.save_to_disk(tmp_path / "one")
    both = datasets.DatasetDict({"train": data, "test": data.select([0])})
    both.save_to_disk(tmp_path / "both")
    data.to_parquet(tmp_path / "x.parquet")
    arrow = next((tmp_path / "one").glob("*.arrow"))
    for source in (tmp_path / "one", tmp_path / "x.parquet", arrow):
        assert ranges(read(source)[0]) == [(0, 3, "P")]
    for source in (tmp_path / "both", both):
        with pytest.raises(DataError, match="train, test; fix: choose a split"):
            read(source)
        assert ranges(read(source, split="train")[0]) == [(0, 3, "P")]
        assert len(read(source, split="test")) == 1
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"bad.parquet: no data set there .*; fix"):
        read(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"a folder, but neither"):
        read(tmp_path)


def test_numbers_with_names():
    data = datasets.Dataset.from_dict({"tokens": [["Ann", "ran"]], "ner_tags": [[1, 0]]})
    with pytest.raises(DataError, match="fix: names="):
        read(data)
    label = datasets.ClassLabel(names=["O", "B-P"])
    for names in (["O", "B-P"], label):
        assert ranges(read(data, names=names)[0]) == [(0, 3, "P")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hub")) as server:
        yield server


READ = """
import sys, minisift
name, *split = sys.argv[1:]
try:
    print([e.text for e in minisift.read(name, format="huggingface", split=(split or [None])[0])])
except minisift.DataError as error:
    print(error)
"""


def test_a_data_set_of_a_hub(hub, tmp_path):
    """In a process of its own: the address of the hub is read when datasets is imported."""
    rows = [{"tokens": [word, "ran"], "ner_tags": ["B-P", "O"]} for word in ("Ann", "Bob")]
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    hub.put("me/both", {"train.jsonl": lines[0], "test.jsonl": lines[1]})
    hub.put("me/one", {"train.jsonl": lines[0]})
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}

    def printed(*arguments):
        command = [sys.executable, "-c", READ, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert printed("me/both", "test") == "['Bob ran']\n"
    assert printed("me/one") == "['Ann ran']\n"
    assert "fix: choose a split" in printed("me/both")
    missing = printed("me/none", "train")
    assert missing.startswith("me/none: no data set there")
    assert missing.count("\n") == 1


def test_a_path_that_is_not_there_asks_no_hub():
    with pytest.raises(FileNotFoundError, match="format='huggingface'"):
        read("owner/name")
