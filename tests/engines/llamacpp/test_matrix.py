"""Where the output head lies, and whose logits are a mere product with it."""

import pytest

pytest.importorskip("gguf")
import numpy as np
from support.gguf_files import written

from minisift.engines.llamacpp.matrix import head_of, head_record, keep_record


def test_only_heads_that_are_a_mere_product_are_taken_over(tmp_path, new_cache):
    plain = written(tmp_path / "plain", "llama")
    found = head_of(plain, None)
    assert (found.rows, found.width) == (8, 32)
    assert [found.row(at, 128) for at in range(8)] == [bytes(128)] * 8
    embeddings = ("token_embd.weight", "output.weight")
    own = head_of(written(tmp_path / "own", "qwen3", tensors=embeddings), None)
    assert own.row(7, 128) == np.ones(32, np.float32).tobytes()
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
    assert head_of(plain, tmp_path / "text") is None


def test_what_was_found_is_kept_for_this_file_alone(tmp_path, new_cache):
    path = written(tmp_path / "model", "llama")
    before = head_of(path, None)
    record = head_record(path, None)
    assert record.fault is None
    record.fault = "of the first file"
    keep_record(path, None, record)
    assert head_record(path, None) == record
    rows = np.arange(16 * 32, dtype=np.float32).reshape(16, 32)
    other = written(tmp_path / "other", "llama", rows=rows)
    other.replace(path)
    assert before.row(7, 128) == bytes(128)  # of the file that was opened
    for _ in range(2):
        assert head_of(path, None).row(15, 128) == rows[15].tobytes()
        assert head_record(path, None).fault is None
    for kept in new_cache.glob("heads/*"):
        kept.write_bytes(kept.read_bytes()[:-1])
    assert head_of(path, None).row(15, 128) == rows[15].tobytes()


def test_a_row_of_a_file_that_was_cut_is_an_error(tmp_path, new_cache):
    path = written(tmp_path / "model", "llama")
    matrix = head_of(path, None)
    path.write_bytes(path.read_bytes()[:-100])
    assert matrix.row(0, 128) == bytes(128)
    with pytest.raises(OSError, match="was cut; fix: copy it again"):
        matrix.row(7, 128)
