"""The output head: the logits of allowed tokens are llama.cpp's own."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gguf")
import gguf
from near_ties import settled

import minisift
from minisift.engines.llamacpp import head as module
from minisift.engines.llamacpp.head import Head
from minisift.engines.llamacpp.lane import Lane
from minisift.engines.llamacpp.matrix import head_of
from minisift.engines.llamacpp.model import Model

PLACES = 3
F32 = gguf.GGMLQuantizationType.F32
ZEROS = np.zeros((8, 32), np.float32)


def last_logits(path, ids, head):
    """Of a text's last places, [places, vocabulary]."""
    model = Model(path, None, 0)
    model.head = head
    lane = Lane(model, 512, 1, 1)
    first = len(ids) - PLACES
    entries = [(token, at, 0, at >= first) for at, token in enumerate(ids)]
    lane.thread.submit(lane._decode, entries).result()
    assert not head or len(lane._head._seen) == 1  # or llama.cpp has gone on by itself
    found = lane._logits(list(range(first, len(ids))))
    assert len(found) == PLACES
    return np.stack([logits[list(range(model.vocabulary))] for logits in found])


def test_logits_are_those_of_llama_cpp(exported, fitted):
    path = exported[1].engine.files[0]
    ids = list(fitted.prefix[:40])
    expected, found = (last_logits(path, ids, head) for head in (None, head_of(path, None)))
    assert np.abs(found - expected).max() < 0.02  # llama.cpp rounds hidden states to F16 first


def written(path, architecture, keys=(), tensors=("token_embd.weight",), rows=ZEROS, kind=F32):
    """A file whose second tensor's rows are of ones, or what is given and one more."""
    writer = gguf.GGUFWriter(path, architecture)
    for key in keys:
        writer.add_float32(key, 30.0)
    for number, name in enumerate(tensors):
        writer.add_tensor(name, rows + rows.dtype.type(number), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q4_0"])
def test_rows_of_any_type_however_few_are_kept(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_KEPT", 10)
    rng = np.random.default_rng(0)
    kind = gguf.GGMLQuantizationType[kind]
    stored = gguf.quantize(rng.normal(size=(90, 64)).astype(np.float32), kind)
    path = written(tmp_path / "model", "llama", rows=stored, kind=kind)
    head = Head(head_of(path, None))
    for count in (1, 4, 9, 10, 11, 35, 90, 3):
        state = rng.normal(size=64).astype(np.float32)
        tokens = rng.permutation(90)[:count].tolist()
        expected = gguf.dequantize(stored, kind)[tokens] @ state
        assert np.allclose(head.logits(state, tokens), expected, atol=1e-4)


def test_what_llama_cpp_does_not_show_it_computes(exported, dev, monkeypatch):
    labeler = exported[1]
    texts = settled(labeler, dev)
    expected = labeler.predict(texts)
    monkeypatch.setattr(module, "_INPUT", b"under another name")
    taken, take = [], Head.take
    monkeypatch.setattr(Head, "take", lambda self: taken.append(take(self)))
    assert minisift.load(labeler.engine.files[0]).predict(texts) == expected
    assert taken == [None] * len(taken) != []


def test_only_heads_that_are_a_mere_product_are_taken_over(tmp_path):
    plain = written(tmp_path / "plain", "llama")
    found = head_of(plain, None)
    assert (found.rows, found.width, found.row_bytes) == (8, 32, 128)
    assert [found.row(at) for at in range(8)] == [bytes(128)] * 8
    embeddings = ("token_embd.weight", "output.weight")
    own = head_of(written(tmp_path / "own", "qwen3", tensors=embeddings), None)
    assert own.row(7) == np.ones(32, np.float32).tobytes()
    assert head_of(plain, written(tmp_path / "lora", "llama", tensors=["blk.0.lora_a"]))
    for adapted in embeddings:
        adapter = written(tmp_path / adapted, "llama", tensors=[f"{adapted}.lora_a"])
        assert head_of(plain, adapter) is None
    assert head_of(written(tmp_path / "other", "granite"), None) is None
    assert head_of(written(tmp_path / "part", "llama", ["split.count"]), None) is None
    capped = written(tmp_path / "capped", "gemma3", ["gemma3.final_logit_softcapping"])
    assert head_of(capped, None) is None
    biased = written(tmp_path / "biased", "phi3", tensors=["output.weight", "output.bias"])
    assert head_of(biased, None) is None
    (tmp_path / "text").write_text("no model")
    assert head_of(tmp_path / "text", None) is None


def test_what_was_found_is_kept_for_this_file_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MINISIFT_CACHE", str(tmp_path / "cache"))
    path = written(tmp_path / "model", "llama")
    before = head_of(path, None)
    rows = np.arange(16 * 32, dtype=np.float32).reshape(16, 32)
    other = written(tmp_path / "other", "llama", rows=rows)
    other.replace(path)
    assert before.row(7) == bytes(128)  # of the file that was opened
    for _ in range(2):
        assert head_of(path, None).row(15) == rows[15].tobytes()
    for kept in (tmp_path / "cache").glob("heads/*"):
        kept.write_bytes(kept.read_bytes()[:-1])
    assert head_of(path, None).row(15) == rows[15].tobytes()


def test_a_file_that_was_cut_is_an_error(tmp_path):
    path = written(tmp_path / "model", "llama")
    rows = Head(head_of(path, None))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OSError, match="was cut; fix: copy it again"):
        rows.logits(np.zeros(32, np.float32), [0, 7])
