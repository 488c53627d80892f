"""Examples, alignment, and files that appear whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import texts

from minisift.data.examples import Example, Span, align
from minisift.exceptions import DataError
from minisift.files import whole


def test_span_text_is_the_text_of_its_range():
    example = Example("Ann  met Bob", (Span(9, 12, "P"), Span(0, 3, "P", text="wrong")))
    assert [span.text for span in example.spans] == ["Ann", "Bob"]


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 2, "A")],
        [(1, 3, "A")],
        [(0, 4, "A")],
        [(0, 3, "A"), (0, 7, "B")],
        [(3, 3, "A")],
        [(0, 99, "A")],
        [(0, 3, " ")],
    ],
)
def test_what_does_not_fit_is_an_error(spans):
    with pytest.raises(DataError, match="fix"):
        Example("Ann met Bob", tuple(Span(*span) for span in spans))


@pytest.mark.parametrize("words", [[(0, 4)], [(0, 3), (2, 5)], [(0, 99)], [(5, 5)]])
def test_bad_words(words):
    with pytest.raises(DataError, match="fix"):
        Example("Ann met Bob", (), tuple(words))


def test_snap_and_skip():
    spans = [Span(1, 5, "A"), Span(8, 11, "B"), Span(4, 11, "C"), Span(3, 4, "D")]
    snapped, counts = align("Ann met Bob", spans, on_misaligned="snap")
    assert [(s.start, s.end, s.label) for s in snapped.spans] == [(0, 7, "A"), (8, 11, "B")]
    assert counts == {
        "spans snapped to words": 1,
        "misaligned spans dropped": 1,
        "overlapping spans dropped": 1,
    }
    skipped, counts = align("Ann met Bob", spans, on_misaligned="skip")
    assert [(s.start, s.end, s.label) for s in skipped.spans] == [(4, 11, "C")]
    assert sum(counts.values()) == 3


@given(texts, st.data(), st.sampled_from(["snap", "skip"]))
def test_alignment_keeps_or_counts_every_span(text, data, policy):
    offset = st.integers(0, len(text))
    spans = data.draw(st.lists(st.builds(Span, offset, offset, st.sampled_from("AB")), max_size=6))
    example, counts = align(text, spans, on_misaligned=policy)
    dropped = counts["misaligned spans dropped"] + counts["overlapping spans dropped"]
    assert len(example.spans) + dropped == len(spans)
    if policy == "skip":
        assert set(example.spans) <= set(spans)
    if not counts:
        assert example == Example(text, tuple(spans))


def half_written(path):
    with whole(path) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt


def test_whole_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        half_written(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with whole(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"


def test_whole_replaces_folders(tmp_path):
    for name in ("a", "b"):
        with whole(tmp_path / "folder") as draft:
            draft.mkdir()
            (draft / name).touch()
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_what_reading_leaves_out_is_told_to_those_who_give_a_path(put, caplog):
    from minisift.data.reading import as_examples

    path = put('{"text": "Ann", "label": [[0, 2, "P"]], "relations": [1]}\n', "d.jsonl")
    with pytest.raises(DataError, match="word borders"):
        as_examples(str(path))
    path = put('{"text": "Ann", "label": [[0, 3, "P"]], "relations": [1]}\n', "d.jsonl")
    (found,) = as_examples(str(path))
    assert found.spans
    assert f"{path}: 1 relations not read (first: {path}:1: relations not read)" in caplog.text
