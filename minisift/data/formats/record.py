"""Records, which the formats' readers yield, and how they become examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from minisift.data.examples import Example, Examples, OnError, OnMisaligned, Span, align
from minisift.exceptions import DataError


@dataclass(frozen=True)
class Options:
    """The options of `minisift.read` that say how to read a file; see there."""

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
    """Why a span's offsets may be wrong; `on_misaligned` decides whether it is kept."""

    kind: str
    """What such spans are counted as, in the plural."""
    message: str
    """The span, and what is wrong with it."""


@dataclass(frozen=True)
class Record:
    """A part of a file that is to become an Example, or the reason why it cannot."""

    place: str
    text: str = ""
    spans: tuple[Span, ...] = ()
    words: tuple[tuple[int, int], ...] = ()
    doubts: Mapping[Span, Doubt] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    """What of it is not read, or is not read as it is written."""
    problem: str = ""
    """What is wrong and how to mend it; empty for a good record."""
    skipped: str = ""
    """Why it is not meant to be used (say, rejected by its annotator)."""
    note: str = ""
    """A remark on the file as a whole; such a record has neither text nor spans, at most counts."""


class ProblemError(ValueError):
    """What is wrong with a record and how to mend it; readers turn it into `Record.problem`."""


class SkippedError(ValueError):
    """Why a record is not meant to be used; readers turn it into `Record.skipped`."""


def collect(records: Iterable[Record], on_error: OnError, on_misaligned: OnMisaligned) -> Examples:
    """Examples from records. Raises DataError, with the place, for what the policies do not let pass."""
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
    """The record with its doubtful spans kept or dropped, and how many there were. Raises DataError."""
    decided: Counter[str] = Counter()
    if not record.doubts:
        return record, decided
    doubts = [record.doubts[span] for span in record.spans if span in record.doubts]
    if on_misaligned == "error":
        raise DataError(
            f"{doubts[0].message}; fix: correct it, or on_misaligned='snap' takes its offsets as they "
            "are, 'skip' drops it"
        )
    what = "kept" if on_misaligned == "snap" else "dropped"
    decided.update(f"{doubt.kind} {what}" for doubt in doubts)
    if what == "dropped":
        record = replace(record, spans=tuple(s for s in record.spans if s not in record.doubts))
    return record, decided


def _check(record: Record) -> None:
    """Raises DataError for a span that is empty or leaves the text."""
    for span in record.spans:
        if not 0 <= span.start < span.end <= len(record.text):
            raise DataError(
                f"span ({span.start}, {span.end}, {span.label!r}) is empty or leaves the text of "
                f"{len(record.text)} characters; fix: count characters (not bytes) from 0"
            )
