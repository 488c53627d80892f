"""A tag for each word from a model's hidden states: decoders as encoders, and encoders.

A decoder is trained as by `fit` (NF4, LoRA, packed rows), its head for the next token replaced by
one for tags; its causal mask is kept, or removed from all or some layers (arXiv 2401.14556), or it reads
each text twice (arXiv 2402.15449). An encoder is trained whole. A word is tagged at its last token, where a
causal model has read all of it, or all of its sentence where it reads that again.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from minisift.data.examples import Example, Span
from minisift.data.reading import some_examples
from minisift.data.tags import decode, encode, mended
from minisift.models.device import place
from minisift.models.loading import add_lora, configuration, load_base, settle
from minisift.models.source import Source
from minisift.scoring.evaluation import Report, score
from minisift.training import attention, sharding
from minisift.training.dev_set import chance, evaluation_sample
from minisift.training.loop import Training
from minisift.training.preparation import gather
from minisift.training.settings import Settings, make_settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from minisift.training.settings import Options

_TOKENS = 2048
"""What goes through the model at once."""
_ENCODER = 1e-4
"""The learning rate of an encoder: all of its weights are trained."""


@dataclass(frozen=True)
class TagRow:
    """A sentence: token ids, the place of each word's last token, and the class of each word."""

    ids: list[int]
    places: list[int]
    classes: list[int]


class TagObjective(torch.nn.Module):
    """A model with a head for tags; answers a batch of sentences with its loss, summed over words.

    Keeps `protocols.Objective`. rows: a decoder's attention inside of rows (`attention.use`), in
    training and in labelling; an encoder has none.
    """

    def __init__(
        self, model: Any, classes: int, rows: attention.RowAttention | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self._rows = rows
        size = model.config.get_text_config().hidden_size
        self.head = torch.nn.Linear(size, classes, device=model.device)

    def prepare(self, training: bool) -> None:
        """Nothing: the model attends inside of rows in labelling as well."""

    @staticmethod
    def targets(row: TagRow) -> int:
        return len(row.places)

    def collate(self, rows: Sequence[TagRow], device: torch.device | str = "cpu") -> dict[str, Any]:
        """Rows end to end for a decoder, padded for an encoder, whose positions may be its own.

        rows, places: [words], where in the states each word's tag is read; classes: [words].
        """
        lengths = [len(row.ids) for row in rows]
        one_sequence = self._rows is not None
        before = [0, *itertools.accumulate(lengths)] if one_sequence else [0] * len(rows)
        places = [at + place for row, at in zip(rows, before, strict=False) for place in row.places]
        owners = [0 if one_sequence else i for i, row in enumerate(rows) for _ in row.places]
        inputs: dict[str, Any]
        if one_sequence:
            ids = [token for row in rows for token in row.ids]
            positions = [place for length in lengths for place in range(length)]
            inputs = {"input_ids": [ids], "position_ids": [positions]}
        else:
            longest = max(lengths)
            inputs = {
                "input_ids": [row.ids + [0] * (longest - len(row.ids)) for row in rows],
                "attention_mask": [[1] * n + [0] * (longest - n) for n in lengths],
            }
        words = {
            "rows": owners,
            "places": places,
            "classes": [c for row in rows for c in row.classes],
        }
        tensors = {
            name: torch.tensor(value, dtype=torch.long, device=device)
            for name, value in {**inputs, **words}.items()
        }
        return {**tensors, "lengths": lengths}

    def logits(self, rows: Any, places: Any, lengths: Sequence[int], **inputs: Any) -> Any:
        """Of a batch without its classes: [words, classes]."""
        model = self.model
        backbone = model.get_base_model() if hasattr(model, "get_base_model") else model
        if self._rows is not None:
            self._rows.lengths = lengths
            backbone = backbone.base_model
            inputs["use_cache"] = False
        return self.head(backbone(**inputs).last_hidden_state[rows, places].float())

    def forward(self, classes: torch.Tensor, **batch: Any) -> Any:
        return torch.nn.functional.cross_entropy(self.logits(**batch), classes, reduction="sum")


class TokenClassifier:
    """Labels spans by a tag a word (IOB2). Made by `fit_token_classifier`.

    An I that continues no span of its label begins one. Words beyond the model's input get no
    span, and are counted in `words_cut`.
    """

    def __init__(
        self, objective: TagObjective, tokenizer: Any, tags: Sequence[str], reads: int = 1
    ) -> None:
        self.tags = list(tags)
        self.words_cut = 0
        self._objective = objective
        self._tokenizer = tokenizer
        config = objective.model.config.get_text_config()
        self._reads = reads
        self._longest = min(8192, getattr(config, "max_position_embeddings", 8192)) // reads

    def row(self, example: Example, classes: Sequence[int] = ()) -> TagRow:
        """The tokens of a text, and the words that fit into the model's input."""
        text = example.text.encode(errors="replace").decode()  # lone surrogates are no UTF-8
        encoded = self._tokenizer(text, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        places: list[int] = []
        tokens = [(at, a, b) for at, (a, b) in enumerate(offsets) if b > a]
        index = 0
        for _, end in example.words:
            while index < len(tokens) - 1 and tokens[index + 1][1] < end:
                index += 1
            if not tokens or tokens[index][0] >= self._longest:
                break
            places.append(tokens[index][0])
        self.words_cut += len(example.words) - len(places)
        shown = list(classes or [0] * len(places))[: len(places)]
        ids = ids[: self._longest]
        before = (self._reads - 1) * len(ids)
        return TagRow(ids * self._reads, [before + place for place in places], shown)

    def predict(self, texts: Iterable[str | Example]) -> list[list[Span]]:
        """The spans of each text; a span's score is the probability of its least likely tag."""
        self.words_cut = 0
        self._objective.eval()
        examples = [Example(text) if isinstance(text, str) else text for text in texts]
        answers: list[list[Span]] = [[] for _ in examples]
        rows = [self.row(example) for example in examples]
        order = sorted(
            (i for i, row in enumerate(rows) if row.places), key=lambda i: len(rows[i].ids)
        )
        device = self._objective.head.weight.device
        for group in _groups(order, rows):
            batch = self._objective.collate([rows[index] for index in group], device)
            del batch["classes"]
            with torch.inference_mode():
                shares = self._objective.logits(**batch).softmax(-1).cpu()
            for index, share in zip(
                group, shares.split([len(rows[index].places) for index in group]), strict=True
            ):
                likely, best = share.max(-1)
                answers[index] = self._spans(examples[index], likely.tolist(), best.tolist())
        return answers

    def evaluate(self, examples: Any) -> Report:
        """Span precision, recall and F1, as `Labeler.evaluate`."""
        examples = some_examples(examples)
        return score(examples, self.predict(examples))

    def _spans(self, example: Example, likely: list[float], best: list[int]) -> list[Span]:
        tags = mended([self.tags[index] for index in best])
        return [
            example.span_of(first, end, label, min(likely[first:end]))
            for first, end, label in decode(tags, "iob2")
        ]


def _groups(order: Sequence[int], rows: Sequence[TagRow]) -> Iterator[list[int]]:
    """Indices of rows, in order, that go through the model at once."""
    group: list[int] = []
    for index in order:
        if group and (len(group) + 1) * len(rows[index].ids) > _TOKENS:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def fit_token_classifier(
    model: str,
    train_set: Any,
    *,
    dev_set: Any = None,
    mask: str | Sequence[int] = "causal",
    **settings: Unpack[Options],
) -> TokenClassifier:
    """Train a token classifier on labelled examples.

    model: as for `minisift.fit`; or an encoder's folder or hub id, which is trained whole. mask:
    "causal" keeps a decoder's mask, "none" removes it everywhere, layer numbers remove it from
    those layers, "twice" keeps it and reads each text twice. settings: the fields of
    `settings.Settings`; prompts are single sentences here, 16 a step by default, and the number of epochs is that of `fit`. dev_set: chooses the best of
    the evaluations on the way; without one, as for `fit`, a tenth of 100 and more sentences does.

    Raises ValueError for a mask of neither kind, or an encoder's.
    """
    if sharding.is_asked_for():
        raise NotImplementedError(
            "FSDP is not for this training; fix: accelerate launch --multi_gpu (each GPU holds the "
            "4-bit model)"
        )
    chosen = make_settings({"batch_size": 16, **settings, "shots": 0})
    material = gather(model, train_set, dev_set, chosen)
    source, examples = material.source, material.examples
    layers = _layers_without(mask, model, configuration(source))
    if layers is None:
        chosen = replace(chosen, learning_rate=chosen.learning_rate or _ENCODER)
    labels = sorted({span.label for example in examples for span in example.spans})
    tags = ["O", *(f"{letter}-{label}" for label in labels for letter in "BI")]
    objective = _load(source, chosen, layers, len(tags))
    tagger = TokenClassifier(objective, _tokenizer(source), tags, 2 if mask == "twice" else 1)
    sample = evaluation_sample(material.dev, chosen.seed)
    rows, count = _epochs(tagger, examples, chosen.seed), chosen.prompts(len(examples))
    Training(
        objective,
        [list(itertools.islice(rows, count)) for _ in range(chosen.runs or 1)],
        chosen,
        evaluate=(lambda: tagger.evaluate(sample).f1) if sample and chosen.evaluations else None,
        chance=chance(sample),
        tokens=_TOKENS,
        identity=source.fingerprint,
    ).run()
    if layers is not None:
        settle(objective.model)
    return tagger


def _load(
    source: Source, settings: Settings, layers: Sequence[int] | None, classes: int
) -> TagObjective:
    """A decoder under an adapter, without its mask in some layers; or, for None, an encoder."""
    from transformers import AutoModel

    rows = None
    if layers is None:
        network = AutoModel.from_pretrained(source.weights, dtype=torch.float32).to(place())
    else:
        network, _ = load_base(source, settings.quantize)
        network = add_lora(network, settings.lora_rank, settings.lora_dropout, settings.seed)
        rows = attention.use(network)
        attention.unmask(network, layers)
    torch.manual_seed(settings.seed)
    return TagObjective(network, classes, rows)


def _tokenizer(source: Source) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source.weights)


def _epochs(tagger: TokenClassifier, examples: Sequence[Example], seed: int) -> Iterator[TagRow]:
    """Training rows, an epoch after another, each shuffled."""
    classes = {tag: index for index, tag in enumerate(tagger.tags)}
    rows = [
        tagger.row(e, [classes[tag] for tag in encode(len(e.words), e.word_spans(), "iob2")])
        for e in examples
        if e.words
    ]
    rng = random.Random(seed)
    while True:
        yield from rng.sample(rows, len(rows))


def _layers_without(mask: str | Sequence[int], model: str, config: Any) -> Sequence[int] | None:
    """The layers whose causal mask goes; None for an encoder, which has none."""
    count = config.get_text_config().num_hidden_layers
    if mask in ("causal", "none", "twice"):
        layers: Sequence[int] = range(count) if mask == "none" else []
    elif isinstance(mask, str) or not all(0 <= layer < count for layer in mask):
        raise ValueError(
            f"mask={mask!r}; fix: 'causal', 'none', 'twice' or layers from 0 to {count - 1}"
        )
    else:
        layers = mask
    if any("CausalLM" in name for name in config.architectures or ["CausalLM"]):
        return layers
    if mask != "causal":
        raise ValueError(f"mask={mask!r} for {model}, which has none; fix: leave it out")
    return None
