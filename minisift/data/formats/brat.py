"""brat's standoff files: a text in `.txt`, its annotations in the `.ann` of the same name.

Each line of a text is a record, as brat shows it; lines that a span goes across stay together.
Format: https://brat.nlplab.org/standoff.html
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from minisift.data.examples import Span
from minisift.data.formats.offsets import RawSpan, agrees, record
from minisift.data.formats.record import Doubt, Options, ProblemError, Record
from minisift.exceptions import DataError
from minisift.files import read_text

OPTIONS = ("encoding",)

_FRAGMENTS = re.compile(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)")
_KINDS = {
    "E": "events",
    "R": "relations",
    "*": "relations",
    "A": "attributes",
    "M": "attributes",
    "N": "normalizations",
    "#": "comments",
}


def read(source: str | os.PathLike[str], options: Options) -> Iterator[Record]:
    """The lines of a pair of files, or of all pairs in a folder and its subfolders."""
    path = Path(source)
    if not path.is_dir():
        yield from _pair(path.with_suffix(".txt"), path.with_suffix(".ann"), options)
        return
    texts = {file.with_suffix("") for file in path.rglob("*.txt")}
    annotations = {file.with_suffix("") for file in path.rglob("*.ann")}
    if not annotations:
        raise DataError(f"{path}: no .ann file in it; fix: give the folder of brat's files")
    for name in sorted(texts | annotations):
        text, annotation = (name.with_name(name.name + end) for end in (".txt", ".ann"))
        if name not in annotations:
            yield Record(str(text), skipped="texts without an .ann file")
        elif name not in texts:
            yield Record(str(annotation), problem=f"no {text.name} beside it; fix: put it there")
        else:
            yield from _pair(text, annotation, options)


def _pair(text: Path, annotation: Path, options: Options) -> Iterator[Record]:
    for path in (text, annotation):
        if not path.is_file():
            raise DataError(f"{path}: missing; fix: put a .txt and its .ann side by side")
    counts: Counter[str] = Counter()
    found: list[RawSpan] = []
    content = read_text(text, options.encoding)
    for number, line in enumerate(read_text(annotation, options.encoding).split("\n"), 1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        kind = _KINDS.get(line[0])
        if kind:
            counts[f"{kind} not read"] += 1
            continue
        try:
            found.append(_span(line, content))
        except ProblemError as error:
            yield Record(f"{annotation}:{number}", problem=str(error))
    for kind, number in counts.items():
        yield Record(str(annotation), note=f"{number} {kind}", counts={kind: number})
    whole = record(str(text), content, found)
    if whole.counts:
        yield Record(str(text), note=next(iter(whole.counts)), counts=whole.counts)
    inside = []
    for span in whole.spans:
        if 0 <= span.start < span.end <= len(content):
            inside.append(span)
        else:
            yield Record(
                str(annotation), content, (span,)
            )  # its span is refused when records become examples
    yield from _lines(text, content, sorted(inside), whole.doubts)


def _span(line: str, content: str) -> RawSpan:
    """The span of a line such as ``T1<tab>PER 0 4;10 14<tab>Nora Feld``. Raises ProblemError."""
    parts = line.split("\t", 2)
    match = _FRAGMENTS.fullmatch(parts[1].strip()) if len(parts) > 1 else None
    if not parts[0].startswith("T") or match is None:
        raise ProblemError(
            f"{line[:60]!r} is no annotation of brat's; fix: as in 'T1<tab>PER 0 9<tab>Nora Feld'"
        )
    offsets = [int(offset) for offset in re.findall(r"\d+", match[2])]
    found = RawSpan(min(offsets), max(offsets), match[1], parts[2] if len(parts) > 2 else None)
    # a span across lines has a fragment for each line, which is no gap
    if len(offsets) == 2 or (found.copy is not None and agrees(content, found)):
        return found
    shown = f"span ({match[2]}, {match[1]!r}) {found.copy or ''!r}"
    return replace(found, doubt=Doubt("spans with gaps", f"{shown} has a gap in it"))


def _lines(
    path: Path, text: str, spans: Sequence[Span], doubts: Mapping[Span, Doubt]
) -> Iterator[Record]:
    """A record for each line of the text, or for several lines if a span goes across them."""
    waiting = deque(spans)
    here: list[Span] = []
    begin, number = 0, 1
    ends = [at + 1 for at, char in enumerate(text) if char == "\n"]
    for line, end in enumerate([*ends, len(text)], 1):
        while waiting and waiting[0].start < end:
            here.append(waiting.popleft())
        if any(span.end > end for span in here):
            continue  # a span goes on in the next line
        shown = text[begin:end].rstrip("\r\n")
        if shown.strip() or here:
            moved = [Span(s.start - begin, s.end - begin, s.label) for s in here]
            doubtful = {m: doubts[s] for s, m in zip(here, moved, strict=True) if s in doubts}
            yield Record(f"{path}:{number}", shown, tuple(moved), doubts=doubtful)
        here, begin, number = [], end, line + 1
