"""Texts and their spans as HTML that needs nothing else: for notebooks, and as a page."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Protocol

from minisift.files import write_whole

_STYLE = """
.minisift { font: 16px/1.9 system-ui, sans-serif; color-scheme: light dark; overflow-wrap: anywhere }
.minisift p { margin: .3rem 0; white-space: pre-wrap }
.minisift mark { color: inherit; padding: .1em .25em; border-radius: .25em;
  background: color-mix(in srgb, var(--c) 22%, transparent); border-bottom: 2px solid var(--c) }
.minisift small { font-size: .72em; margin-left: .4em; opacity: .85 }
.minisift .wrong { outline: 2px solid #d32f2f; border-bottom-color: transparent }
.minisift .missed { outline: 2px dashed #d32f2f; border-bottom-color: transparent }
"""
_PAGE = """
:root { color-scheme: light dark }
body { max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; background: Canvas; color: CanvasText }
h1 { font-size: 1.3rem; overflow-wrap: anywhere }
pre { overflow-x: auto; font-size: .85rem; line-height: 1.4 }
h1 ~ p mark { margin-right: .4rem }
article { display: grid; grid-template-columns: 3rem 1fr; padding: .4rem 0;
  border-top: 1px solid color-mix(in srgb, CanvasText 20%, transparent) }
article b { font-size: .8rem; line-height: 2.8; opacity: .75 }
p[title]::before { content: attr(title); display: inline-block; width: 5rem; font-size: .8rem; opacity: .75 }
"""
_HUES = (210, 30, 140, 280, 0, 180, 60, 320)
"""Of the labels' colours, in the order of their names, round and round."""


class Marked(Protocol):
    """A span."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def score(self) -> float: ...


class Text(Protocol):
    """A text with spans, as an Example is."""

    @property
    def text(self) -> str: ...
    @property
    def spans(self) -> Sequence[Marked]: ...


Pair = tuple[Text, Sequence[Marked] | None]
"""A text, and what was predicted, if anything was asked."""


@dataclass(frozen=True)
class Page:
    """A page, which a notebook shows in a frame of its own."""

    html: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a file. Lone surrogates, which UTF-8 has no bytes for, become question marks."""
        write_whole(Path(path), self.html.encode(errors="replace"))

    def _repr_html_(self) -> str:
        frame = "width: 100%; height: 30rem; border: 0"
        return f'<iframe sandbox="" style="{frame}" srcdoc="{escape(self.html)}"></iframe>'


def snippet(text: str, spans: Sequence[Marked]) -> str:
    """A text with its spans, for a notebook."""
    body = _marked(text, spans, _colours(span.label for span in spans))
    return f'<style>{_STYLE}</style><div class="minisift"><p>{body}</p></div>'


def page(
    title: str, pairs: Iterable[Pair], told: str = "", numbers: Iterable[int] | None = None
) -> Page:
    """Texts with their spans, and below each with those that were predicted, if others; mistakes are marked.

    told: a line or some about all of them. numbers: those of the texts, from 1 on if not given.
    """
    pairs = list(pairs)
    labels = {span.label for text, found in pairs for span in (*text.spans, *(found or ()))}
    colour = _colours(labels)
    legend = "".join(
        f'<mark style="--c:{shade}">{escape(label)}</mark> ' for label, shade in colour.items()
    )
    if any(found is not None for _, found in pairs):
        legend += '<mark class="missed">missed</mark> <mark class="wrong">wrong</mark>'
    return Page(
        "".join(
            [
                '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width">',
                f"<title>{escape(title)}</title><style>{_STYLE}{_PAGE}</style></head>",
                f'<body class="minisift"><h1>{escape(title)}</h1>',
                f"<pre>{escape(told)}</pre>" if told else "",
                f"<p>{legend}</p>\n",
                *_articles(pairs, colour, numbers or itertools.count(1)),
                "</body></html>\n",
            ]
        )
    )


def _articles(
    pairs: Sequence[Pair], colour: Mapping[str, str], numbers: Iterable[int]
) -> Iterator[str]:
    for number, (text, found) in zip(numbers, pairs, strict=False):
        gold = _marked(text.text, text.spans, colour, found, "missed")
        body = f"<p>{gold}</p>"
        if found is not None and list(found) != list(text.spans):
            other = _marked(text.text, found, colour, text.spans, "wrong")
            body = f'<p title="labelled">{gold}</p><p title="found">{other}</p>'
        yield f"<article><b>{number}</b><div>{body}</div></article>\n"


def _colours(labels: Iterable[str]) -> dict[str, str]:
    return {
        label: f"hsl({_HUES[place % len(_HUES)]} 70% 48%)"
        for place, label in enumerate(sorted(set(labels)))
    }


def _marked(
    text: str,
    spans: Sequence[Marked],
    colour: Mapping[str, str],
    others: Sequence[Marked] | None = None,
    kind: str = "",
) -> str:
    """A text with its spans marked; those that are not among others, if there are any, as of this kind.

    Scores stand behind the labels where they are below 1.
    """
    parts, at = [], 0
    for span in sorted(spans, key=lambda span: span.start):
        odd = f' class="{kind}"' if others is not None and span not in others else ""
        score = f" {span.score:.2f}" if span.score < 1 else ""
        parts.append(escape(text[at : span.start]))
        parts.append(
            f'<mark{odd} style="--c:{colour[span.label]}">'
            f"{escape(text[span.start : span.end])}<small>{escape(span.label)}{score}</small></mark>"
        )
        at = span.end
    return "".join([*parts, escape(text[at:])])
