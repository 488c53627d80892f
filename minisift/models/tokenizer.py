"""The tokenizers of transformers as the renderer wants them, and their chat formats."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from minisift.prompting.template import Template, TemplateKind, plain_template
from minisift.prompting.tokenizer import Tokenizer


def restore_pre_tokenizer(tokenizer: Any, gguf: Path) -> None:
    """What transformers leaves out when it reads a GGUF: digits stand alone in these."""
    from tokenizers import pre_tokenizers

    from minisift.models.gguf_file import value_of

    if value_of(gguf, "tokenizer.ggml.pre") in (
        "smollm",
        "starcoder",
        "refact",
        "command-r",
    ):
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )


def _byte_level() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, back to the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_CONTROLS = frozenset(
    "</s> <eos> <EOT> <|im_end|> <|eot_id|> <|eom_id|> <|end|> <|end_of_text|> <|endoftext|> "
    "<end_of_turn> <|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|file_sep|> <|repo_name|>".split()
)


def _as_special(content: str) -> Any:
    from tokenizers import AddedToken

    return AddedToken(content, special=True, normalized=False)


class HFTokenizer(Tokenizer):
    """A fast transformers tokenizer, kept as `hf`, as the renderer wants it."""

    def __init__(self, hf: Any) -> None:
        if not getattr(hf, "is_fast", False):
            raise ValueError(
                f"{type(hf).__name__} is not a fast tokenizer; fix: use a model that has a "
                "tokenizer.json"
            )
        self.hf = hf
        backend = hf.backend_tokenizer
        if backend.normalizer is not None and "NF" in type(backend.normalizer).__name__:
            # text is copied as it is, and llama.cpp does not compose characters either
            backend.normalizer = None
        backend.no_padding()
        backend.no_truncation()
        # llama.cpp takes tokens of these names for control tokens, whatever the model says
        added = backend.get_added_tokens_decoder().values()
        controls = [token for token in added if token.content in _CONTROLS and not token.special]
        backend.add_special_tokens([_as_special(token.content) for token in controls])
        head = hf("")["input_ids"]

        def tokenize(text: str, control: bool) -> list[int]:
            backend.encode_special_tokens = not control
            return list(backend.encode(text, add_special_tokens=False).ids)

        bos = head[0] if head and head[0] == hf.bos_token_id else None
        super().__init__(tokenize, _pieces(backend), bos)


def _pieces(backend: Any) -> list[bytes]:
    """Bytes of each token of a `tokenizers.Tokenizer`; empty for control tokens."""
    decoder = json.loads(backend.decoder.__getstate__())
    kinds = {decoder["type"], *(inner["type"] for inner in decoder.get("decoders", []))}
    added = backend.get_added_tokens_decoder()
    byte_level = _byte_level()

    def piece(index: int) -> bytes:
        token = backend.id_to_token(index)
        if token is None or (index in added and added[index].special):
            return b""
        if index in added:
            return str(token).encode()
        if "ByteLevel" in kinds:
            return bytes(byte_level[char] for char in token)
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)])
        return str(token).replace("\u2581", " ").encode()

    size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
    return [piece(index) for index in range(size)]


def load_tokenizer(weights: str) -> HFTokenizer:
    """The tokenizer of a model's folder or hub id."""
    from transformers import AutoTokenizer

    return HFTokenizer(AutoTokenizer.from_pretrained(weights))


def make_template(kind: TemplateKind, tokenizer: Tokenizer, instruction: str) -> Template:
    """The template of a kind: minisift's own, or the chat format of the tokenizer's model."""
    if kind == "plain":
        return plain_template(instruction)
    assert isinstance(tokenizer, HFTokenizer)
    return chat_template(tokenizer, instruction)


def chat_template(tokenizer: HFTokenizer, instruction: str) -> Template:
    """The model's own chat format as a Template: demonstrations are earlier turns.

    The instruction becomes the system message, or, where the format has none, heads the first
    user message. Raises ValueError if the tokenizer has no chat template.
    """
    if not tokenizer.hf.chat_template:
        raise ValueError(
            "the model has no chat template; fix: use template='plain', or an instruct model"
        )
    from jinja2 import TemplateError

    user, assistant = "<<minisift user>>", "<<minisift assistant>>"

    def render(system: str, first: str) -> str:
        messages = [{"role": "system", "content": system}] if system else []
        messages += [
            {"role": "user", "content": first},
            {"role": "assistant", "content": assistant},
            {"role": "user", "content": user},
            {"role": "assistant", "content": assistant},
        ]
        return str(tokenizer.hf.apply_chat_template(messages, tokenize=False))

    rendered = render("", user)
    if instruction:
        # formats without a system message (Gemma) may raise
        with contextlib.suppress(TemplateError):
            rendered = render(instruction, user)
        if instruction not in rendered:
            rendered = render("", f"{instruction}\n\n{user}")
    head, turn, joint, *_ = rendered.replace(user, assistant).split(assistant)
    bos = tokenizer.hf.bos_token
    if tokenizer.bos is not None and bos and head.startswith(bos):
        head = head[len(bos) :]
    return Template(head, turn, joint, control=True)
