"""Of every reader: what a file holds is what arrives, and what is counted or refused.

The files are written here, by nothing of minisift's; each record has a word of its own, by which it is
found again among what arrives.
"""

import csv
import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import files

import minisift

WORDS = [
    "Nora",
    "Feld",
    "went",
    "to",
    "Lyon",
    ".",
    "日",
    "本",
    "😀",
    "é",
    "O",
    "a-b",
    "1990",
    "x_y",
]
LABELS = ["PER", "LOC", "event-time", "two words"]


@dataclass(frozen=True)
class Held:
    """A sentence, its spans as (first word, end word, label), and what else its record holds."""

    words: list[str]
    spans: list[tuple[int, int, str]]
    cut: bool = False
    """Whether one more span begins inside of a word."""
    others: int = 0
    """Annotations of a kind that is not read."""
    broken: bool = False
    """Whether the record cannot be used."""

    @property
    def text(self):
        return " ".join(self.words)

    @property
    def ranges(self):
        """The spans in characters."""
        starts = [len(" ".join(self.words[:at])) + (at > 0) for at in range(len(self.words))]
        return [
            (starts[first], starts[end - 1] + len(self.words[end - 1]), label)
            for first, end, label in self.spans
        ]

    @property
    def written(self):
        """The spans with the one that cuts the record's first word."""
        return self.ranges + [(1, len(self.words[0]), "PER")] * self.cut

    @property
    def things(self):
        return len(self.spans) + self.cut + self.others

    @property
    def is_flat(self):
        ends = [0, *(end for _, end, _ in sorted(self.spans))]
        starts = [first for first, _, _ in sorted(self.spans)]
        return all(first >= end for first, end in zip(starts, ends, strict=False))


@st.composite
def corpora(draw, flat=False, apart=False):
    """Sentences; flat: without overlaps; apart: without spans side by side, nor of many words."""
    sentences = []
    for number in range(draw(st.integers(1, 5))):
        words = [f"record{number}", *draw(st.lists(st.sampled_from(WORDS), max_size=6))]
        spans, at = [], 1
        while at < len(words):
            end = draw(st.integers(at + 1, len(words)))
            if draw(st.booleans()):
                spans.append((at, end, draw(st.sampled_from(LABELS))))
            at = end + apart
        if not flat and len(words) > 1 and draw(st.booleans()):
            first = draw(st.integers(1, len(words) - 1))
            spans.append((first, draw(st.integers(first + 1, len(words))), "PER"))
        mishaps = {} if flat else {"cut": draw(st.booleans()), "others": draw(st.integers(0, 2))}
        sentences.append(Held(words, spans, broken=draw(st.integers(0, 5)) == 0, **mishaps))
    return sentences


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def objects(spans):
    return [{"start": start, "end": end, "label": label} for start, end, label in spans]


def own(folder, corpus):
    records = [
        {
            "text": 7 if held.broken else held.text,
            "spans": objects(held.written),
            "seen": objects([(0, 1, "PER")] * held.others),
        }
        for held in corpus
    ]
    # where no usual list is filled it cannot be told which of two is meant
    records.append({"text": "last", "spans": objects([(0, 4, "PER")])})
    return jsonl(folder / "own.jsonl", records)


def doccano(folder, corpus):
    return jsonl(
        folder / "doccano.jsonl",
        [
            {
                "id": 3,
                "text": held.text,
                "entities": [
                    {"id": 1, "label": label, "start_offset": start, "end_offset": end}
                    for start, end, label in held.written
                ],
                "relations": [{"from_id": 1, "to_id": 1, "type": "x"}] * held.others,
                **({"text": None} if held.broken else {}),
            }
            for held in corpus
        ],
    )


def studio(folder, corpus):
    tasks = []
    for held in corpus:
        results = [
            {
                "type": "labels",
                "to_name": "text",
                "value": {
                    "start": -1 if held.broken else len(held.text[:start].encode("utf-16-le")) // 2,
                    "end": len(held.text[:end].encode("utf-16-le")) // 2,
                    "text": held.text[start:end],
                    "labels": [label],
                },
            }
            for start, end, label in held.written
        ]
        results += [{"type": "choices", "value": {"choices": ["x"]}}] * held.others
        answers = [{"result": results, "was_cancelled": held.broken and not results}]
        tasks.append({"data": {"text": held.text}, "annotations": answers})
    (folder / "studio.json").write_text(json.dumps(tasks, indent=1))
    return folder / "studio.json"


def studio_min(folder, corpus):
    records = []
    for held in corpus:
        record = {"text": held.text, "annotation_id": 1, "lead_time": 2.0}
        regions = [
            {"start": start, "end": end, "labels": [label]} for start, end, label in held.written
        ]
        regions += [{"x": 1, "y": 2, "rectanglelabels": ["A"]}] * held.others
        records.append(record | ({"entity": regions} if regions else {}))
    (folder / "min.json").write_text(json.dumps(records))
    return folder / "min.json"


def pairs(folder, corpus):
    content = [[held.text, {"entities": [list(span) for span in held.written]}] for held in corpus]
    content = [None if held.broken else pair for held, pair in zip(corpus, content, strict=True)]
    path = folder / "pairs.json"
    path.write_text(json.dumps({"classes": LABELS, "annotations": content}))
    return path


def gliner(folder, corpus):
    records = [
        {
            "tokenized_text": held.words,
            "ner": [[first, 99 if held.broken else end - 1, la] for first, end, la in held.spans],
        }
        for held in corpus
    ]
    (folder / "gliner.json").write_text(json.dumps(records))
    return folder / "gliner.json"


def brat(folder, corpus):
    (folder / "brat").mkdir(exist_ok=True)
    for file in (folder / "brat").iterdir():
        file.unlink()
    for number, held in enumerate(corpus):
        lines = [
            f"T{n}\t{label.replace(' ', '_')} {start} {end}\t{held.text[start:end]}"
            for n, (start, end, label) in enumerate(held.written, 1)
        ]
        lines += [f"R{n}\tx Arg1:T1 Arg2:T1" for n in range(held.others)]
        (folder / "brat" / f"{number}.txt").write_text(held.text + "\n")
        if not held.broken:
            (folder / "brat" / f"{number}.ann").write_text("\n".join(lines))
    return folder / "brat"


def webanno(folder, corpus):
    lines = ["#FORMAT=WebAnno TSV 3.3", "#T_SP=custom.Span|label", "#T_SP=custom.Other|x", ""]
    base = number = 0
    for index, held in enumerate(corpus, 1):
        lines += ["", f"#Text={held.text}"]
        numbered = [(number + n, *span) for n, span in enumerate(held.spans, 1)]
        number += len(numbered)
        for at, word in enumerate(held.words):
            inside = [
                f"{label}[{n}]".replace("_", "\\_")
                for n, first, end, label in numbered
                if first <= at < end
            ]
            begin = base + len(" ".join([*held.words[:at], ""][: at + 1]).encode("utf-16-le")) // 2
            end = begin + len(word.encode("utf-16-le")) // 2
            shown = "broken" if held.broken and at == 0 else word
            other = "x" if at < held.others else "_"
            lines.append(
                f"{index}-{at + 1}\t{begin}-{end}\t{shown}\t{'|'.join(inside) or '_'}\t{other}\t"
            )
        base += len(held.text.encode("utf-16-le")) // 2 + 1
    (folder / "webanno.tsv").write_text("\n".join(lines))
    return folder / "webanno.tsv"


def docbin(folder, corpus):
    spacy = pytest.importorskip("spacy")
    vocab, docs = spacy.blank("xx").vocab, []
    for held in corpus:
        spaces = [True] * (len(held.words) - 1) + [False]
        doc = spacy.tokens.Doc(vocab, words=held.words, spaces=spaces)
        if not held.broken:
            doc.spans["sc"] = [
                spacy.tokens.Span(doc, first, end, label=label) for first, end, label in held.spans
            ]
        doc.spans["rest"] = [spacy.tokens.Span(doc, 0, 1, label="X")] * held.others
        docs.append(doc)
    spacy.tokens.DocBin(docs=docs).to_disk(folder / "spans.spacy")
    return folder / "spans.spacy"


def dataset(folder, corpus):
    datasets = pytest.importorskip("datasets")
    rows = [
        {"text": "" if held.broken and held.written else held.text, "spans": objects(held.written)}
        for held in corpus
    ]
    text = datasets.Value("string")
    span = {"start": datasets.Value("int64"), "end": datasets.Value("int64"), "label": text}
    features = datasets.Features({"text": text, "spans": [span]})
    return datasets.Dataset.from_list(rows, features=features)


def everything(held):
    return held.things


def spans_alone(held):
    return len(held.spans)


def spans_and_others(held):
    return len(held.spans) + held.others


OFFSETS = {
    "own": (own, everything, {}),
    "doccano": (doccano, everything, {}),
    "Label Studio": (studio, everything, {}),
    "Label Studio, JSON-MIN": (studio_min, everything, {}),
    "pairs": (pairs, lambda held: len(held.written), {}),
    "GLiNER": (gliner, spans_alone, {}),
    "brat": (brat, everything, {}),
    "WebAnno": (
        webanno,
        lambda h: len(h.spans) + min(h.others, len(h.words)),
        {"tag_column": "label"},
    ),
    "DocBin": (docbin, spans_and_others, {"spans_key": "sc"}),
    "Dataset": (dataset, lambda held: len(held.written), {}),
}


@pytest.mark.parametrize("policy", ["snap", "skip"])
@pytest.mark.parametrize("shape", OFFSETS)
@files(60, derandomize=True)
@given(corpus=corpora())
def test_spans_arrive_or_are_counted(tmp_path, shape, policy, corpus):
    write, things, options = OFFSETS[shape]
    if shape in ("DocBin", "brat") and all(held.broken for held in corpus):
        return  # a file without any group of spans, a folder without any .ann: errors
    found = minisift.read(write(tmp_path, corpus), on_error="skip", on_misaligned=policy, **options)
    counts = found.counts
    found = found[: -(shape == "own") or None]
    arrived = {example.text.split()[0]: example for example in found}
    assert len(arrived) == len(found)
    refused = [held for held in corpus if held.words[0] not in arrived]
    assert all(held.broken for held in refused)
    spans = sum(len(example.spans) for example in found)
    lost = sum(n for what, n in counts.items() if what.endswith(("dropped", "not read")))
    if shape in ("WebAnno", "DocBin"):  # count what they do not read of refused records too
        refused = [replace(held, others=0) for held in refused]
    assert spans + lost + sum(map(things, refused)) == sum(map(things, corpus))
    for held in corpus:
        if held.is_flat and not held.cut and not held.broken:
            example = arrived[held.words[0]]
            assert example.text == held.text
            label = {"event-time": "event-time", "two words": "two_words"}.get
            wanted = [(a, b, label(la, la) if shape == "brat" else la) for a, b, la in held.ranges]
            assert [(s.start, s.end, s.label) for s in example.spans] == sorted(wanted)


# How files write the tags of a span of so many words, each for the first, further, last and only word.
SCHEMES = {
    "IOB2": ("B-{}", "I-{}", "I-{}", "B-{}", "O"),
    "IOBES": ("B-{}", "I-{}", "E-{}", "S-{}", "O"),
    "BILOU": ("B-{}", "I-{}", "L-{}", "U-{}", "O"),
    "BMES": ("B-{}", "M-{}", "E-{}", "S-{}", "O"),
    "BMEWO": ("B-{}", "M-{}", "E-{}", "W-{}", "O"),
    "lower case": ("b-{}", "i-{}", "i-{}", "b-{}", "o"),
    "underscore": ("B_{}", "I_{}", "I_{}", "B_{}", "O"),
    "suffix": ("{}-B", "{}-I", "{}-I", "{}-B", "O"),
    "IO": ("{}",) * 4 + ("O",),
    "IO with I-": ("I-{}",) * 4 + ("O",),
}


def tags_of(held, scheme):
    first, further, last, only, outside = SCHEMES[scheme]
    tags = [outside] * len(held.words)
    for begin, end, label in held.spans:
        tags[begin:end] = [form.format(label) for form in [first] + [further] * (end - begin - 1)]
        tags[end - 1] = (only if end - begin == 1 else last).format(label)
    return tags


def two_columns(folder, rows):
    lines = [
        f"{word}\t{tag}\n"
        for words, tags in rows
        for word, tag in [*zip(words, tags, strict=True), ("", "")]
    ]
    (folder / "two.conll").write_text("".join(line.lstrip("\t") for line in lines))
    return folder / "two.conll"


def numbered(folder, rows):
    content = "".join(
        f"# sent_id = {n}\n"
        + "".join(f"{at}\t{w}\t{t}\t-\t-\n" for at, (w, t) in enumerate(zip(*row, strict=True), 1))
        + "\n"
        for n, row in enumerate(rows)
    )
    # one sentence more, so that there is a count to see
    (folder / "numbered.iob2").write_text("1\tno\tO\t-\t-\n2\tmore\tO\t-\t-\n\n" + content)
    return folder / "numbered.iob2"


def with_header(folder, rows):
    content = "".join(
        "".join(f"{word}\tNN\t{tag}\n" for word, tag in zip(*row, strict=True)) + "\n"
        for row in rows
    )
    (folder / "header.tsv").write_text(f"TOKEN\tPOS\tNE\n{content}")
    return folder / "header.tsv"


def table(folder, rows):
    with (folder / "words.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Sentence #", "Word", "POS", "Tag"])
        for number, (words, tags) in enumerate(rows):
            for at, (word, tag) in enumerate(zip(words, tags, strict=True)):
                writer.writerow([f"Sentence: {number}" if at == 0 else "", word, "NN", tag])
    return folder / "words.csv"


def json_words(folder, rows):
    return jsonl(folder / "w.jsonl", [{"tokens": words, "ner_tags": tags} for words, tags in rows])


def numbered_json(folder, rows):
    names = sorted({tag for _, tags in rows for tag in tags})
    (folder / "label.json").write_text(json.dumps({name: at for at, name in enumerate(names)}))
    return jsonl(
        folder / "n.json",
        [{"tokens": words, "tags": [names.index(tag) for tag in tags]} for words, tags in rows],
    )


def dataset_of_words(folder, rows):
    datasets = pytest.importorskip("datasets")
    names = sorted({tag for _, tags in rows for tag in tags})
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=names)),
        }
    )
    content = {"tokens": [words for words, _ in rows], "ner_tags": [tags for _, tags in rows]}
    return datasets.Dataset.from_dict(content, features=features)


TAGGED = (
    two_columns, numbered, with_header, table, json_words, numbered_json, dataset_of_words,
)  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("write", TAGGED)
@files(15, derandomize=True)
@given(corpus=corpora(flat=True, apart=True))
def test_tags_arrive_in_every_spelling(tmp_path, write, scheme, corpus):
    """Spans have a word between them, so that IO can tell them apart."""
    rows = [(held.words, tags_of(held, scheme)) for held in corpus]
    # enough of a file to see how it is written
    rows += [(["Nora", "Feld", "went", "x"], tags_of(Held(list("abcd"), [(0, 3, "PER")]), scheme))]
    rows += [(["so", "it", "went"], tags_of(Held(list("abc"), [(1, 2, "LOC")]), scheme))] * 3
    found = minisift.read(write(tmp_path, rows))
    assert not found.counts
    for example, held in zip(found[write is numbered :], corpus, strict=False):
        assert [example.text[a:b] for a, b in example.words] == held.words
        assert [(s.start, s.end, s.label) for s in example.spans] == held.ranges
    assert len(found) == len(rows) + (write is numbered)
