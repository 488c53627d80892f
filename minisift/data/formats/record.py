"""What readers of formats yield, and how it becomes examples under the caller's policies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from minisift.data.examples import Example, Examples, OnError, OnMisaligned, Span, align
from minisift.exceptions import DataError


@dataclass(frozen=True)
class Options:
    """What `minisift.read` lets users say about a file; see there."""

    word_column: int | str | None = None
    tag_column: int | str | None = None
    scheme: str | None = None
    names: Any = None
    text_field: str | None = None
    spans_key: str | None = None
    split: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Doubt:
    """Why a span may not be what was meant, though it has offsets: `on_misaligned` decides."""

    kind: str
    """What is counted, in the plural."""
    told: str
    """The span and what is wrong with it."""


@dataclass(frozen=True)
class Record:
    """A piece of a file with its place, not yet an Example: or why it is none."""

    place: str
    text: str = ""
    spans: tuple[Span, ...] = ()
    words: tuple[tuple[int, int], ...] = ()
    doubts: Mapping[Span, Doubt] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    """What of it is not read, or is read otherwise than it is written."""
    problem: str = ""
    """What is wrong and how to mend it; empty for a good record."""
    skipped: str = ""
    """Why it is not meant to be used (say, rejected by its annotator)."""
    note: str = ""
    """Something to tell about the file as a whole; such a record holds nothing else but counts."""


class ProblemError(ValueError):
    """What is wrong with a record and how to mend it; readers turn it into `Record.problem`."""


class SkippedError(ValueError):
    """Why a record is not meant to be used; readers turn it into `Record.skipped`."""


def collect(records: Iterable[Record], on_error: OnError, on_misaligned: OnMisaligned) -> Examples:
    """Examples from records under the caller's policies; raises DataError with the place."""
    if on_error not in ("error", "skip") or on_misaligned not in ("error", "snap", "skip"):
        raise ValueError(
            f"on_error={on_error!r}, on_misaligned={on_misaligned!r}; fix: on_error is 'error' or "
            "'skip', on_misaligned is 'error', 'snap' or 'skip'"
        )
    examples: list[Example] = []
    counts: Counter[str] = Counter()
    notes: list[str] = []
    remarks: list[str] = []

    def tell(record: Record, counted: Mapping[str, int]) -> None:
        counts.update(counted)
        notes.extend(f"{record.place}: {what}" for what in counted)

    for record in records:
        if record.note:
            counts.update(record.counts)
            (notes if record.counts else remarks).append(f"{record.place}: {record.note}")
            continue
        if record.skipped:
            tell(record, {record.skipped: 1, **record.counts})
            continue
        problem = record.problem
        if not problem:
            try:
                settled, decided = _settle(record, on_misaligned)
                _check(settled)
                example, changed = align(settled.text, settled.spans, settled.words, on_misaligned)
            except DataError as error:
                problem = str(error)
            else:
                examples.append(example)
                tell(record, {**record.counts, **decided, **changed})
                continue
        if on_error == "error":
            raise DataError(f"{record.place}: {problem}")
        counts["bad records skipped"] += 1
        notes.append(f"{record.place}: {problem}")
    return Examples(examples, counts, notes + remarks)


def _settle(record: Record, on_misaligned: OnMisaligned) -> tuple[Record, Counter[str]]:
    """The record with its doubtful spans kept or dropped, and how many."""
    decided: Counter[str] = Counter()
    if not record.doubts:
        return record, decided
    doubts = [record.doubts[span] for span in record.spans if span in record.doubts]
    if on_misaligned == "error":
        raise DataError(
            f"{doubts[0].told}; fix: correct it, or on_misaligned='snap' takes its offsets as they "
            "are, 'skip' drops it"
        )
    what = "kept" if on_misaligned == "snap" else "dropped"
    decided.update(f"{doubt.kind} {what}" for doubt in doubts)
    if what == "dropped":
        record = replace(record, spans=tuple(s for s in record.spans if s not in record.doubts))
    return record, decided


def _check(record: Record) -> None:
    for span in record.spans:
        if not 0 <= span.start < span.end <= len(record.text):
            raise DataError(
                f"span ({span.start}, {span.end}, {span.label!r}) is empty or leaves the text of "
                f"{len(record.text)} characters; fix: count characters (not bytes) from 0"
            )
