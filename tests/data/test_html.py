"""Texts and spans as HTML: every character as it is, spans marked, nothing that runs or is fetched."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisift.data.examples import Example, Span
from minisift.data.html import page, snippet

WORDS = ["Nora", "Feld", "war", "in", "Bonn"]
GOLD = Example.from_words(WORDS, [(0, 2, "PER"), (4, 5, "LOC")])
HOSTILE = '<script>alert(1)</script> " onload="x" &amp; </mark></style>'


class Seen(HTMLParser):
    """The tags with their attributes, and the text of paragraphs without the labels."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.marks, self._open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open += [tag] if tag not in ("meta",) else []
        if tag == "p":
            self.texts.append("")
        if tag == "mark":
            self.marks.append([dict(attrs).get("class"), ""])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "small" in self._open:
            self.marks[-1].append(data)
        elif "p" in self._open:
            self.texts[-1] += data
            if "mark" in self._open:
                self.marks[-1][1] += data


def test_a_snippet_marks_spans():
    seen = Seen(GOLD._repr_html_())
    assert seen.texts == ["Nora Feld war in Bonn"]
    assert seen.marks == [[None, "Nora Feld", "PER"], [None, "Bonn", "LOC"]]


def test_a_page_shows_what_is_wrong(tmp_path):
    found = [Span(0, 4, "PER", "Nora", 0.5), Span(17, 21, "LOC", "Bonn", 1.0)]
    made = page(
        "a <title>", [(GOLD, found), (GOLD, list(GOLD.spans)), (Example("none"), [])], "F1 <1"
    )
    made.save(tmp_path / "page.html")
    seen = Seen((tmp_path / "page.html").read_text())
    legend, *texts = seen.texts
    assert legend == "LOC PER missed wrong"
    assert texts == ["Nora Feld war in Bonn"] * 3 + ["none"]  # what is right stands there once
    assert seen.marks[4:8] == [
        ["missed", "Nora Feld", "PER"], [None, "Bonn", "LOC"],
        ["wrong", "Nora", "PER 0.50"], [None, "Bonn", "LOC"],
    ]  # fmt: skip
    assert ("title", {}) in seen.tags
    assert "a &lt;title&gt;" in made.html
    assert "F1 &lt;1" in made.html
    assert made._repr_html_().startswith('<iframe sandbox=""')


def test_texts_have_numbers():
    assert ">1<" in page("x", [(GOLD, None)]).html
    assert ">7<" in page("x", [(GOLD, None)], numbers=[7]).html


def test_a_page_without_predictions_says_nothing_of_mistakes():
    assert Seen(page("x", [(GOLD, None)]).html).texts == ["LOC PER ", "Nora Feld war in Bonn"]
    assert Seen(page("x", []).html).texts == [""]


@pytest.mark.parametrize("text", [HOSTILE, "a\n b\t\x00 \u202e c", "🙂 你好", "\ud800"])
def test_any_text_is_shown_as_it_is(text, tmp_path):
    example = Example(text)
    spans = [Span(*example.words[0], HOSTILE, text[slice(*example.words[0])], 0.2)]
    made = page(text, [(example, spans)], text)
    made.save(tmp_path / "page.html")
    seen = Seen(made.html)
    assert seen.texts[1:] == [text, text]
    allowed = set("html head meta title style body h1 pre p mark article b div small".split())
    assert {tag for tag, _ in seen.tags} <= allowed
    attributes = {name for _, attrs in seen.tags for name in attrs}
    assert attributes <= {"lang", "charset", "name", "content", "class", "style", "title"}


@given(st.text(max_size=30))
def test_snippets_lose_no_character(text):
    assert "".join(Seen(snippet(text, [])).texts) == text
