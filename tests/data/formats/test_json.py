"""JSON and JSON Lines: whose records these are, how files hold them, what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import files
from support.strategies import examples

from minisift import DataError, Example, read, write

OWN = {"text": "Ann met Bob", "spans": [{"start": 8, "end": 11, "label": "P"}]}
BOB = [(8, 11, "P")]
TOKENS = [
    {"text": "Ann", "start": 0, "end": 3, "id": 0},
    {"text": " ", "start": 3, "end": 4, "id": 1},
    {"text": "met", "start": 4, "end": 7, "id": 2},
    {"text": "Bob", "start": 8, "end": 11, "id": 3},
]
STUDIO = {"start": 8, "end": 11, "text": "Bob", "labels": ["P"]}


def ranges(example):
    return [(span.start, span.end, span.label) for span in example.spans]


@files(150)
@given(st.lists(examples(), max_size=4))
def test_round_trip(tmp_path, sentences):
    write(sentences, tmp_path / "x.jsonl")
    assert read(tmp_path / "x.jsonl") == sentences


def test_surrogates_that_json_would_join(tmp_path):
    with pytest.raises(DataError, match="utf-16"):
        write([Example("\ud83d\ude00")], tmp_path / "x.jsonl")


@pytest.mark.parametrize(
    "record",
    [
        OWN,
        {"text": "Ann met Bob", "label": [[8, 11, "P"]], "id": 1},
        {"text": "Ann met Bob", "label": [[8, 11, "P", "Bob"]], "Comments": ["sure?"]},
        {"text": "Ann met Bob", "labels": [[8, 11, "P"]]},
        {"data": "Ann met Bob", "label": [[8, 11, "P"]]},
        {
            "text": "Ann met Bob",
            "entities": [{"id": 1, "label": "P", "start_offset": 8, "end_offset": 11}],
            "relations": [],
        },
        {"text": "Ann met Bob", "entities": [{"start": 8, "end": 11, "entity": "P"}]},
        {"text": "Ann met Bob", "annotations": [{"begin": 8, "end": 11, "type": "P"}]},
        {**OWN, "tokens": TOKENS, "answer": "accept", "_input_hash": 1},
        {**OWN, "tokens": None, "answer": "accept"},
        {**OWN, "tokens": ["Ann", "met", "Bob"], "answer": "42"},
        {**OWN, "label": "news", "labels": ["P", "Q"]},
        {**OWN, "label": 1, "labels": [0, 1]},
        {"text": "Ann met Bob", "label": [STUDIO], "id": 1},
        {"text": "Ann met Bob", "label": [[8, 11, "P"]], "data": {"source": "x"}},
        ["Ann met Bob", {"entities": [[8, 11, "P"]]}],
        ["Ann met Bob", [[8, 11, "P"]]],
        {"tokens": ["Ann", "met", "Bob"], "ner_tags": ["O", "O", "B-P"], "pos_tags": [1, 2, 1]},
        {"words": ["Ann", "met", "Bob"], "labels": ["O", "O", "U-P"]},
        {"tokenized_text": ["Ann", "met", "Bob"], "ner": [[2, 2, "P"]]},
        {"tokens": ["Ann", "met", "Bob"], "ner": [[2, 2, "P"]]},
    ],
)
@pytest.mark.parametrize("form", ["lines", "upper case", "indented", "array", "several indented"])
def test_what_tools_export(put, record, form):
    """A line a record, an indented record, an array of them: all in .json or .jsonl, in any case."""
    line, indented = json.dumps(record), json.dumps(record, indent=2)
    content, number = {
        "lines": (f"\ufeff{line}\n\n{line}\r\n", 2),
        "upper case": (line, 1),
        "indented": (indented, 1),
        "array": (json.dumps([record, record], indent=1), 2),
        "several indented": (f"{indented}\n{indented}\n", 2),
    }[form]
    for ending in (".JSON", ".Jsonl") if form == "upper case" else (".json", ".jsonl", ".ndjson"):
        found = read(put(content, f"data{ending}"))
        assert [ranges(example) for example in found] == [BOB] * number
        assert not found.counts
    if form != "upper case":
        assert read(put(content, "data.txt")) == found  # told by its first line


def test_own_words_and_score(put):
    record = {**OWN, "words": [[0, 3], [4, 11]], "spans": [{"start": 4, "end": 11, "label": "P"}]}
    record["spans"][0]["score"] = 0.5
    (example,) = read(put(json.dumps(record), "data.jsonl"))
    assert example.words == ((0, 3), (4, 11))
    assert example.spans[0].score == 0.5


def test_words_of_prodigy(put):
    tokens = [{"start": 0, "end": 7}, {"start": 7, "end": 8}, {"start": 8, "end": 11}]
    (example,) = read(put(json.dumps({**OWN, "tokens": tokens}), "data.jsonl"))
    assert example.words == ((0, 7), (8, 11))


def test_prodigy_without_spans(put):
    record = {"text": "Ann met Bob", "tokens": TOKENS, "answer": "accept"}
    (example,) = read(put(json.dumps(record), "p.jsonl"))
    assert example == Example("Ann met Bob")


def test_prodigy_answers(put):
    rows = [{**OWN, "answer": answer} for answer in ("accept", "reject", "ignore")]
    found = read(put("".join(json.dumps(row) + "\n" for row in rows), "p.jsonl"))
    assert len(found) == 1
    assert found.counts == {
        "records rejected by the annotator": 1,
        "records ignored by the annotator": 1,
    }


def test_what_is_not_read_is_told(put):
    record = {
        **OWN,
        "id": 7,
        "relations": [{"from_id": 1, "to_id": 2, "type": "knows"}],
        "predicted": [{"start": 0, "end": 3, "label": "P"}],
    }
    path = put(json.dumps(record), "d.jsonl")
    found = read(path)
    assert ranges(found[0]) == BOB
    assert found.counts == {"relations not read": 1, "spans under 'predicted' not read": 1}
    assert found.notes[-1] == f"{path}: keys that are not read: id, relations"
    with pytest.raises(DataError, match=r":1: spans under 'spans' and 'ner'; fix: keep one"):
        read(put(json.dumps({"text": "Ann", "spans": [], "ner": [[0, 3, "P"]]}), "d.jsonl"))


def test_the_field_of_the_text(put):
    record = {"body": {"raw": "Ann met Bob"}, "title": "x", "label": [[8, 11, "P"]]}
    path = put(json.dumps(record), "d.jsonl")
    assert ranges(read(path, text_field="body.raw")[0]) == BOB
    with pytest.raises(DataError, match=r"'text' is None; fix: .*text_field \(strings: title\)"):
        read(path)
    with pytest.raises(ValueError, match=r"spans_key='sc' is not for jsonl.*fix: leave it out"):
        read(path, spans_key="sc")


@pytest.mark.parametrize(
    ("text", "start", "end", "unit"),
    [
        ("😀 Ann", 3, 6, "UTF-16 units"),
        ("Ännchen Ann", 9, 12, "UTF-8 bytes"),
        ("日本 Ann", 7, 10, "UTF-8 bytes"),
    ],
)
def test_offsets_in_other_units(put, text, start, end, unit):
    record = {"text": text, "spans": [{"start": start, "end": end, "label": "P", "text": "Ann"}]}
    found = read(put(json.dumps(record), "d.jsonl"))
    assert found[0].spans[0].text == "Ann"
    assert found.counts == {f"spans with offsets in {unit}": 1}


def test_words_that_are_not_the_texts(put):
    spans = [{"start": 0, "end": 3, "label": "P", "text": "Bob"}, OWN["spans"][0]]
    path = put(json.dumps({**OWN, "spans": spans}), "d.jsonl")
    with pytest.raises(DataError, match=r":1: span \(0, 3, 'P'\) is 'Bob' in the file but 'Ann'"):
        read(path)
    snapped, skipped = read(path, on_misaligned="snap"), read(path, on_misaligned="skip")
    assert ranges(snapped[0]) == [(0, 3, "P"), *BOB]
    assert snapped.counts == {"spans whose words differ from the text kept": 1}
    assert ranges(skipped[0]) == BOB
    assert skipped.counts == {"spans whose words differ from the text dropped": 1}


def test_numbered_tags(put, tmp_path):
    record = {"tokens": ["Ann", "Lee", "ran"], "ner_tags": [1, 2, 0]}
    path = put(json.dumps(record), "d.jsonl")
    names = ["O", "B-P", "I-P"]
    with pytest.raises(DataError, match=r":1: 'ner_tags' holds numbers; fix: .*names="):
        read(path)
    by_number = {str(number): name for number, name in enumerate(names)}
    for form in (names, by_number, {name: number for number, name in enumerate(names)}):
        assert ranges(read(path, names=form)[0]) == [(0, 7, "P")]
        file = put(json.dumps(form), "names.json")
        assert ranges(read(path, names=file)[0]) == [(0, 7, "P")]
    feature = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    beside = put(json.dumps({"features": {"ner_tags": feature}}), "dataset_info.json")
    found = read(path)
    assert ranges(found[0]) == [(0, 7, "P")]
    assert found.notes == [f"{path}: the names of tags are those of the file beside it"]
    beside.unlink()
    with pytest.raises(DataError, match=r":1: the tag 2 has no name; fix"):
        read(path, names=["O", "B-P"])
    for wrong in ({"a": "b"}, 7, [1, 2]):
        with pytest.raises(ValueError, match="are not names of tags; fix: a list"):
            read(path, names=wrong)


def test_which_list_is_the_tags(put):
    record = {"tokens": ["Ann", "ran"], "a": ["B-P", "O"], "b": ["O", "B-X"], "c": ["N", "V"]}
    path = put(json.dumps(record), "d.jsonl")
    with pytest.raises(DataError, match=r"2 lists could be the tags \(a, b\); fix: name one"):
        read(path)
    assert ranges(read(path, tag_column="b")[0]) == [(4, 7, "X")]
    with pytest.raises(DataError, match=r"no list 'd' of tags \(lists: a, b, c\)"):
        read(path, tag_column="d")


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ("{", "not JSON"),
        ("3", "not an object"),
        ('{"text": "a"}', "no list of spans"),
        ('{"spans": []}', "'text'"),
        ('{"text": 3, "spans": []}', "'text'"),
        ('{"text": "a", "spans": [3]}', "not an object"),
        ('{"text": "a", "spans": [{"start": 0, "end": 2, "label": "X"}]}', "leaves the text"),
        ('{"text": "a", "spans": [{"start": true, "end": 1, "label": "X"}]}', "not integers"),
        ('{"text": "a", "spans": [{"start": 0, "end": 1, "label": ""}]}', "label ''"),
        ('{"text": "a", "label": [[0, 1]]}', "lacks 2"),
        ('{"text": "ab", "spans": [{"start": 0, "end": 1, "label": "X"}]}', "word borders"),
        ('{"text": "a", "label": [{"start": 0, "end": 1, "text": "b", "labels": ["X"]}]}', "'b'"),
        ('{"text": "a", "spans": [], "words": [[0]]}', "lacks 1"),
        ('{"text": "a", "spans": [], "words": 3}', "'words' is '3'"),
        ('{"text": "a", "spans": null}', "'spans' is 'None'"),
        ('{"text": "a", "label": "POS"}', "'label' is 'POS'"),
        ('{"text": "a", "label": ["POS"]}', "no list of spans"),
        ('{"text": "a", "label": "POS", "answer": "accept"}', "no list of spans"),
        ('{"text": "a", "label": [], "entities": [[0, 1, "X"]]}', "'label' and 'entities'"),
        ('{"text": "a", "label": [{"start": 0, "end": 1, "labels": ["X"]}, 3]}', "not an object"),
        ('{"data": {"text": "a"}, "annotations": ["x"]}', "'annotations'"),
        ('{"data": {"text": "a"}, "annotations": [{"result": [{"type": "labels"}]}]}', "'value'"),
        ('{"data": {"a": "x", "b": "y"}, "annotations": [{"result": []}]}', "text_field"),
        ('[{"text": "a", "spans": []}, {"text": "b", "spans": []}]', "not an object"),
        ('["a", {"cats": {}}]', "no list of spans"),
        ("[" * 100_000, "not JSON"),
        ('{"tokens": ["a"], "ner_tags": ["B-X", "O"]}', "1 words but 2 tags"),
        ('{"tokens": ["a", " "], "ner_tags": ["B-X", "O"]}', "the word ' ' is blank"),
        ('{"tokens": ["a"], "ner_tags": ["X"]}', "not a tag"),
        ('{"tokenized_text": ["a"], "ner": [[0, 1, "X"]]}', "leaves the 1 words"),
        ('{"tokenized_text": ["a"], "ner": [[0]]}', "lacks 1"),
        (
            '{"text": "a", "spans": [{"start":0,"end":1,"label":"X"},{"start":0,"end":1,"label":"X"}]}',
            "twice",
        ),
    ],
)
def test_bad_json(put, record, what):
    path = put(f"{json.dumps(OWN)}\n{record}\n{json.dumps(OWN)}\n", "data.jsonl")
    with pytest.raises(DataError, match=what) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert "fix" in str(error.value)
    assert len(read(path, on_error="skip")) == 2


@pytest.mark.parametrize(
    ("content", "line"),
    [('[{"text": "a", "spans": []},\n{"text": ', 2), ('{"text": "a",\n"spans": [}\n', 2), ("[", 1)],
)
def test_a_broken_file_is_refused_as_a_whole(put, content, line):
    path = put(content, "x.json")
    with pytest.raises(DataError, match=r"not JSON .*; fix: export it again") as error:
        read(path, on_error="skip")
    assert str(error.value).startswith(f"{path}:{line}: ")


def test_files_without_a_record(put):
    for content in ("", "\ufeff", "\n\n", "[]"):
        assert read(put(content, "x.json")) == []


KEYS = (
    "text data spans label labels entities words tokens answer annotations result type value start "
    "end start_offset end_offset score was_cancelled tokenized_text ner ner_tags to_name id "
    "globalOffsets hypertextlabels annotation_id lead_time relations"
).split()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["ab c", "labels", "reject"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=15,
)


@files(700)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6) | VALUES)
def test_any_json_is_an_example_or_a_problem_with_a_fix(tmp_path, record):
    """Beside a good record: what is wrong with one is no error of the file's but numbers alone."""
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(OWN)}\n{json.dumps(record)}\n")
    found, error = read_or_error(path)
    if error:
        assert error.startswith(f"{path}:2: ")
        assert "; fix: " in error
        return
    left_out = [note for note in found.notes if note.startswith(f"{path}:2: ")]
    assert len(found) == 2 or (len(found) == 1 and left_out)
    if found.counts["bad records skipped"]:
        assert "; fix: " in left_out[0]


def read_or_error(path):
    try:
        return read(path, on_error="skip"), ""
    except DataError as error:
        return None, str(error)


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def test_words_keep_what_else_the_record_says(put):
    words = ["Ann", "-", "Lee", ",", "x"]
    record = {
        "text": "Ann-Lee, x",
        "tokens": words,
        "ner_tags": ["B-P", "I-P", "I-P", "O", "O"],
        "fine_tags": ["B-Q", "O", "O", "O", "O"],
        "seen": [{"start": 0, "end": 3, "type": "P"}],
        "relations": [1, 2],
        "pos": 3,
    }
    found = read(put(lines(record), "d.jsonl"))
    assert (found[0].text, ranges(found[0])) == ("Ann-Lee, x", [(0, 7, "P")])
    assert found.counts == {
        "tags under 'fine_tags' not read": 1,
        "spans under 'seen' not read": 1,
        "relations not read": 2,
    }
    assert found.notes[-1].endswith("keys that are not read: fine_tags, seen, relations, pos")
    found = read(put(lines({**record, "entities": [[0, 3, "P"]]}), "d.jsonl"))
    assert ranges(found[0]) == [(0, 3, "P")]
    assert found.counts["tags under 'ner_tags' not read"] == 3
    gliner = {"text": "Ann-Lee, x", "tokenized_text": words, "ner": [[0, 2, "P"]], "relations": [1]}
    found = read(put(lines(gliner), "d.jsonl"))
    assert (found[0].text, ranges(found[0])) == ("Ann-Lee, x", [(0, 7, "P")])
    assert found.counts == {"relations not read": 1}
    other = {**record, "text": "Somebody else"}
    assert read(put(lines(other), "d.jsonl"))[0].text == "Ann - Lee , x"


@pytest.mark.parametrize(
    ("record", "what"),
    [
        # word by word predictions; a copy of the words under "entity"; offsets in words
        (
            {
                "text": "Ann Lee",
                "entities": [
                    {"entity": "B-P", "start": 0, "end": 3, "word": "Ann"},
                    {"entity": "I-P", "start": 4, "end": 7, "word": "Lee"},
                ],
            },
            "'B-P' is a tag, of a word",
        ),
        (
            {
                "text": "SARS细胞x",
                "entities": [{"start": 0, "end": 5, "type": "b", "entity": "SARS细胞"}],
            },
            "'SARS细胞' in the file but 'SARS细'",
        ),
        (
            {
                "tokens": ["Nora", "ran"],
                "text": "Nora ran",
                "entities": [{"type": "P", "start": 1, "end": 2}],
            },
            "offsets may count the tokens",
        ),
        ({"text": "x", "options": [{"id": "A"}], "accept": ["A"], "answer": "accept"}, "no list"),
        ({"data": {"text": "Nora"}, "entities": [[0, 4, "P"]]}, "text_field"),
        ({"content": "Nora", "annotation": [{"label": ["P"], "points": []}]}, "no list of spans"),
    ],
)
def test_what_is_refused_rather_than_guessed(put, record, what):
    with pytest.raises(DataError, match=what) as error:
        read(put(lines(record), "d.jsonl"))
    assert "; fix: " in str(error.value)


def test_a_list_that_is_empty_in_some_records(put):
    records = [
        {"text": "Ann", "ents": [{"start": 0, "end": 3, "label": "P"}]},
        {"text": "x", "ents": []},
    ]
    found = read(put(lines(*records), "d.jsonl"))
    assert [ranges(e) for e in found] == [[(0, 3, "P")], []]
    assert found.notes == []


@pytest.mark.parametrize(
    "content",
    [
        {"data": "Ann ran", "entities": [{"start": 0, "end": 3, "label": "P"}]},
        {"rasa_nlu_data": {"common_examples": [{"text": "Ann ran", "entities": [[0, 3, "P"]]}]}},
        ["Ann ran", {"tokens": ["Ann", "ran"], "ner_tags": ["B-P", "O"]}],
        [["Ann ran", {"tokens": ["Ann", "ran"], "ner": [[0, 0, "P"]]}]],
    ],
)
def test_files_of_one_record(put, content):
    (found,) = read(put(json.dumps(content), "one.json"))
    assert ranges(found) == [(0, 3, "P")]
    if isinstance(content, dict) and "data" in content:
        body = {"title": "Ann ran", "entities": content["entities"]}
        (found,) = read(put(json.dumps(body), "one.json"), text_field="title")
        assert ranges(found) == [(0, 3, "P")]


@pytest.mark.parametrize(
    "more",
    [
        {"annotator": "eve", "created_at": "2024-01-01"},
        {"tokens": 2},
        {"tokens": [3021, 88]},
        {"tokens": "Ann met Bob"},
        {"tokens": [[0, 3], [4, 7]]},
        {"tokens": [{"text": "Ann", "pos": "NNP"}]},
        {"tokens": ["Ann", "met", "Bob"], "ner": []},
        {"keywords": ["e-mail"], "ids": ["s_1", "s_2"]},
    ],
)
def test_other_keys_do_no_harm(put, more):
    for record in ({**OWN, **more}, {"text": OWN["text"], "entities": [[8, 11, "P"]], **more}):
        found = read(put(lines(record), "d.jsonl"))
        assert ranges(found[0]) == BOB
        assert not found.counts


@pytest.mark.parametrize("copy", ["Q42", "Barack Obama", "", "bob", "T1"])
def test_what_may_be_an_id_is_no_copy_of_the_words(put, copy):
    for span in (
        {"start": 8, "end": 11, "label": "P", "mention": copy},
        {"start": 8, "end": 11, "label": "P", "entity": copy},
        [8, 11, "P", copy],
    ):
        assert (
            ranges(read(put(lines({"text": "Ann met Bob", "label": [span]}), "d.jsonl"))[0]) == BOB
        )
    span = {"start": 8, "end": 11, "label": "P", "text": "bob", "labels": ["x"]}
    assert ranges(read(put(lines({"text": "Ann met Bob", "spans": [span]}), "d.jsonl"))[0]) == BOB


def test_a_broken_line_changes_nothing_for_the_others(put):
    def of(*tags):
        return {"tokens": ["a", "b"][: len(tags)], "ner_tags": list(tags)}

    good = lines(of("PER", "O"), of("PER", "O")) + "{broken\n" + lines(of("PER"))
    assert len(read(put(good, "d.jsonl"), on_error="skip")) == 3
    stray = lines(of("B-P", "I-P"), of("B-P", "B-P")) + "{broken\n" + lines(of("O", "I-P"))
    found = read(put(stray, "d.jsonl"), on_error="skip")
    assert len(found) == 2
    assert found.counts == {"bad records skipped": 2}


def test_a_usual_key_that_is_filled_somewhere_decides(put):
    other = [{"start": 0, "end": 3, "label": "P"}]
    records = [OWN, {"text": "Ann ran", "spans": [], "seen": other}]
    found = read(put(lines(*records), "d.jsonl"))
    assert [ranges(e) for e in found] == [BOB, []]
    assert found.counts == {"spans under 'seen' not read": 1}
    tags = [{"start": 0, "end": 3, "label": "B-x"}, {"start": 4, "end": 7, "label": "I-x"}]
    assert len(read(put(lines({"text": "Ann met", "spans": tags}), "d.jsonl"))[0].spans) == 2


def test_odd_sidecars_are_no_crash(put):
    path = put(lines({"tokens": ["Ann"], "ner_tags": [0]}), "d.jsonl")
    for content in ({"features": None}, {"features": {"ner_tags": {"feature": 5}}}):
        put(json.dumps(content), "dataset_info.json")
        with pytest.raises(ValueError, match="fix"):
            read(path)
    with pytest.raises(FileNotFoundError, match="no such file; fix"):
        read(path, names="nothing.json")
