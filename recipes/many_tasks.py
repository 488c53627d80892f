"""Span tasks without end, for teaching a model to read from demonstrations what a task is.

`Corpora` reads public span data and makes `Episode`s of it: labelled sentences of one task, in the order of
a prompt. What a span is, comes from the data (names, slots, events), from parts of speech and dependencies
(phrases, what somebody thinks of what), or from a rule drawn at random over plain text (endings, shapes, small
lists of words). Labels are named as people name them, otherwise, or by made-up words; some are left
out. So there is nothing to go by but the demonstrations.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import minisift
from minisift import Example

Found = tuple[int, int, str]
"""First word, word after the last, label."""
MOST = 64
"""Sentences that an episode has at most."""
FEWEST = 6
"""Sentences of an episode that hold spans, at least."""


@dataclass(frozen=True)
class Token:
    """A word with its part of speech, features and place in the sentence's tree (-1: its root)."""

    form: str
    lemma: str
    upos: str
    features: str
    head: int
    relation: str


@dataclass(frozen=True)
class Sentence:
    """Words, the spans of its data set, and its syntax where that is known."""

    words: tuple[str, ...]
    spans: tuple[Found, ...] = ()
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Episode:
    """Labelled sentences of one task. names: how the prompt calls its labels."""

    examples: Sequence[Example]
    names: dict[str, str]
    has_instruction: bool


SETS = {
    "wikigold": "wikigold.conll",
    "tweets": "btc.conll",
    "reports": "re3d.conll",
    "loans": "sec.conll",
    "anatomy": "anem.conll",
    "genes": "bio-bc2gm.conll",
    "diseases": "bio-ncbi-disease.conll",
    "ai": "cross-ai.conll",
    "literature": "cross-literature.conll",
    "music": "cross-music.conll",
    "politics": "cross-politics.conll",
    "science": "cross-science.conll",
    "novels": "litbank-entities.conll",
    "happenings": "litbank-events.conll",
    "drugs": "phee-triggers.jsonl",
    "patients": "phee-arguments.jsonl",
    "playlists": "snips-AddToPlaylist.jsonl",
    "restaurants": "snips-BookRestaurant.jsonl",
    "weather": "snips-GetWeather.jsonl",
    "listening": "snips-PlayMusic.jsonl",
    "ratings": "snips-RateBook.jsonl",
    "works": "snips-SearchCreativeWork.jsonl",
    "screenings": "snips-SearchScreeningEvent.jsonl",
}
"""Files of span data; that of LINNAEUS is left out, whose licence is not clear."""
NAMES = frozenset("wikigold tweets reports loans ai literature politics science novels".split())
"""Sets with names of people, places and the like: drawn twice as often, since that is what people label most."""
HELD_OUT = ("music", "restaurants", "patients")
"""Sets of which no episode is made, so that what was trained can be judged by them."""
SYNTAX = "ud-ewt.conllu"

SYNONYMS = {
    "person": ("people", "name of a person", "human", "who", "individual", "PER", "Person"),
    "organization": ("company", "organisation", "institution", "ORG", "group", "Organization"),
    "organisation": ("organization", "company", "institution", "ORG", "body"),
    "location": ("place", "LOC", "where", "geography", "Location", "site"),
    "gpe": ("place", "country or city", "GPE", "location"),
    "miscellaneous": ("other", "MISC", "other name", "misc"),
    "country": ("nation", "state", "COUNTRY"),
    "event": ("happening", "occasion", "EVENT", "what happens"),
    "gene": ("protein", "GENE", "gene or protein"),
    "disease": ("illness", "condition", "disorder", "DISEASE"),
    "timerange": ("time", "when", "date", "TIME"),
    "city": ("town", "CITY", "municipality"),
    "artist": ("musician", "performer", "ARTIST"),
    "object type": ("kind", "type", "kind of thing"),
}
"""What else people call the labels of public data; these stand in small letters."""
SYLLABLES = "ba be bo da do du fa fi ga go ka ki la lo ma mi na no pa po ra ro sa so ta ti va vo za zu".split()
GOOD = frozenset(
    "good great nice excellent amazing wonderful best friendly delicious fresh perfect lovely helpful "
    "clean fantastic awesome beautiful fast reasonable professional honest happy tasty cheap quick "
    "comfortable favorite favourite pleasant reliable superb knowledgeable polite fair warm cozy fun".split()
)
BAD = frozenset(
    "bad terrible awful horrible worst rude slow dirty cold overpriced expensive poor disappointing "
    "disgusting wrong old broken unprofessional dishonest noisy small boring stale greasy unfriendly "
    "late sad mediocre bland nasty useless ugly crowded tiny weak".split()
)


class Corpora:
    """The data of a folder, read once, and episodes drawn from it."""

    def __init__(self, folder: Path) -> None:
        self.sets = {
            name: _read(folder / file) for name, file in SETS.items() if name not in HELD_OUT
        }
        self.parsed = list(_read_syntax(folder / SYNTAX))
        self._pools = [*self.sets.values(), self.parsed]
        self._set_weights = [
            len(sentences) ** 0.5 * (2 if name in NAMES else 1)
            for name, sentences in self.sets.items()
        ]
        self._pool_weights = [len(sentences) ** 0.5 for sentences in self._pools]

    def episode(self, rng: random.Random) -> Episode:
        """One task with some dozens of sentences, few or most of which hold no span."""
        while True:
            make = rng.choices((self._annotated, self._syntactic, self._ruled), (12, 4, 4))[0]
            sentences = make(rng)
            if rng.random() < 0.1:
                sentences = _joined(sentences)
            sentences = _thinned(sentences, rng)
            if sum(bool(sentence.spans) for sentence in sentences) >= FEWEST:
                return _episode(sentences, rng, is_named=make != self._ruled)

    def _annotated(self, rng: random.Random) -> list[Sentence]:
        """Sentences of a data set with its spans, often without some of its labels."""
        pool = rng.choices(list(self.sets.values()), self._set_weights)[0]
        sentences = rng.sample(pool, min(4 * MOST, len(pool)))
        labels = sorted({label for sentence in sentences for *_, label in sentence.spans})
        kept = set(labels)
        if len(labels) > 1 and rng.random() < 0.5:
            kept = set(rng.sample(labels, rng.randint(1, len(labels) - 1)))
        merged = dict(zip(labels, labels, strict=True))
        if len(kept) > 2 and rng.random() < 0.1:
            merged = dict.fromkeys(labels, "_".join(sorted(kept)[:2]))
        return [
            replace(s, spans=tuple((a, b, merged[x]) for a, b, x in s.spans if x in kept))
            for s in sentences
        ]

    def _syntactic(self, rng: random.Random) -> list[Sentence]:
        """Sentences with what syntax tells apart."""
        rule = rng.choice((_chunks, _chunks, _arguments, _words_of_kinds, _opinions, _events))(rng)
        count = len(self.parsed) if rule.is_rare else min(2 * MOST, len(self.parsed))
        sentences = rng.sample(self.parsed, count)
        return [replace(s, spans=tuple(_flat(rule.find(s)))) for s in sentences if len(s.words) > 2]

    def _ruled(self, rng: random.Random) -> list[Sentence]:
        """Sentences with what a rule of no sense finds in their words."""
        pool = rng.choices(self._pools, self._pool_weights)[0]
        sentences = rng.sample(pool, min(8 * MOST, len(pool)))
        finders: list[Callable[[Sequence[str], int], int]] = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            finders.append(
                rng.choice((_affix, _shape, _lexicon, _lexicon, _neighbour))(sentences, rng)
            )
        labels = rng.sample(SYLLABLES, len(finders))
        return [
            replace(s, spans=tuple(_flat(_matches(s.words, finders, labels)))) for s in sentences
        ]


def _read(path: Path) -> list[Sentence]:
    found = []
    for example in minisift.read(path, on_error="skip", on_misaligned="skip"):
        if 3 <= len(example.words) <= 80:
            words = tuple(example.text[a:b] for a, b in example.words)
            found.append(Sentence(words, tuple(example.word_spans())))
    return found


def _read_syntax(path: Path) -> Iterator[Sentence]:
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        rows = [line.split("\t") for line in block.splitlines() if line[:1].isdigit()]
        rows = [row for row in rows if row[0].isdigit()]
        if 3 <= len(rows) <= 60:
            tokens = tuple(
                Token(row[1], row[2], row[3], row[5], int(row[6]) - 1, row[7]) for row in rows
            )
            yield Sentence(tuple(token.form for token in tokens), (), tokens)


# ---- what syntax tells apart


@dataclass(frozen=True)
class Rule:
    """Finds spans in parsed sentences. is_rare: whether most sentences hold none."""

    find: Callable[[Sentence], Iterable[Found]]
    is_rare: bool = False


_NOMINAL = {"DET": 0, "ADJ": 0, "NUM": 0, "NOUN": 1, "PROPN": 1, "PRON": 1}


def _chunks(rng: random.Random) -> Rule:
    """Runs of words that belong together: noun groups, verb groups, prepositions, ..."""
    labels = rng.choice(
        (
            ("noun phrase", "verb phrase", "preposition", "adverb", "adjective"),
            ("NP", "VP", "PP", "ADVP", "ADJP"),
            ("nominal", "verbal", "link", "manner", "quality"),
        )
    )
    chosen = set(rng.sample(range(5), rng.choice((1, 2, 3, 5, 5, 5))))

    def kind(token: Token, before: int | None) -> int | None:
        if token.upos in _NOMINAL and not (
            token.upos == "ADJ" and token.relation in ("root", "xcomp")
        ):
            return 0
        if token.upos in ("VERB", "AUX") or (token.upos == "PART" and token.lemma in ("to", "not")):
            return 1
        if token.upos == "ADP":
            return 2
        if token.upos == "ADV":
            return 1 if before == 1 and token.relation == "advmod" else 3
        return 4 if token.upos == "ADJ" else None

    def find(sentence: Sentence) -> Iterator[Found]:
        begin, current = 0, None
        for at, token in enumerate([*sentence.tokens, None]):
            found = kind(token, current) if token else None
            splits = found == 0 and token is not None and token.upos in ("DET", "PRON")
            if found != current or splits:
                if current in chosen and begin < at:
                    yield begin, at, labels[current]
                begin, current = at, found

    return Rule(find)


def _arguments(rng: random.Random) -> Rule:
    """Subjects, objects and the like, with all that hangs on them."""
    named = {
        "nsubj": "subject", "obj": "object", "obl": "circumstance", "nmod": "modifier",
        "xcomp": "complement", "advcl": "clause", "conj": "coordinate", "appos": "apposition",
        "vocative": "address", "compound": "compound", "amod": "attribute", "advmod": "adverbial",
    }  # fmt: skip
    chosen = set(rng.sample(sorted(named), rng.choice((1, 2, 3))))

    def find(sentence: Sentence) -> Iterator[Found]:
        for at, token in enumerate(sentence.tokens):
            relation = token.relation.split(":")[0]
            if relation in chosen:
                words = sorted(_below(sentence.tokens, at))
                if words[-1] - words[0] + 1 == len(words) <= 8:
                    yield words[0], words[-1] + 1, named[relation]

    return Rule(find)


def _below(tokens: Sequence[Token], at: int) -> set[int]:
    found, size = {at}, 0
    while len(found) > size:
        size = len(found)
        found |= {i for i, t in enumerate(tokens) if t.head in found and t.upos != "PUNCT"}
    return found


def _words_of_kinds(rng: random.Random) -> Rule:
    """Single words of some parts of speech or forms."""
    kinds: dict[str, Callable[[Token], bool]] = {
        "noun": lambda t: t.upos == "NOUN",
        "proper noun": lambda t: t.upos == "PROPN",
        "verb": lambda t: t.upos == "VERB",
        "adjective": lambda t: t.upos == "ADJ",
        "adverb": lambda t: t.upos == "ADV",
        "pronoun": lambda t: t.upos == "PRON",
        "number": lambda t: t.upos == "NUM",
        "auxiliary": lambda t: t.upos == "AUX",
        "conjunction": lambda t: t.upos in ("CCONJ", "SCONJ"),
        "determiner": lambda t: t.upos == "DET",
        "past tense": lambda t: "Tense=Past" in t.features and t.upos == "VERB",
        "plural": lambda t: "Number=Plur" in t.features and t.upos == "NOUN",
        "participle": lambda t: "VerbForm=Part" in t.features or "VerbForm=Ger" in t.features,
        "comparison": lambda t: "Degree=Cmp" in t.features or "Degree=Sup" in t.features,
        "infinitive": lambda t: "VerbForm=Inf" in t.features,
        "possessive": lambda t: "Poss=Yes" in t.features,
    }
    chosen = rng.sample(sorted(kinds), rng.choice((1, 1, 2, 3, 4)))

    def find(sentence: Sentence) -> Iterator[Found]:
        for at, token in enumerate(sentence.tokens):
            if label := next((name for name in chosen if kinds[name](token)), None):
                yield at, at + 1, label

    return Rule(find)


def _opinions(rng: random.Random) -> Rule:
    """What somebody finds good or bad, or the words that say so."""
    wants_words = rng.random() < 0.25
    labels = rng.choice((("positive", "negative"), ("good", "bad"), ("praise", "complaint")))

    def find(sentence: Sentence) -> Iterator[Found]:
        tokens = sentence.tokens
        for at, token in enumerate(tokens):
            lemma = token.lemma.lower()
            polarity = 0 if lemma in GOOD else 1 if lemma in BAD else None
            if polarity is None or token.upos not in ("ADJ", "ADV"):
                continue
            is_denied = any(t.head == at and t.lemma in ("not", "never", "no") for t in tokens)
            label = labels[polarity ^ is_denied]
            if wants_words:
                yield at, at + 1, label
                continue
            thing = (
                token.head
                if token.relation == "amod"
                else next(
                    (i for i, t in enumerate(tokens) if t.head == at and t.relation == "nsubj"),
                    None,
                )
            )
            if thing is None or thing < 0 or tokens[thing].upos != "NOUN":
                continue
            first = thing
            while (
                first
                and tokens[first - 1].head == thing
                and tokens[first - 1].relation == "compound"
            ):
                first -= 1
            yield first, thing + 1, label

    return Rule(find, is_rare=True)


_EVENTS = {
    "attack": "attack kill bomb shoot fight strike invade hit destroy murder terrorism war",
    "movement": "go come leave arrive travel move return fly walk drive visit enter",
    "speech": "say tell ask speak talk call answer claim report announce mention explain",
    "purchase": "buy sell pay order purchase cost spend charge rent sale payment",
    "thought": "think believe know understand remember expect hope consider wonder decide",
    "change": "become change grow increase improve reduce rise fall drop begin start end stop",
    "creation": "make build create produce write design develop form cook paint",
    "giving": "give send offer provide bring deliver share receive get take gift",
    "seeing": "see look watch find notice read hear listen feel discover",
    "meeting": "meet join marry agree invite gather meeting visit conference party",
    "work": "work serve help manage lead run hire employ fix repair clean",
    "care": "love like enjoy hate prefer want need wish thank recommend",
}


def _events(rng: random.Random) -> Rule:
    """Words that name what happens, of some kinds."""
    chosen = rng.sample(sorted(_EVENTS), rng.choice((1, 2, 3, 4, 6)))
    kinds = {lemma: kind for kind in chosen for lemma in _EVENTS[kind].split()}

    def find(sentence: Sentence) -> Iterator[Found]:
        for at, token in enumerate(sentence.tokens):
            kind = kinds.get(token.lemma.lower())
            if kind and token.upos in ("VERB", "NOUN"):
                last = at + 1
                has_particle = last < len(sentence.tokens) and (
                    sentence.tokens[last].head == at
                    and sentence.tokens[last].relation == "compound:prt"
                )
                yield at, last + has_particle, kind

    return Rule(find, is_rare=len(chosen) < 4)


# ---- what a rule of no sense finds: how many words from a place on, 0 for none

Finder = Callable[[Sequence[str], int], int]


def _affix(sentences: Sequence[Sentence], rng: random.Random) -> Finder:
    """Words that begin or end alike."""
    words = [w.lower() for s in sentences for w in s.words if len(w) > 4 and w.isalpha()]
    size = rng.choice((1, 2, 2, 3))
    if rng.random() < 0.5:
        part = rng.choice(words or ["a"])[-size:]
        return lambda line, at: int(len(line[at]) > 3 and line[at].lower().endswith(part))
    part = rng.choice(words or ["a"])[:size]
    return lambda line, at: int(len(line[at]) > 3 and line[at].lower().startswith(part))


def _shape(sentences: Sequence[Sentence], rng: random.Random) -> Finder:
    """Words, or runs of words, that look alike."""
    length = rng.randint(7, 11)
    tests: Sequence[Callable[[str], bool]] = (
        lambda word: word[:1].isupper(),
        lambda word: word.isupper() and len(word) > 1,
        lambda word: any(letter.isdigit() for letter in word),
        lambda word: len(word) >= length,
        lambda word: "-" in word and len(word) > 2,
        lambda word: len(word) == 2 and word.isalpha(),
        lambda word: not any(letter.isalnum() for letter in word),
        lambda word: re.search(r"(.)\1", word.lower()) is not None and word.isalpha(),
    )
    test, joins = rng.choice(tests), rng.random() < 0.5

    def find(line: Sequence[str], at: int) -> int:
        count = 0
        while at + count < len(line) and test(line[at + count]) and (joins or not count):
            count += 1
        return count

    return find


def _lexicon(sentences: Sequence[Sentence], rng: random.Random) -> Finder:
    """A small list of words, with what stands before or behind them now and then."""
    counts = Counter(w.lower() for s in sentences for w in set(s.words) if w.isalpha())
    common = [word for word, count in counts.items() if 4 <= count <= len(sentences) // 4]
    listed = set(rng.sample(sorted(common), min(len(common), rng.choice((1, 2, 3, 5, 8)))))
    more = rng.choice((0, 0, 0, 1))

    def find(line: Sequence[str], at: int) -> int:
        fits = line[at].lower() in listed and at + more < len(line)
        return 1 + more if fits else 0

    return find


def _neighbour(sentences: Sequence[Sentence], rng: random.Random) -> Finder:
    """What follows some word, or stands before it."""
    counts = Counter(w.lower() for s in sentences for w in set(s.words))
    mark = rng.choice([word for word, _ in counts.most_common(40)])
    size, is_before = rng.choice((1, 1, 2)), rng.random() < 0.3

    def find(line: Sequence[str], at: int) -> int:
        if is_before:
            return int(at + 1 < len(line) and line[at + 1].lower() == mark)
        fits = at and line[at - 1].lower() == mark and at + size <= len(line)
        return size if fits else 0

    return find


def _matches(
    words: Sequence[str], finders: Sequence[Finder], labels: Sequence[str]
) -> Iterator[Found]:
    for at in range(len(words)):
        for find, label in zip(finders, labels, strict=True):
            if count := find(words, at):
                yield at, at + count, label
                break


def _flat(found: Iterable[Found]) -> Iterator[Found]:
    """The spans in order, less those that overlap one before."""
    cursor = 0
    for first, end, label in sorted(found):
        if first >= cursor:
            yield first, end, label
            cursor = end


# ---- from sentences to an episode


def _joined(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Two sentences as one text, each time."""
    found = []
    for one, two in zip(sentences[::2], sentences[1::2], strict=False):
        by = len(one.words)
        spans = (*one.spans, *((first + by, end + by, label) for first, end, label in two.spans))
        found.append(Sentence(one.words + two.words, spans))
    return found


def _thinned(sentences: Sequence[Sentence], rng: random.Random) -> list[Sentence]:
    """So many sentences as an episode may have, with a share of those that hold no span."""
    share = rng.choice((0.1, 0.25, 0.5, 1.0))
    full = [sentence for sentence in sentences if sentence.spans]
    empty = [sentence for sentence in sentences if not sentence.spans]
    most = round(len(full) * share / (1.001 - share)) if share < 1 else len(empty)
    kept = full + empty[:most]
    rng.shuffle(kept)
    return kept[:MOST]


def _episode(sentences: Sequence[Sentence], rng: random.Random, is_named: bool) -> Episode:
    labels = sorted({label for sentence in sentences for *_, label in sentence.spans})
    names = dict(zip(labels, _names(labels, rng, is_named), strict=True))
    is_spaced = rng.random() < 0.5
    examples = [_example(sentence, is_spaced) for sentence in sentences]
    return Episode(examples, names, rng.random() < 0.25)


def _example(sentence: Sentence, is_spaced: bool) -> Example:
    """is_spaced: whether a blank stands between any two words, as tokenized data has it."""
    ranges: list[tuple[int, int]] = []
    text = ""
    for word in sentence.words:
        if text and (is_spaced or not (_JOINS_LEFT.match(word) or text[-1] in "([$#@")):
            text += " "
        ranges.append((len(text), len(text) + len(word)))
        text += word
    spans = tuple(
        minisift.Span(ranges[first][0], ranges[end - 1][1], label)
        for first, end, label in sentence.spans
    )
    return Example(text, spans, tuple(ranges))


_JOINS_LEFT = re.compile(r"[,.;:!?)\]%]+$|['’](s|d|m|re|ve|ll|t)$|n['’]t$", re.IGNORECASE)


def _names(labels: Sequence[str], rng: random.Random, is_named: bool) -> list[str]:
    """How a prompt calls labels: as data does, as people do, or so that it tells nothing."""
    style = rng.choices(("spoken", "other", "raw", "made up", "letters"), (40, 15, 10, 20, 15))[0]
    if not is_named or style in ("made up", "letters"):
        if style == "letters":
            letters = rng.sample("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 26)
            form = rng.choice(("{}", "type {}", "label {}", "class {}"))
            return [form.format(letters[at % 26] + "'" * (at // 26)) for at in range(len(labels))]
        made: set[str] = set()
        while len(made) < len(labels):
            made.add("".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))))
        return rng.sample(sorted(made), len(labels))
    names = []
    for label in labels:
        spoken = " ".join(re.sub(r"[_\-]", " ", label).split()).lower()
        if style == "other":
            spoken = rng.choice(SYNONYMS.get(spoken, (spoken.title(), spoken.replace(" ", "_"))))
        names.append(label if style == "raw" or spoken in names else spoken)
    return names if len(set(names)) == len(names) else list(labels)
