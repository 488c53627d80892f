"""Label Studio's exports: kinds of regions, several annotations, several texts, offsets."""

import json

import pytest

from minisift import DataError, read


def region(start, end, text=None, *, label="PER", to_name="text", kind="labels", **more):
    value = {"start": start, "end": end, kind: [label], **more}
    return {"type": kind, "to_name": to_name, "value": value | ({"text": text} if text else {})}


def task(data, *results, **more):
    annotation = {"id": 1, "result": list(results), **more}
    return {"data": data if isinstance(data, dict) else {"text": data}, "annotations": [annotation]}


def told(found):
    return [(e.text, [(s.start, s.end, s.label) for s in e.spans]) for e in found]


@pytest.fixture
def studio(put):
    return lambda *tasks: put(json.dumps(tasks, indent=1), "export.json")


ANN = ("Ann met Bob", [(8, 11, "PER")])
BOB = region(8, 11, "Bob")


def test_tasks(studio, put):
    tasks = [
        task({"txt": "Ann met Bob", "n": 3}, BOB),
        {"data": {"text": "x"}, "annotations": []},
        {"data": {"text": "x"}, "annotations": [{"was_cancelled": True, "result": []}]},
        task("none"),
        {"data": {"text": "x"}, "annotations": None, "predictions": [{"result": [BOB]}]},
    ]
    found = read(studio(*tasks))
    assert told(found) == [ANN, ("none", [])]
    assert found.counts == {"tasks without an annotation": 3}
    with pytest.raises(DataError, match="record 6: '3' is not an object"):
        read(studio(*tasks, 3))
    assert told(read(put(json.dumps(tasks[0]), "one.json"))) == [ANN]
    assert told(read(put("".join(json.dumps(t) + "\n" for t in tasks), "t.jsonl"))) == told(found)
    old = {"data": {"text": "Ann met Bob"}, "completions": [{"result": [BOB]}]}
    assert told(read(studio(old))) == [ANN]


def test_what_is_no_labelled_text_is_counted(studio):
    found = read(
        studio(
            task(
                "Ann met Bob",
                BOB,
                {"type": "choices", "value": {"choices": ["good"]}},
                {"type": "relation", "from_id": "a", "to_id": "b"},
                {"type": "relation", "from_id": "b", "to_id": "a"},
                {"type": "labels", "value": {"start": 0, "end": 3, "text": "Ann"}},
            )
        )
    )
    assert told(found) == [ANN]
    assert found.counts == {
        "choices not read": 1,
        "relations not read": 2,
        "regions without a label not read": 1,
    }


def test_which_annotation(studio):
    """The one marked as ground truth, else the newest."""
    wrong = {"result": [region(0, 3, "Ann")]}
    right = {"result": [BOB]}
    for others in (
        [{**wrong, "id": 9}, {**right, "id": 2, "ground_truth": True}],
        [
            {**right, "id": 2, "updated_at": "2025-03-02T10:00:00Z"},
            {**wrong, "id": 9, "updated_at": "2025-03-01T10:00:00Z"},
        ],
        [{**wrong, "id": 2}, {**right, "id": 9}],
        [{**right, "id": 2}, {**wrong, "id": 9, "was_cancelled": True}],
    ):
        found = read(studio({"data": {"text": "Ann met Bob"}, "annotations": others}))
        assert told(found) == [ANN]
        dropped = sum(not a.get("was_cancelled") for a in others) - 1
        assert found.counts["further annotations of a task not read"] == dropped


def test_two_labels_on_a_region_overlap(studio):
    path = studio(task("Ann met Bob", region(8, 11, "Bob"), region(8, 11, "Bob", label="ORG")))
    with pytest.raises(DataError, match=r"record 1: .*overlaps"):
        read(path)
    both = region(8, 11, "Bob")
    both["value"]["labels"] = ["ORG", "PER"]
    found = read(studio(task("Ann met Bob", both)), on_misaligned="snap")
    assert told(found) == [("Ann met Bob", [(8, 11, "ORG")])]
    assert found.counts == {"overlapping spans dropped": 1}


def test_texts_that_differ_in_white_space(studio):
    text = "Acme  GmbH\nHauptstr. 5"
    assert told(read(studio(task(text, region(0, 22, "Acme GmbH\\nHauptstr. 5"))))) == [
        (text, [(0, 22, "PER")])
    ]
    path = studio(task("Some simple text", region(5, 16, "ple tex")))
    with pytest.raises(DataError, match=r"'ple tex' in the file but 'simple text'.*; fix"):
        read(path)
    assert told(read(path, on_misaligned="snap")) == [("Some simple text", [(5, 16, "PER")])]
    assert told(read(path, on_misaligned="skip")) == [("Some simple text", [])]


def test_utf16(studio):
    """Old front ends count UTF-16 units, new ones characters."""
    for start in (2, 3):
        found = read(studio(task("😀 Ann", region(start, start + 3, "Ann"))))
        assert told(found) == [("😀 Ann", [(2, 5, "PER")])]
        assert found.counts == ({"spans with offsets in UTF-16 units": 1} if start == 3 else {})


def test_several_texts(studio):
    both = {"question": "Who met Bob?", "answer": "Ann met Bob"}
    path = studio(
        task(both, region(0, 3, to_name="answer")),
        task({"question": "Who?", "answer": "Bob"}),
    )
    assert told(read(path)) == [("Ann met Bob", [(0, 3, "PER")]), ("Bob", [])]
    found = read(path, text_field="question")
    assert told(found) == [("Who met Bob?", []), ("Who?", [])]
    assert found.counts == {"regions of other texts not read": 1}
    # names of tags that are no fields: the regions' own words tell
    other = studio(
        task(both, region(8, 11, "Bob", to_name="t1"), region(0, 3, "Ann", to_name="t2"))
    )
    with pytest.raises(DataError, match=r"2 fields may be the text \(question, answer\); fix"):
        read(other)
    assert told(read(other, text_field="answer")) == [
        ("Ann met Bob", [(0, 3, "PER"), (8, 11, "PER")])
    ]
    each = studio(task(both, region(0, 3, to_name="answer"), region(0, 3, to_name="question")))
    assert told(read(each)) == [
        ("Ann met Bob", [(0, 3, "PER")]),
        ("Who met Bob?", [(0, 3, "PER")]),
    ]
    with pytest.raises(
        DataError, match="no text under 'title'; fix: text_field is one of question"
    ):
        read(path, text_field="title")


@pytest.mark.parametrize("kind", ["hypertextlabels", "labels"])
def test_hypertext(studio, kind):
    def rich(start, end, text, **more):
        offsets = {"start": start, "end": end}
        xpath = "/p[1]/text()[1]"
        return region(xpath, xpath, text, kind=kind, globalOffsets=offsets, **more)

    html = "<div><p>Ann &amp; <b>Lee</b></p><p>Bob<br>ran</p></div>"
    found = read(
        studio(
            task({"html": html}, rich(0, 9, "Ann & Lee"), rich(9, 12, "Bob")),
            task({"html": "<p>It rained.</p>"}),
        )
    )
    # paragraphs may touch, their words do not
    assert told(found) == [
        ("Ann & LeeBobran", [(0, 9, "PER"), (9, 12, "PER")]),
        ("It rained.", []),
    ]
    # versions differ in whether a line break counts
    found = read(studio(task({"html": html}, rich(13, 16, "ran"))))
    assert told(found) == [("Ann & LeeBob\nran", [(13, 16, "PER")])]
    without = rich(0, 3, "Ann")
    del without["value"]["globalOffsets"]
    with pytest.raises(DataError, match=r"region of hypertext .* has no globalOffsets; fix"):
        read(studio(task({"html": html}, without)))


def test_paragraphs(studio):
    dialogue = [{"author": "A", "text": "Hello Ann."}, {"author": "B", "text": "Bob here, Ann."}]
    spans = [
        region("0", "0", "Ann", kind="paragraphlabels", startOffset=6, endOffset=9),
        region("1", "1", "Bob", kind="paragraphlabels", startOffset=0, endOffset=3),
    ]
    found = read(studio(task({"dialogue": dialogue, "id": "x"}, *spans, to_name="dialogue")))
    assert told(found) == [("Hello Ann.\nBob here, Ann.", [(6, 9, "PER"), (11, 14, "PER")])]
    beyond = region("7", "7", "Ann", kind="paragraphlabels", startOffset=0, endOffset=3)
    with pytest.raises(DataError, match=r"is in no paragraph; fix"):
        read(studio(task({"dialogue": dialogue}, beyond)))
    with pytest.raises(DataError, match="lacks 'text'; fix: rename"):
        read(studio(task({"dialogue": [{"phrase": "Hello"}]}, spans[0])))


@pytest.mark.parametrize(
    ("text", "results", "refused"),
    [
        ("/data/upload/1/ab-letter.txt", [region(204443, 205641)], True),
        ("/data/upload/1/ab-letter.txt", [], True),
        ("/data/local-files/?d=a/b.txt", [], True),
        ("s3://bucket/a.txt", [region(0, 3)], True),
        ("https://example.org/a.txt", [], True),
        ("https://example.org/a", [region(1000, 1004)], True),
        ("https://example.org/a", [region(0, 21, "https://example.org/a")], False),
        ("https://example.org/a", [], False),
        ("see /data/upload/1/x.txt", [], False),
    ],
)
def test_a_text_that_lies_elsewhere(studio, text, results, refused):
    path = studio(task(text, *results))
    if refused:
        with pytest.raises(DataError, match=r"where a text lies and not the text itself; fix"):
            read(path)
    else:
        assert [e.text for e in read(path)] == [text]


def test_json_min(studio):
    """Any name of the control tag; a task without regions has no such key; a record an annotation."""
    more = {"annotator": 1, "annotation_id": 1, "lead_time": 2.5, "created_at": "2025-03-01"}
    bob = {"start": 8, "end": 11, "text": "Bob", "labels": ["PER"]}
    path = studio(
        {"text": "Ann met Bob", "id": 1, "entities_1": [bob], "mood": "good", **more},
        {"text": "It rained.", "id": 2, "mood": "bad", **more},
        {
            "text": "Ann met Bob",
            "id": 3,
            "ner": [bob],
            "box": [{"x": 1, "rectanglelabels": ["A"]}],
            **more,
        },
        {"text": "Ann", "id": 4, **more},
        {"text": "Ann", "id": 4, "ner": [{"start": 0, "end": 3, "labels": ["PER"]}], **more}
        | {"annotation_id": 2},
    )
    found = read(path)
    assert told(found) == [ANN, ("It rained.", []), ANN, ("Ann", [(0, 3, "PER")])]
    assert found.counts == {
        "rectanglelabels not read": 1,
        "further annotations of a task not read": 1,
    }


def test_what_labels_no_text_is_no_text_without_spans(studio, put):
    choices = {"id": 1, "text": "Ann", "mood": "good", "annotator": 1, "annotation_id": 1}
    with pytest.raises(DataError, match=r"record 1: no region labels text in any task .*; fix"):
        read(studio(choices))
    with pytest.raises(DataError, match="no region labels text"):
        read(put("annotation_id,annotator,id,mood,text\n1,1,1,good,Ann\n", "x.csv"))
    box = {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["A"]}}
    for address in ("https://x.org/1.png", "images/1.jpg"):
        with pytest.raises(DataError, match="where a text lies"):
            read(studio(task({"image": address}, box)))
    drafts = task("Ann met Bob") | {"drafts": [{"result": [BOB]}]}
    assert read(studio(drafts)).counts == {"drafts not read": 1}
