"""Label Studio's exports: JSON (tasks with annotations) and JSON-MIN (regions under their tag's name).

Regions of the kinds in `_KINDS` are spans of text; others are counted. A task may show several texts:
those that are labelled in any task of the file become records.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from minisift.data.examples import shorten
from minisift.data.formats.objects import Entry, holds_spans
from minisift.data.formats.offsets import RawSpan, member, raw_span, record
from minisift.data.formats.record import Options, ProblemError, Record
from minisift.data.text import split_words

_KINDS = ("labels", "hypertextlabels", "paragraphlabels")
_MIN_KEYS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
"""The keys that JSON-MIN adds to those of a task's fields."""
_PATH = re.compile(r"/?data/(?:upload|local-files)\S*|(?!https?:)[a-z][a-z0-9+.-]*://\S*")
_ADDRESS = re.compile(r"https?://\S*|\S+/\S+")
_FILE = re.compile(
    r"\S*\.(?:txt|html?|json|md|csv|pdf|png|jpe?g|gif|webp|svg|tiff?|wav|mp3|ogg|mp4)(?:\?\S*)?",
    re.IGNORECASE,
)
_BLOCKS = frozenset(
    "address article aside blockquote br dd div dl dt figure footer form h1 h2 h3 h4 h5 h6 header hr "
    "li main nav ol p pre section table td th tr ul".split()
)
"""Elements that begin a new line, so that no word goes across their borders."""


@dataclass(frozen=True)
class _Region:
    kind: str
    value: Mapping[str, Any]
    tag: str | None
    """The name of the tag that shows the text; JSON-MIN does not say."""

    @property
    def is_rich(self) -> bool:
        """Whether its text is HTML: then it starts at a path to an element."""
        return isinstance(self.value.get("start"), str)

    @property
    def copy(self) -> str | None:
        """The region's own copy of its words."""
        copy = self.value.get("text")
        return copy if isinstance(copy, str) else None


@dataclass(frozen=True)
class _Task:
    place: str
    data: Mapping[str, Any]
    regions: Sequence[_Region]
    counts: Counter[str]
    is_min: bool


def is_task(value: Any) -> bool:
    """Whether a record is a task of Label Studio's, in either of the exports."""
    if not isinstance(value, Mapping):
        return False
    if _is_full(value):
        return True
    if sum(key in value for key in _MIN_KEYS[1:]) > 1 and not holds_spans(value):
        return True
    lists = (members for members in value.values() if isinstance(members, list))
    return any(_kind(member) in _KINDS for members in lists for member in members)


def _is_full(value: Mapping[str, Any]) -> bool:
    """Whether a task is of the full export, JSON, rather than of JSON-MIN."""
    return isinstance(value.get("data"), Mapping) and "text" not in value and not holds_spans(value)


def _kind(value: Any) -> str | None:
    """The kind of a region, which is the key of its labels; None if the value is no region."""
    if not isinstance(value, Mapping) or "label" in value:
        return None
    if not {"start", "x", "points", "ranges"} & set(value):
        return None
    return next((k for k, v in value.items() if k.endswith("labels") and isinstance(v, list)), None)


def read(entries: Sequence[Entry], options: Options, path: Path | None) -> Iterator[Record]:
    """For each task a record of each of its texts that is labelled in any task of the file."""
    tasks = [_task(place, value, others) for place, value, others in _newest(entries)]
    labelled: dict[str, bool] = {}
    for task in tasks:
        if isinstance(task, Record):
            continue
        for region in task.regions:
            try:
                name = _field(region, task, options)
            except ProblemError:
                continue  # becomes the record's problem below
            labelled[name] = labelled.get(name, False) or region.is_rich
    for task in tasks:
        if isinstance(task, Record):
            yield task
        elif not labelled and task.is_min and not task.counts and len(task.data) > 1:
            fields = ", ".join(task.data)
            problem = (
                f"no region labels text in any task (fields: {fields}); fix: export spans of text"
            )
            yield Record(task.place, problem=problem)
        else:
            yield from _records(task, labelled, options)


def _newest(entries: Sequence[Entry]) -> Iterator[tuple[str, Any, int]]:
    """Each task's newest entry, and how many others it has: JSON-MIN has an entry for each annotation."""
    of_task: dict[Any, list[Entry]] = {}
    for number, (place, value) in enumerate(entries):
        is_one_of_many = "annotation_id" in value and isinstance(value.get("id"), int | str)
        of_task.setdefault(value["id"] if is_one_of_many else (number,), []).append((place, value))
    for same in of_task.values():
        place, value = max(same, key=lambda entry: _age(entry[1], "annotation_id"))
        yield place, value, len(same) - 1


def _age(annotation: Mapping[str, Any], key: str) -> tuple[bool, str, int]:
    """A key to sort annotations by: the newest comes last, but after it one marked as ground truth."""
    number = annotation.get(key)
    return (
        annotation.get("ground_truth") is True,
        str(annotation.get("updated_at") or annotation.get("created_at") or ""),
        number if isinstance(number, int) else 0,
    )


def _task(place: str, value: Mapping[str, Any], others: int) -> _Task | Record:
    counts: Counter[str] = Counter()
    try:
        if _is_full(value):
            data = value["data"]
            annotations = _objects(
                value, "annotations" if "annotations" in value else "completions"
            )
            done = [a for a in annotations if not (a.get("was_cancelled") or a.get("skipped"))]
            if not done:
                return Record(place, skipped="tasks without an annotation")
            others = len(done) - 1
            drafts = [draft for draft in _objects(value, "drafts") if draft.get("result")]
            counts.update({"drafts not read": len(drafts)} if drafts else {})
            newest = max(done, key=lambda annotation: _age(annotation, "id"))
            regions = list(_regions(_objects(newest, "result"), counts))
        else:
            data, regions = _min_fields(value, counts)
    except ProblemError as error:
        return Record(place, problem=str(error))
    if others:
        counts["further annotations of a task not read"] = others
    return _Task(place, data, regions, counts, not _is_full(value))


def _objects(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    members = value.get(key) or []
    if not isinstance(members, list) or not all(isinstance(m, Mapping) for m in members):
        raise ProblemError(f"{key!r} is {shorten(str(members))}; fix: give a list of objects")
    return members


def _regions(results: Sequence[Mapping[str, Any]], counts: Counter[str]) -> Iterator[_Region]:
    """The regions of an annotation that are spans of text; others are counted."""
    for result in results:
        kind = str(result.get("type"))
        if kind not in _KINDS:
            counts["relations not read" if kind == "relation" else f"{kind} not read"] += 1
            continue
        value = member(result, "value", "result")
        if not isinstance(value, Mapping):
            raise ProblemError(f"'value' is {shorten(str(value))}; fix: give an object")
        name = result.get("to_name")
        yield _Region(kind, value, name if isinstance(name, str) else None)


def _min_fields(
    value: Mapping[str, Any], counts: Counter[str]
) -> tuple[dict[str, Any], list[_Region]]:
    """The fields and the regions of a task in JSON-MIN, which keeps them side by side."""
    data: dict[str, Any] = {}
    regions = []
    for key, held in value.items():
        if not (isinstance(held, list) and any(map(_kind, held))):
            data |= {} if key in _MIN_KEYS else {key: held}
            continue
        for region in held:
            kind = _kind(region)
            if kind in _KINDS:
                regions.append(_Region(kind, region, None))
            elif isinstance(region, Mapping):
                counts[f"{kind or 'regions without a label'} not read"] += 1
            else:
                raise ProblemError(
                    f"span {shorten(str(region))} is not an object; fix: label it once more"
                )
    return data, regions


def _field(region: _Region | None, task: _Task, options: Options) -> str:
    """The field whose text a region belongs to; without a region, that of the task's text.

    Raises ProblemError if several come into question.
    """
    fields = [name for name, held in task.data.items() if _is_text(held)]
    if options.text_field is not None:
        name = options.text_field.removeprefix("data.")
        if name not in fields:
            raise ProblemError(
                f"no text under {name!r}; fix: text_field is one of {', '.join(fields) or 'none'}"
            )
        return region.tag if region and region.tag in fields and region.tag != name else name
    if region and region.tag in fields:
        return str(region.tag)
    if len(fields) > 1 and region:
        agreeing = [name for name in fields if _agrees(region, task.data[name])]
        fields = agreeing if len(agreeing) == 1 else fields
    if len(fields) > 1 and "text" in fields:
        return "text"
    if len(fields) != 1:
        raise ProblemError(
            f"{len(fields)} fields may be the text ({', '.join(fields) or ', '.join(task.data)}); "
            "fix: say which with text_field"
        )
    return fields[0]


def _is_text(held: Any) -> bool:
    """Whether a field holds a text, or the paragraphs of a dialogue."""
    paragraphs = isinstance(held, list) and bool(held)
    return isinstance(held, str) or (paragraphs and all(isinstance(p, Mapping) for p in held))


def _agrees(region: _Region, held: Any) -> bool:
    """Whether the words of a region stand in this field's text at its offsets."""
    try:
        return not _record("", held, [region], region.is_rich, {}).doubts
    except ProblemError:
        return False


def _records(task: _Task, labelled: Mapping[str, bool], options: Options) -> Iterator[Record]:
    by_field: dict[str, list[_Region]] = {}
    try:
        for region in task.regions:
            by_field.setdefault(_field(region, task, options), []).append(region)
        fields = [name for name in labelled if _is_text(task.data.get(name))]
        if options.text_field is not None or not fields:
            fields = [_field(None, task, options)]
    except ProblemError as error:
        yield Record(task.place, problem=str(error))
        return
    counts = task.counts
    if elsewhere := sum(len(r) for name, r in by_field.items() if name not in fields):
        counts["regions of other texts not read"] = elsewhere
    for name in fields:
        regions = by_field.get(name, [])
        try:
            yield _record(task.place, task.data[name], regions, labelled.get(name, False), counts)
        except ProblemError as error:
            yield Record(task.place, problem=str(error))
        counts = Counter()


def _record(
    place: str, held: Any, regions: Sequence[_Region], is_rich: bool, counts: Mapping[str, int]
) -> Record:
    """A record of one field's text and its regions. Raises ProblemError."""
    counts = Counter(counts)
    if isinstance(held, list):
        text, starts = _paragraphs(held)
        found = [f for r in regions for f in _spans(r, *_paragraph_offsets(r, starts), counts)]
        return record(place, text, found, counts=counts)
    found = [f for r in regions for f in _spans(r, *_offsets(r), counts)]
    if not is_rich:
        return _check_text(record(place, held, found, counts=counts), regions)
    # versions differ in whether <br> counts as a character
    texts = [_html_text(held, line_break) for line_break in ("", "\n")]
    made = [record(place, text, found, words, counts) for text, words in texts]
    return next((each for each in made if not each.doubts), made[0])


def _spans(region: _Region, start: Any, end: Any, counts: Counter[str]) -> list[RawSpan]:
    labels = region.value.get(region.kind)
    if not labels:
        counts["regions without a label not read"] += 1
        return []
    if not isinstance(labels, list):
        raise ProblemError(f"{region.kind!r} is {shorten(str(labels))}; fix: give a list of labels")
    return [raw_span(start, end, label, region.copy) for label in labels]


def _offsets(region: _Region) -> tuple[Any, Any]:
    value = region.value
    if not isinstance(value.get("start"), str):
        return value.get("start"), value.get("end")
    offsets = value.get("globalOffsets")
    if not isinstance(offsets, Mapping):
        raise ProblemError(
            f"the region of hypertext {shorten(str(value))} has no globalOffsets; fix: export again "
            "from a newer Label Studio, or label plain text"
        )
    return offsets.get("start"), offsets.get("end")


def _check_text(made: Record, regions: Sequence[_Region]) -> Record:
    """The record as it is; raises ProblemError if its text is only the path or address of one."""
    text = made.text.strip()
    fits = not made.doubts and all(span.end <= len(text) for span in made.spans)
    confirmed = fits and any(region.copy for region in regions)
    is_address = _ADDRESS.fullmatch(text) and (_FILE.fullmatch(text) or not fits)
    if not confirmed and (_PATH.fullmatch(text) or is_address):
        raise ProblemError(
            f"the text is {shorten(text)}, where a text lies and not the text itself; fix: export "
            "with the texts in the tasks (in Label Studio, upload them as a table, not as files)"
        )
    return made


def _paragraphs(held: Sequence[Mapping[str, Any]]) -> tuple[str, list[int]]:
    """The text of a dialogue, a paragraph a line, and the offset where each begins."""
    texts, starts, at = [], [], 0
    for paragraph in held:
        text = paragraph.get("text")
        if not isinstance(text, str):
            raise ProblemError(
                f"paragraph {shorten(str(paragraph))} lacks 'text'; fix: rename the field that holds it"
            )
        texts.append(text)
        starts.append(at)
        at += len(text) + 1
    return "\n".join(texts), starts


def _paragraph_offsets(region: _Region, starts: Sequence[int]) -> tuple[int, int]:
    """Where a region of a dialogue starts and ends in its text. Raises ProblemError."""

    def place(key: str) -> int:
        paragraph, offset = region.value.get(key), region.value.get(f"{key}Offset")
        if (
            not str(paragraph).isdecimal()
            or int(str(paragraph)) >= len(starts)
            or type(offset) is not int
        ):
            raise ProblemError(
                f"{key!r} of the region {shorten(str(region.value))} is in no paragraph; fix: correct it"
            )
        return starts[int(str(paragraph))] + offset

    return place("start"), place("end")


def _html_text(source: str, line_break: str) -> tuple[str, list[tuple[int, int]]]:
    """The text of HTML, as in a browser's textContent, and its words, which end where blocks end."""
    parser = _Text(line_break)
    parser.feed(source.replace("\r\n", "\n"))
    parser.close()
    text = "".join(parser.parts)
    borders = [0, *parser.borders, len(text)]
    words = [
        (begin + start, begin + end)
        for begin, after in itertools.pairwise(borders)
        for start, end in split_words(text[begin:after])
    ]
    return text, words


class _Text(HTMLParser):
    def __init__(self, line_break: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.borders: list[int] = []
        self._line_break = line_break
        self._length = 0

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
        self._length += len(data)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in _BLOCKS:
            self.borders.append(self._length)
        if tag == "br":
            self.handle_data(self._line_break)

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.borders.append(self._length)
