"""The room where C is called: what is absent or different there is noticed, nothing gets into or out of it."""

import ast
import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.places import ROOT

from minisift.engines.llamacpp import model, native
from minisift.engines.llamacpp.native import NativeError, Watcher, llama

WIDTH = 4


def test_c_is_called_in_one_file_alone():
    """But for glibc's allocator, which training asks for less."""
    allowed = {"engines/llamacpp/native.py", "training/process.py"}
    found = set()
    for path in (ROOT / "minisift").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.partition(".")[0] for name in names} & {"ctypes", "llama_cpp"}:
                found.add(path.relative_to(ROOT / "minisift").as_posix())
    assert found <= allowed
    assert "engines/llamacpp/native.py" in found


def test_the_switch_is_the_option_or_the_environment(monkeypatch):
    monkeypatch.delenv("MINISIFT_NATIVE", raising=False)
    assert native.is_wanted("auto")
    assert not native.is_wanted("off")
    with pytest.raises(ValueError, match="native='on'; fix: 'auto' or 'off'"):
        native.is_wanted("on")
    for value, wanted in (("", True), ("auto", True), ("off", False)):
        monkeypatch.setenv("MINISIFT_NATIVE", value)
        assert native.is_wanted("auto") is wanted
        assert not native.is_wanted("off")
    monkeypatch.setenv("MINISIFT_NATIVE", "0")
    for option in native.MODES:
        with pytest.raises(ValueError, match="MINISIFT_NATIVE='0'; fix: 'auto' or 'off'"):
            native.is_wanted(option)


def test_a_package_of_another_structure_is_imported_as_a_whole(tmp_path):
    """Without the private parts of today's, and with the declarations under another name."""
    package = tmp_path / "llama_cpp"
    package.mkdir()
    real = Path(llama.__file__).parent
    shutil.copy(real / "_ctypes_extensions.py", package / "_ctypes_extensions.py")
    shutil.copy(real / "llama_cpp.py", package / "bindings.py")
    (package / "lib").symlink_to(real / "lib")
    (package / "__init__.py").write_text("from .bindings import *\nfrom .bindings import _lib\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from minisift.engines.llamacpp import native\n"
        "from minisift.engines.llamacpp.model import load_file\n"
        "import llama_cpp; assert native.llama is llama_cpp, native.llama\n"
        f"assert llama_cpp.__file__ == {str(package / '__init__.py')!r}\n"
        "assert native.symbol('ggml_get_name') and native.LIBRARIES\n"
        "try: load_file('README.md')\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "README.md: llama.cpp cannot load it; fix: export or copy it again\n", (
        done.stderr
    )


def test_libraries_are_the_files_that_run():
    assert native.LIBRARIES
    assert len(set(native.LIBRARIES)) == len(native.LIBRARIES)
    assert any("llama" in path.name for path in native.LIBRARIES)
    assert any("ggml" in path.name for path in native.LIBRARIES)


def test_a_function_that_is_not_there_is_none():
    assert native.symbol("ggml_get_name")
    assert native.symbol("ggml_get_name") is not native.symbol("ggml_get_name")
    assert native.symbol("ggml_no_such_function") is None


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 30])
def test_rows_of_each_type_become_floats(kind):
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType(kind)
    rows = np.random.default_rng(0).normal(size=(3, 512)).astype(np.float32)
    try:
        stored = gguf.quantize(rows, kind)
    except NotImplementedError:  # what bits mean is the same for any
        size = gguf.quants.quant_shape_to_byte_shape((3, 512), kind)
        stored = np.random.default_rng(0).integers(0, 60, size, np.uint8)
    expected = gguf.dequantize(stored, kind)
    convert = native.to_float(kind, 512)
    found = np.empty(512, np.float32)
    for row, wanted in zip(stored, expected, strict=True):
        raw = row.tobytes()
        assert len(raw) == native.row_bytes(kind, 512)
        convert(raw, found)
        assert np.allclose(found, wanted, rtol=1e-5, atol=1e-6)


def planted(monkeypatch, **functions):
    """Has functions of ggml replaced, or absent where they are None."""
    found = native.symbol
    monkeypatch.setattr(native, "symbol", lambda n: functions[n] if n in functions else found(n))


TABLE = [
    "ggml_get_type_traits",
    "ggml_type_name",
    "ggml_blck_size",
    "ggml_type_size",
    "ggml_is_quantized",
    "ggml_row_size",
    "ggml_fp16_to_fp32_row",
]


@pytest.mark.parametrize("name", TABLE)
def test_without_a_function_the_table_of_types_is_not_read(name, monkeypatch):
    planted(monkeypatch, **{name: None})
    with pytest.raises(NativeError, match=f"has no {name}"):
        native.to_float(8, 512)


def table_at(monkeypatch, stride, places):
    """Has ggml's table of types in another layout: each line's numbers at other places of a line."""
    real = native.symbol("ggml_get_type_traits")
    real.restype, real.argtypes = ctypes.c_size_t, [ctypes.c_int]
    lines = [(ctypes.c_uint64 * 7).from_address(real(kind))[:] for kind in range(32)]
    held = (ctypes.c_uint64 * (stride * 33))()
    for kind, line in enumerate(lines):
        for place, number in zip(places, line, strict=True):
            held[kind * stride + place] = number
    begin = ctypes.addressof(held)

    def traits(kind, held=held):
        return begin + 8 * stride * kind

    planted(monkeypatch, ggml_get_type_traits=traits)


def test_a_table_in_the_layout_that_is_expected_is_read(monkeypatch):
    table_at(monkeypatch, 7, range(7))
    native.to_float(8, 512)


@pytest.mark.parametrize(
    ("stride", "places"),
    [
        (7, [1, 0, 2, 3, 4, 5, 6]),  # the name behind the block
        (8, [1, 2, 3, 4, 5, 6, 7]),  # something before all
        (8, [0, 1, 2, 3, 4, 6, 7]),  # before the functions
        (7, [0, 1, 2, 3, 4, 6, 5]),  # the functions the other way round
        (7, [0, 1, 3, 2, 4, 5, 6]),
        (9, [0, 1, 2, 3, 4, 5, 6]),  # more behind them
    ],
)
@pytest.mark.parametrize("kind", [0, 1, 2, 8, 12])
def test_a_table_in_any_other_layout_is_not_believed(stride, places, kind, monkeypatch):
    table_at(monkeypatch, stride, places)
    with pytest.raises(NativeError, match="table of number types has another layout"):
        native.to_float(kind, 512)


class Tensors:
    """Tensors as ggml's functions tell of them: by an address (from 1), a name and floats."""

    def __init__(self, monkeypatch, **nodes):
        self.names = [name.encode() for name in nodes]
        self.values = [np.asarray(values, np.float32) for values in nodes.values()]
        planted(
            monkeypatch,
            ggml_get_name=lambda at: self.names[at - 1],
            ggml_nelements=lambda at: self.values[at - 1].size,
            ggml_nbytes=lambda at: self.values[at - 1].nbytes,
            ggml_backend_tensor_get=lambda *asked: self.read(*asked),
        )

    def read(self, at, target, begin, size):
        ctypes.memmove(target, self.values[at - 1].ctypes.data + begin, size)


def computed(watcher, tensors):
    """The nodes that are computed, as llama.cpp goes through them."""
    done = []
    for at, name in enumerate(tensors.names, 1):
        done.append(name.decode())
        if watcher.callback(at, True, None) and not watcher.callback(at, False, None):
            break
    return done


STATES = np.arange(2 * WIDTH).reshape(2, WIDTH)
NODES = {"norm": STATES, "out": [1]}


def test_what_is_watched_is_taken_and_the_rest_is_cancelled(monkeypatch):
    tensors = Tensors(monkeypatch, first=[1], **NODES)
    watcher = Watcher(b"norm", WIDTH)
    for _ in range(2):
        watcher.expect(2)
        assert (computed(watcher, tensors), watcher.fault) == (["first", "norm"], "")
        assert watcher.take().tolist() == STATES.tolist()
        assert watcher.take() is None
    watcher.cancels = False
    watcher.expect(2)
    assert computed(watcher, tensors) == ["first", "norm", "out"]
    assert watcher.take().tolist() == STATES.tolist()
    assert not watcher.fault


def test_where_nothing_is_wanted_all_is_computed(monkeypatch):
    tensors = Tensors(monkeypatch, **NODES)
    watcher = Watcher(b"norm", WIDTH)
    for _ in range(2):
        watcher.expect(0)
        assert computed(watcher, tensors) == ["norm", "out"]
        assert watcher.take() is None
        assert not watcher.fault


def test_a_node_of_another_size_is_left_alone(monkeypatch):
    for states in (STATES[:1], np.zeros((3, WIDTH)), np.zeros((2, WIDTH + 1))):
        with monkeypatch.context() as patch:
            tensors = Tensors(patch, norm=states, out=[1])
            watcher = Watcher(b"norm", WIDTH)
            watcher.expect(2)
            assert computed(watcher, tensors) == ["norm", "out"]
            assert watcher.take() is None
            assert "norm has" in watcher.fault


def test_a_node_of_halves_is_left_alone(monkeypatch):
    tensors = Tensors(monkeypatch, **NODES)
    tensors.values[0] = STATES.astype(np.float16)
    watcher = Watcher(b"norm", WIDTH)
    watcher.expect(2)
    assert computed(watcher, tensors) == ["norm", "out"]
    assert watcher.take() is None
    assert watcher.fault == "NativeError: norm has 16 bytes, not 32"


def test_a_node_under_another_name_is_a_fault(monkeypatch):
    tensors = Tensors(monkeypatch, **NODES)
    watcher = Watcher(b"result", WIDTH)
    watcher.expect(2)
    assert computed(watcher, tensors) == ["norm", "out"]
    assert watcher.take() is None
    assert watcher.fault == "it computes no result"


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("function", ["ggml_get_name", "ggml_nelements", "ggml_backend_tensor_get"])
def test_no_error_gets_out_of_the_watcher(function, error, monkeypatch):
    def fails(*_):
        raise error

    tensors = Tensors(monkeypatch, **NODES)
    planted(monkeypatch, **{function: fails})
    watcher = Watcher(b"norm", WIDTH)
    for _ in range(2):  # and once is enough
        watcher.expect(2)
        assert computed(watcher, tensors) == ["norm", "out"]
        assert watcher.take() is None
        assert type(error).__name__ in watcher.fault


def test_a_call_that_was_cut_short_unseen_gives_no_logits(monkeypatch):
    """As where Python has no memory for a frame, and C takes the failure for "cancel"."""
    Tensors(monkeypatch, **NODES)
    watcher = Watcher(b"norm", WIDTH)
    watcher.expect(2)
    assert watcher.callback(1, True, None)
    with pytest.raises(RuntimeError, match="cut short; fix: call again"):
        watcher.take()
    assert watcher.fault
    watcher.expect(2)
    assert not watcher.callback(1, True, None)
    assert watcher.take() is None


@pytest.mark.parametrize(
    "name", ["ggml_get_name", "ggml_nelements", "ggml_nbytes", "ggml_backend_tensor_get"]
)
def test_without_a_function_nothing_is_watched(name, monkeypatch):
    planted(monkeypatch, **{name: None})
    with pytest.raises(NativeError, match=f"has no {name}"):
        Watcher(b"norm", WIDTH)


def test_what_tokens_spell_is_the_same_either_way(f16):
    vocab = llama.llama_model_get_vocab(model.load_file(f16, vocab_only=True))
    quick, plain = (list(native.pieces(vocab, is_native)) for is_native in (True, False))
    assert quick == plain
    assert len(quick) == llama.llama_vocab_n_tokens(vocab)
    assert b" the" in quick


def test_a_piece_is_asked_for_as_llama_cpp_declares_it(f16, monkeypatch):
    vocab = llama.llama_model_get_vocab(model.load_file(f16, vocab_only=True))
    expected = list(native.pieces(vocab, True))
    declared = llama.llama_token_to_piece

    def other(*arguments):
        return declared(*arguments)

    other.argtypes = [*declared.argtypes, ctypes.c_bool]
    monkeypatch.setattr(llama, "llama_token_to_piece", other)
    assert list(native.pieces(vocab, True)) == expected


def test_a_batch_is_filled_by_the_names_of_its_fields(monkeypatch):
    class Other(ctypes.Structure):
        """As a newer llama.cpp might order and extend it."""

        _fields_ = (("new", ctypes.c_int64), *reversed(llama.llama_batch._fields_))

    entries = [(5, 0, 1, False), (6, 1, 1, True), (7, 0, 2, True)]
    for kind in (llama.llama_batch, Other):
        monkeypatch.setattr(llama, "llama_batch", kind)
        batch = native.Batch(8).of(entries)
        assert batch.n_tokens == 3
        assert not batch.embd
        assert entries == [
            (batch.token[i], batch.pos[i], batch.seq_id[i][0], bool(batch.logits[i]))
            for i in range(3)
        ]
        assert batch.n_seq_id[:3] == [1, 1, 1]
        assert getattr(batch, "new", 0) == 0


AMX = [
    "ggml_backend_dev_by_type",
    "ggml_backend_dev_backend_reg",
    "ggml_backend_reg_get_proc_address",
    "ggml_backend_buft_name",
]


def layouts(monkeypatch, *names):
    """Has llama.cpp list layouts of these names; returns the list, as addresses that end with 0."""
    texts = [ctypes.create_string_buffer(name) for name in names]
    held = (ctypes.c_void_p * (len(names) + 1))(*(ctypes.addressof(text) for text in texts), None)
    listing = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: ctypes.addressof(held))
    planted(
        monkeypatch,
        ggml_backend_dev_by_type=lambda _: 1,
        ggml_backend_dev_backend_reg=lambda _: 1,
        ggml_backend_reg_get_proc_address=lambda *_: ctypes.cast(listing, ctypes.c_void_p).value,
        ggml_backend_buft_name=lambda at: ctypes.string_at(at),
    )
    held.texts, held.listing = texts, listing  # live as long
    return held


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([b"AMX", b"CPU_REPACK"], [b"CPU_REPACK"]),
        ([b"KLEIDIAI", b"AMX", b"CPU_REPACK"], [b"KLEIDIAI", b"CPU_REPACK"]),
        ([b"AMX"], []),
        ([b"CPU_REPACK"], [b"CPU_REPACK"]),
        ([], []),
    ],
)
def test_amx_leaves_the_list_of_layouts(before, after, monkeypatch):
    held = layouts(monkeypatch, *before)
    for _ in range(2):
        assert native.without_amx()
        assert [ctypes.string_at(at) for at in held if at] == after


def test_the_list_of_this_llama_cpp_can_be_read():
    assert native.without_amx() is True


@pytest.mark.parametrize("name", AMX)
def test_without_a_function_amx_stays(name, monkeypatch):
    planted(monkeypatch, **{name: None})
    assert native.without_amx() is False


def test_without_a_list_amx_stays(monkeypatch):
    planted(monkeypatch, ggml_backend_reg_get_proc_address=lambda *_: None)
    assert native.without_amx() is False
