"""Reading and writing: round trips, the tools' exports, errors with file, line and fix."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import examples

import minisift
from minisift.data import DataError, Example, Span, read, write
from minisift.tags import SCHEMES

LINES = "U.N. I-ORG\nofficial O\nEkeus I-PER\n\n-DOCSTART- O\n\nParis I-LOC\nRome B-LOC\n"


@pytest.fixture
def put(tmp_path):
    def write_file(content, name="data.conll"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def ranges(example):
    return [(span.start, span.end, span.label) for span in example.spans]


def is_utf8(text):
    return not any(0xD800 <= ord(char) < 0xE000 for char in text)


QUICK = {"max_examples": 150, "deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(**QUICK)
@given(st.lists(examples(), max_size=4))
def test_jsonl_round_trip(tmp_path, sentences):
    write(sentences, tmp_path / "x.jsonl")
    assert read(tmp_path / "x.jsonl") == sentences


@settings(**QUICK)
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


@settings(**{**QUICK, "max_examples": 40})
@given(st.lists(examples(), max_size=3))
def test_docbin_round_trip(tmp_path, sentences):
    pytest.importorskip("spacy")
    kept = [e for e in sentences if is_utf8(e.text)]
    write(kept, tmp_path / "x.spacy")
    assert read(tmp_path / "x.spacy") == kept


def test_docbin_keeps_text_between_words(tmp_path):
    pytest.importorskip("spacy")
    example = Example("  abc - def\n\n ghi ", (Span(8, 11, "X"),), ((8, 11), (14, 17)))
    write([example], tmp_path / "x.spacy")
    (found,) = read(tmp_path / "x.spacy")
    assert (found.text, found.spans) == (example.text, example.spans)


def test_docbin_of_spacy(tmp_path):
    spacy = pytest.importorskip("spacy")
    doc = spacy.blank("en")("Ann's  dog\nBob ")
    doc.ents = [doc.char_span(0, 3, label="P"), doc.char_span(11, 14, label="P")]
    docs = [doc, spacy.blank("de")("x")]
    spacy.tokens.DocBin(docs=docs).to_disk(tmp_path / "x.spacy")
    first, second = read(tmp_path / "x.spacy")
    assert ranges(first) == [(0, 3, "P"), (11, 14, "P")]
    assert [first.text[a:b] for a, b in first.words] == ["Ann", "'s", "dog", "Bob"]
    assert ranges(second) == []


def test_columns(put):
    first, second = read(put(LINES))
    assert first.text == "U.N. official Ekeus"
    assert ranges(first) == [(0, 4, "ORG"), (14, 19, "PER")]
    assert ranges(second) == [(0, 5, "LOC"), (6, 10, "LOC")]


def test_columns_by_number_and_name(put):
    path = put("# global.columns = FORM NER POS\n# text = a b\na B-X NN\nb O VB\n")
    assert ranges(read(path, tag_column="NER")[0]) == [(0, 1, "X")]
    assert ranges(read(path, tag_column=1)[0]) == [(0, 1, "X")]
    assert ranges(read(path, tag_column=-2)[0]) == [(0, 1, "X")]
    with pytest.raises(DataError, match="named: FORM, NER, POS"):
        read(path, tag_column="TAG")


def test_columns_of_other_platforms(put):
    path = put("\ufeff# id 7\r\n# O\r\na\tB-X\r\n\r\nb\u2028c\tO\r\n")
    assert [e.text for e in read(path)] == ["a", "b\u2028c"]


def test_a_needless_b_is_no_error_in_iob1(put):
    found = read(put("a I-X\nb I-X\n\nc B-X\nd I-X\n\ne I-X\nf B-X\n"))
    assert [ranges(e) for e in found] == [[(0, 3, "X")], [(0, 3, "X")], [(0, 1, "X"), (2, 3, "X")]]


def test_a_given_scheme_is_not_recognised_anew(put):
    path = put("a I-X\nb I-X\n")
    assert ranges(read(path)[0]) == [(0, 3, "X")]
    with pytest.raises(DataError, match="continues no span"):
        read(path, scheme="iob2")


@pytest.mark.parametrize(
    "example",
    [
        Example("a\tb", (), ((0, 3),)),
        Example("a\nb", (), ((0, 3),)),
        Example("a\rb", (), ((0, 3),)),
        Example("-DOCSTART-", (), ((0, 10),)),
        Example("a", (Span(0, 1, "X\tY"),)),
        Example("a", (Span(0, 1, " X"),)),
        Example("\ud800"),
    ],
)
def test_what_columns_cannot_hold(tmp_path, example):
    with pytest.raises(DataError, match=r"fix: .*write JSONL"):
        write([example], tmp_path / "x.conll")
    assert not any(tmp_path.iterdir())
    write([example], tmp_path / "x.jsonl")
    assert read(tmp_path / "x.jsonl") == [example]


def test_surrogates_that_json_would_join(tmp_path):
    with pytest.raises(DataError, match="utf-16"):
        write([Example("\ud83d\ude00")], tmp_path / "x.jsonl")


def test_a_number_sign_may_be_a_word(put):
    assert read(put("# B-X\n1 I-X\n"))[0].text == "# 1"
    assert read(put("# sent_id = 4\n# newpar\na B-X\n"))[0].text == "a"


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("a B-X\nb\nc O\n", 2, "1 column"),
        ("a B-X\nb I-Y\n\nc B-X\n\nd B-Y\n", 2, "continues no span"),
        ("a B-X\nb X\n", 2, "not a tag"),
    ],
)
def test_bad_columns(put, content, line, what):
    path = put(content)
    with pytest.raises(DataError, match=what) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert "fix" in str(error.value)
    kept = read(path, on_error="skip")
    assert kept.counts["bad records skipped"] == 1
    assert kept.notes[0].startswith(f"{path}:{line}: ")


OWN = {"text": "Ann met Bob", "spans": [{"start": 8, "end": 11, "label": "P"}]}
BOB = [(8, 11, "P")]
TOKENS = [
    {"text": "Ann", "start": 0, "end": 3, "id": 0},
    {"text": " ", "start": 3, "end": 4, "id": 1},
    {"text": "met", "start": 4, "end": 7, "id": 2},
    {"text": "Bob", "start": 8, "end": 11, "id": 3},
]
STUDIO = {"start": 8, "end": 11, "text": "Bob", "labels": ["P"]}


@pytest.mark.parametrize(
    "record",
    [
        OWN,
        {"text": "Ann met Bob", "label": [[8, 11, "P"]], "id": 1},
        {"text": "Ann met Bob", "labels": [[8, 11, "P"]]},
        {"data": "Ann met Bob", "label": [[8, 11, "P"]]},
        {
            "text": "Ann met Bob",
            "entities": [{"id": 1, "label": "P", "start_offset": 8, "end_offset": 11}],
            "relations": [],
        },
        {**OWN, "tokens": TOKENS, "answer": "accept", "_input_hash": 1},
        {**OWN, "tokens": None, "answer": "accept"},
        {**OWN, "tokens": ["Ann", "met", "Bob"], "answer": "42"},
        {**OWN, "label": "news", "labels": ["P", "Q"]},
        {"text": "Ann met Bob", "label": [STUDIO], "id": 1},
        {"text": "Ann met Bob", "label": [[8, 11, "P"]], "data": {"source": "x"}},
        ["Ann met Bob", {"entities": [[8, 11, "P"]]}],
    ],
)
def test_what_tools_export_a_line_each(put, record):
    (example,) = read(put(json.dumps(record) + "\n\n", "data.jsonl"))
    assert ranges(example) == BOB


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


def test_label_studio(put):
    result = [
        {"type": "labels", "value": STUDIO},
        {"type": "relation", "from_id": "a", "to_id": "b"},
    ]
    tasks = [
        {"data": {"txt": "Ann met Bob", "n": 3}, "annotations": [{"result": result}]},
        {"data": {"text": "x"}, "annotations": []},
        {"data": {"text": "x"}, "annotations": [{"was_cancelled": True, "result": []}]},
        {"data": {"text": "none"}, "annotations": [{"result": []}]},
        {"data": {"text": "x"}, "annotations": None},
        {
            "data": {"text": "Ann met Bob", "title": "x"},
            "annotations": [{"was_cancelled": True}, {"result": result}, {"result": []}],
        },
    ]
    found = read(put(json.dumps(tasks, indent=2), "export.json"))
    assert [ranges(e) for e in found] == [BOB, [], BOB]
    assert found.counts == {"tasks without an annotation": 3}
    path = put("\ufeff" + json.dumps([*tasks, 3]), "export.json")
    with pytest.raises(DataError, match="task 7: '3' is not an object"):
        read(path)


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
        ('{"text": "a", "label": [{"start": 0, "end": 1, "labels": ["X"]}, 3]}', "not one label"),
        ('{"data": {"text": "a"}, "annotations": ["x"]}', "'annotations'"),
        ('{"data": {"text": "a"}, "annotations": [{"result": [{"type": "labels"}]}]}', "'value'"),
        ('{"data": {"a": "x", "b": "y"}, "annotations": [{"result": []}]}', "'text'"),
        ('[{"text": "a", "spans": []}, {"text": "b", "spans": []}]', "the ending .json"),
        ('["a", {"cats": {}}]', "no list of spans"),
        ("[" * 100_000, "not JSON"),
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


KEYS = (
    "text data spans label labels entities words tokens answer annotations result type value start "
    "end start_offset end_offset score was_cancelled"
).split()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["ab c", "labels", "reject"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=15,
)


@settings(**{**QUICK, "max_examples": 500})
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6) | VALUES)
def test_any_json_is_an_example_or_a_problem_with_a_fix(tmp_path, record):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(record))
    found = read(path, on_error="skip")
    assert len(found) + sum(found.counts.values()) == 1
    if found.counts["bad records skipped"]:
        assert found.notes[0].startswith(f"{path}:1: ")
        assert "; fix: " in found.notes[0]


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


def test_datasets():
    datasets = pytest.importorskip("datasets")
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
    datasets = pytest.importorskip("datasets")
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
    datasets = pytest.importorskip("datasets")
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


def test_missing_and_unknown(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "no.conll")
    with pytest.raises(ValueError, match="docbin"):
        read(tmp_path / "no.conll", format="xml")
    with pytest.raises(DataError, match="neither"):
        read(3)
    (tmp_path / "bad.spacy").write_bytes(b"nonsense")
    pytest.importorskip("spacy")
    with pytest.raises(DataError, match="not a DocBin"):
        read(tmp_path / "bad.spacy")


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
