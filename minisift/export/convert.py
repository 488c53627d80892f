"""A fine-tuned model as GGUF: merged weights under llama.cpp's names, metadata, tokenizer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from minisift.export.balance import Balance, balance, hear
from minisift.export.compensate import BLOCK, compensate
from minisift.export.families import (
    FAMILIES,
    Family,
    family_of,
    head_size,
    hyperparameters,
    rope_tensors,
)
from minisift.export.merge import Weight, lora_pairs, merged_weights, plain_model
from minisift.export.vocabulary import vocabulary
from minisift.export.writing import own_metadata, write_gguf
from minisift.models.gguf_file import tensors_of, value_of
from minisift.models.source import Source

logger = logging.getLogger(__name__)

_ENOUGH = 100
"""Tokens by which channels are balanced, at least."""
_ENOUGH_PAIRS = 1000
"""Tokens that tell which inputs of a layer go together, at least."""
_MOST_PAIRS = 2 << 30
"""Bytes that this may take."""
_NORM_OF_HEAD = re.compile(r"(.+)\.norms\.(\d+)(\.weight)")


def check_base(source: Source) -> Family:
    """A base model's family. Raises ValueError if it can't be written as GGUF; loads no weights."""
    if source.gguf is None:
        config = _config(source)
        family = family_of(config, source.name)
        try:
            hyperparameters(config, family)
        except ValueError as error:
            raise ValueError(
                f"{source.name}: {error}; fix: another base model, or converter=, the path of "
                "llama.cpp's convert_hf_to_gguf.py"
            ) from None
        return family
    name = value_of(source.gguf, "general.architecture")
    for family in FAMILIES.values():
        if family.architecture.gguf == name:
            return family
    raise ValueError(
        f"{source.name} has the architecture {name!r}, which minisift does not write; fix: a model "
        f"of {', '.join(FAMILIES)}"
    )


def _config(source: Source) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source.weights).get_text_config()


class Converter:
    """A base model with an adapter on its way into GGUF.

    adapter: its folder, or None. quantized: see `merge.merged_weights`. Raises ValueError for a
    base that can't be written.
    """

    def __init__(self, source: Source, adapter: Path | None, quantized: bool) -> None:
        self._source = source
        self.family = check_base(source)
        self.config = _config(source)
        merged = merged_weights(
            source.weights, adapter, quantized, bool(self.config.tie_word_embeddings)
        )
        self.weights = dict(self._by_gguf_name(merged))

    def hear(self, model: Any, prompts: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """What comes into the adapted model's layers as it reads prompts (ids); see balance.py.

        By pairs of inputs where there is text and memory enough for that, {} for too little text.
        """
        tokens = sum(map(len, prompts))
        if tokens < _ENOUGH:
            logger.info("Too little text to round well; fix: give verify_on more examples.")
            return {}
        names = self._names
        takers = {name for group in self.family.groups.values() for name in group}
        wanted, size = {}, 0
        for name, module in plain_model(model).named_modules():
            to = names.get_name(name) or ""
            if to.rpartition(".")[2] in takers:
                wanted[name] = to
                size += 4 * module.in_features**2
        return hear(model, wanted, prompts, tokens >= _ENOUGH_PAIRS and size < _MOST_PAIRS)

    def find_balance(self, heard: Mapping[str, torch.Tensor]) -> Balance:
        """Factors by which the model loses less when it is quantized."""
        squares = {n: sums.diagonal() if sums.ndim > 1 else sums for n, sums in heard.items()}
        tensors = ((name, weight.read()) for name, weight in self.weights.items())
        return balance(tensors, squares, self.family.groups, head_size(self.config))

    def write(
        self,
        path: Path,
        more: Mapping[str, Any],
        change: Callable[[str, torch.Tensor], torch.Tensor] | None = None,
        full: bool = False,
    ) -> None:
        """Write the merged model with `more` metadata beside the model's own.

        Matrices are in F16, in F32 if `full`. change: what is worked into the weights.
        """
        weights = _with(change, self.weights) if change else self.weights
        tensors = {**weights, **{name: _weight_of(tensor) for name, tensor in self._rope()}}
        kind = gguf.LlamaFileType.ALL_F32 if full else gguf.LlamaFileType.MOSTLY_F16
        own = {**self._metadata(), "general.file_type": int(kind)}
        matrices = np.float32 if full else np.float16
        write_gguf(path, self.family.arch, {**own, **more}, tensors, matrices)

    def lora(self, adapter: Path) -> tuple[float, dict[str, Weight]]:
        """LoRA's alpha, and its two matrices of each weight by GGUF name."""
        alpha, pairs = lora_pairs(adapter)
        tensors = {}
        for name, (down, up) in pairs.items():
            gguf_name = self._gguf_name(name)
            tensors[f"{gguf_name}.lora_a"] = down
            # its rows are the weight's
            tensors[f"{gguf_name}.lora_b"] = Weight(up.shape, self._changing(gguf_name, up))
        return alpha, tensors

    @cached_property
    def _names(self) -> gguf.TensorNameMap:
        return gguf.get_tensor_name_map(self.family.arch, self.config.num_hidden_layers)

    def _gguf_name(self, name: str) -> str:
        found = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ValueError(
                f"tensor {name} has no place in a GGUF file of {self.family.architecture.gguf}; "
                "fix: another base model"
            )
        return found

    def _by_gguf_name(self, merged: dict[str, Weight]) -> Iterator[tuple[str, Weight]]:
        for name, weight in _stack_norms(merged).items():
            gguf_name = self._gguf_name(name)
            yield gguf_name, Weight(weight.shape, self._changing(gguf_name, weight))
            if name == "model.embed_tokens.weight" and self._lacks_head(merged):
                yield "output.weight", weight

    def _lacks_head(self, merged: dict[str, Weight]) -> bool:
        return self.family.architecture.own_head and "lm_head.weight" not in merged

    def _changing(self, name: str, weight: Weight) -> Any:
        return lambda: self.family.change(name, weight.read(), self.config)

    def _metadata(self) -> dict[str, Any]:
        if self._source.gguf is not None:
            return own_metadata(self._source.gguf)
        from minisift.models.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(self._source.weights)
        return {
            "general.name": Path(self._source.name).name,
            **hyperparameters(self.config, self.family),
            **vocabulary(tokenizer, self.config.vocab_size),
        }

    def _rope(self) -> Iterator[tuple[str, torch.Tensor]]:
        if self._source.gguf is None:
            yield from rope_tensors(self.config)
            return
        for tensor in tensors_of(self._source.gguf):
            if tensor.name.startswith("rope_"):
                yield tensor.name, torch.from_numpy(np.array(tensor.data))


def _weight_of(tensor: torch.Tensor) -> Weight:
    return Weight(tuple(tensor.shape), lambda: tensor.float())


def _with(
    change: Callable[[str, torch.Tensor], torch.Tensor], weights: Mapping[str, Weight]
) -> dict[str, Weight]:
    def changed(name: str, weight: Weight) -> Weight:
        return Weight(weight.shape, lambda: change(name, weight.read()))

    return {name: changed(name, weight) for name, weight in weights.items()}


def rounding(
    balance: Balance, heard: Mapping[str, torch.Tensor]
) -> Callable[[str, torch.Tensor], torch.Tensor]:
    """What balances a tensor and, where pairs of its inputs were heard, rounds it to Q4_0."""

    def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
        tensor = balance(name, tensor)
        stem = name.rpartition(".")[0]
        sums = heard.get(stem)
        if sums is None or sums.ndim < 2 or tensor.ndim < 2 or tensor.shape[1] % BLOCK:
            return tensor
        if (factors := balance.taken.get(stem)) is not None:
            sums = sums / factors / factors[:, None]
        return compensate(tensor, sums)

    return change


def _stack_norms(weights: dict[str, Weight]) -> dict[str, Weight]:
    """Norms of single heads (StableLM 2) as one tensor, [heads, channels]; the rest as it is."""
    found: dict[str, Weight] = {}
    heads: dict[str, dict[int, Weight]] = {}
    for name, weight in weights.items():
        if part := _NORM_OF_HEAD.fullmatch(name):
            heads.setdefault(part[1] + part[3], {})[int(part[2])] = weight
        else:
            found[name] = weight
    for name, norms in heads.items():
        ordered = [norms[head] for head in sorted(norms)]

        def read(ordered: list[Weight] = ordered) -> torch.Tensor:
            return torch.stack([norm.read() for norm in ordered])

        found[name] = Weight((len(ordered), *ordered[0].shape), read)
    return found
