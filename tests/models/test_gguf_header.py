"""What a GGUF file says of its content."""

import pytest

pytest.importorskip("gguf")
import gguf
import numpy as np

from minisift.models.gguf_header import read_header


@pytest.fixture(params=[32, 64])
def written(request, tmp_path):
    """A file with every type of value, and tensors of several shapes."""
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_custom_alignment(request.param)
    for kind in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"):
        getattr(writer, f"add_{kind}")(f"a.{kind}", 7)
    writer.add_float32("a.float32", 0.5)
    writer.add_float64("a.float64", 0.25)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "naïve")
    writer.add_array("a.numbers", [1, 2, 3])
    writer.add_array("a.strings", ["x", "", "yé"])
    writer.add_array("a.nested", [[1, 2], [3]])
    writer.add_string("a.last", "end")
    for number, shape in enumerate([(3, 5), (7,), (2, 3, 4)]):
        writer.add_tensor(f"t.{number}", np.full(shape, number, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "model.gguf"


def test_a_header_is_read_as_it_was_written(written):
    header = read_header(written)
    assert header.values["general.architecture"] == "llama"
    assert header.values["a.string"] == "naïve"
    assert header.values["a.last"] == "end"
    assert header.values["a.float32"] == 0.5
    assert header.values["a.float64"] == 0.25
    assert header.values["a.bool"] is True
    assert {
        header.values[f"a.{kind}{bits}"] for kind in ("int", "uint") for bits in (8, 16, 32, 64)
    } == {7}
    assert header.values["a.nested"] is None
    raw = written.read_bytes()
    for number, shape in enumerate([(5, 3), (7,), (4, 3, 2)]):
        found, kind, begin = header.tensors[f"t.{number}"]
        count = int(np.prod(shape))
        assert (found, kind) == (shape, gguf.GGMLQuantizationType.F32)
        assert np.frombuffer(raw, np.float32, count, begin).tolist() == [number] * count


def test_what_is_no_whole_header_is_none(written, tmp_path):
    raw = written.read_bytes()
    end = max(begin for _, _, begin in read_header(written).tensors.values()) - 64
    other = tmp_path / "other.gguf"
    for content in (
        b"",
        b"GGUF",
        b"no model",
        b"GGML" + raw[4:],
        raw[:4] + (1).to_bytes(4, "little") + raw[8:],
        raw[:4] + (3).to_bytes(4, "big") + raw[8:],
        *(raw[:cut] for cut in range(8, end - 200, 37)),
    ):
        other.write_bytes(content)
        assert read_header(other) is None
    assert read_header(tmp_path / "absent.gguf") is None
    assert read_header(tmp_path) is None
