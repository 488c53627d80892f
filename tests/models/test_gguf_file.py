"""Tensors and values of GGUF files, as the package gguf reads them."""

import pytest

pytest.importorskip("gguf")
import gguf
import numpy as np

from minisift.models.gguf_file import open_gguf, tensors_of, value_of, write_over

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0")


@pytest.fixture
def path(tmp_path):
    """A file of tensors of several types, words, and a string with room."""
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_token_list(["x", "", "yé"])
    writer.add_string("a.room", "ten bytes.")
    writer.add_uint32("a.number", 7)
    numbers = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    for name in KINDS:
        kind = gguf.GGMLQuantizationType[name]
        stored = gguf.quantize(numbers, kind)
        writer.add_tensor(name, stored, raw_dtype=kind)
    writer.add_tensor("row", numbers[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "model.gguf"


def test_tensors_are_those_of_the_package_gguf(path):
    wanted = open_gguf(path).tensors
    found = list(tensors_of(path))
    assert [tensor.name for tensor in found] == [*KINDS, "row"]
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.name, ours.type) == (theirs.name, theirs.tensor_type)
        assert ours.shape == tuple(reversed(theirs.shape.tolist()))
        assert ours.data.dtype == theirs.data.dtype
        assert np.array_equal(ours.data, theirs.data)


def test_a_string_is_written_over_in_its_place(path):
    before = [tensor.data.tobytes() for tensor in tensors_of(path)]
    write_over(path, "a.room", b"0123456789")
    assert value_of(path, "a.room") == "0123456789"
    assert value_of(path, "a.number") == 7
    assert value_of(path, "a.absent") is None
    assert [tensor.data.tobytes() for tensor in tensors_of(path)] == before


def test_what_is_no_whole_file_is_an_error(path, tmp_path):
    path.write_bytes(path.read_bytes()[:-200])
    for read in (open_gguf, lambda cut: list(tensors_of(cut))):
        with pytest.raises(ValueError, match=r"model\.gguf: not a whole GGUF file .*fix: export"):
            read(path)
    other = tmp_path / "words.gguf"
    other.write_text("no model")
    with pytest.raises(ValueError, match="not a whole GGUF file"):
        value_of(other, "a.number")
