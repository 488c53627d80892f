"""A transformers tokenizer as llama.cpp's metadata: byte-level BPE, SentencePiece BPE and unigram."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from minisift.export.writing import write_gguf
from minisift.models.tokenizer import HFTokenizer

_SPACE = "\u2581"
_UNREACHED = -10_000.0
"""Score of tokens that no merge makes."""
_PRE_TOKENIZERS = (
    ("smollm", '"Digits"'),
    ("llama-bpe", "{1,3}"),
    ("dbrx", "{1,3}"),
    ("qwen2", "'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n"),
    ("tekken", "\\\\p{Lu}"),
    ("gpt-4o", "\\\\p{Lu}"),
    ("gpt-2", '"ByteLevel"'),
    ("starcoder", '"Digits"'),
    ("falcon", '"Punctuation"'),
    ("deepseek-llm", "\\\\p{Lu}"),
)
"""llama.cpp's names of the ways to cut text before byte-level BPE, each with a mark by which to try
it early."""
_HARD = """ I'll see, we'VE seen; THEY'D've don't  DON'T\t\tx\n\n y   z\r\n 1 22 333 4444 55555 3.14159
 camelCaseHTTPServer snake_case __init__ ünïcödé Ünïcödé naïve e\u0301a\u0308 Привет, МИР! γειά Σου
 你好，世界 こんにちは カタカナ 한국어 ไทย हिन्दी العربية עברית 🙂🏽👩‍👩‍👧 🇫🇷 ... !!! ?? -- == (a)[b]{c} <d> "e" 'f' `g`
 http://x.y/z?a=1&b=2 $1,000.00 50% #tag @me a/b\\c ½ ² Ⅷ ４５６ ٣٤ \u00a0\u3000 end"""
"""What tokenizers cut in different ways."""


def vocabulary(tokenizer: HFTokenizer, size: int) -> dict[str, Any]:
    """llama.cpp's `tokenizer.*` metadata, for a model of `size` embeddings.

    Raises ValueError for a tokenizer that llama.cpp has no counterpart of.
    """
    content = json.loads(tokenizer.hf.backend_tokenizer.to_str())
    model = content["model"]
    byte_level = '"ByteLevel"' in json.dumps([content["pre_tokenizer"], content["decoder"]])
    if model["type"] == "Unigram":
        values = _unigram(content)
    elif model["type"] == "BPE" and byte_level:
        values = {"model": "gpt2", "merges": [" ".join(_pair(merge)) for merge in model["merges"]]}
    elif model["type"] == "BPE":
        values = _sentencepiece(content)
    else:
        raise ValueError(f"a {model['type']} tokenizer, which llama.cpp has no counterpart of")
    values |= _tokens(tokenizer, content, size, values.pop("scores", None))
    values |= _special(tokenizer, content)
    found = {f"tokenizer.ggml.{key}": value for key, value in values.items()}
    if tokenizer.hf.chat_template:
        found["tokenizer.chat_template"] = tokenizer.hf.chat_template
    if byte_level:
        marks = json.dumps(content["pre_tokenizer"])
        found["tokenizer.ggml.pre"] = _pre_tokenizer(tokenizer, found, marks)
    return found


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _sentencepiece(content: Mapping[str, Any]) -> dict[str, Any]:
    """llama.cpp merges what scores best; the rank of its first merge is a token's score."""
    model = content["model"]
    ids: dict[str, int] = model["vocab"]
    scores = [_UNREACHED] * (max(ids.values()) + 1)
    for rank, merge in enumerate(model["merges"]):
        made = ids["".join(_pair(merge))]
        scores[made] = max(scores[made], -float(rank))
    return {"model": "llama", "pre": "default", "scores": scores}


def _unigram(content: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"model": "t5", "pre": "default"}
    values["scores"] = [float(score) for _, score in content["model"]["vocab"]]
    normalizer = content["normalizer"] or {}
    for step in normalizer.get("normalizers", [normalizer]):
        if step.get("type") == "Precompiled" and step["precompiled_charsmap"]:
            values["precompiled_charsmap"] = base64.b64decode(step["precompiled_charsmap"])
    return values


def _tokens(
    tokenizer: HFTokenizer, content: Mapping[str, Any], size: int, scores: list[float] | None
) -> dict[str, Any]:
    backend = tokenizer.hf.backend_tokenizer
    added = backend.get_added_tokens_decoder()
    byte_fallback = content["model"].get("byte_fallback", False)
    unknown = content["model"].get("unk_id")
    if unknown is None and content["model"].get("unk_token") is not None:
        unknown = backend.token_to_id(content["model"]["unk_token"])
    tokens, kinds = [], []
    for index in range(max(size, backend.get_vocab_size(with_added_tokens=True))):
        token = backend.id_to_token(index)
        kind = gguf.TokenType.NORMAL
        if token is None:
            token, kind = f"[PAD{index}]", gguf.TokenType.UNUSED
        elif index == unknown:
            kind = gguf.TokenType.UNKNOWN
        elif index in added:
            special = added[index].special
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
            # llama.cpp looks for these in the text as it is
            token = token if special else token.replace(_SPACE, " ")
        elif byte_fallback and len(token) == 6 and token.startswith("<0x"):
            kind = gguf.TokenType.BYTE
        tokens.append(token)
        kinds.append(int(kind))
    values: dict[str, Any] = {"tokens": tokens, "token_type": kinds}
    if scores is not None:
        values["scores"] = scores + [_UNREACHED] * (len(tokens) - len(scores))
    return values


def _special(tokenizer: HFTokenizer, content: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    named = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    for name, key in named.items():
        if (token := getattr(tokenizer.hf, f"{name}_token_id")) is not None:
            values[f"{key}_token_id"] = int(token)
    values["add_bos_token"] = tokenizer.bos is not None
    values["add_eos_token"] = False
    if content["model"]["type"] == "Unigram" or content["model"].get("byte_fallback"):
        values["add_space_prefix"] = tokenizer.adds_space
    return values


def _pre_tokenizer(tokenizer: HFTokenizer, values: Mapping[str, Any], marks: str) -> str:
    """The first of llama.cpp's pre-tokenizers by which it cuts a hard text as this tokenizer does."""
    likely = sorted(_PRE_TOKENIZERS, key=lambda named: named[1] not in marks)
    wanted = tokenizer.hf.backend_tokenizer.encode(_HARD, add_special_tokens=False).ids
    for name, _ in likely:
        if _tokens_of_hard_text({**values, "tokenizer.ggml.pre": name}) == wanted:
            return name
    raise ValueError(
        "none of llama.cpp's pre-tokenizers cuts text as the model's tokenizer does "
        f"(tried {', '.join(name for name, _ in likely)})"
    )


def _tokens_of_hard_text(values: Mapping[str, Any]) -> list[int]:
    """llama.cpp's tokens of the hard text, with a vocabulary of this metadata."""
    from minisift.engines.llamacpp.model import load_file
    from minisift.engines.llamacpp.native import llama

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        write_gguf(path, gguf.MODEL_ARCH.LLAMA, values)
        try:
            model = load_file(path, vocab_only=True)
        except ValueError:
            return []
        try:
            text = _HARD.encode()
            ids = (llama.llama_token * len(text))()
            vocab = llama.llama_model_get_vocab(model)
            count = llama.llama_tokenize(vocab, text, len(text), ids, len(text), False, False)
            return list(ids[: max(0, count)])
        finally:
            llama.llama_model_free(model)
