"""The output head: logits of allowed tokens are llama.cpp's own, or llama.cpp computes them."""

import ctypes
import logging

import numpy as np
import pytest

pytest.importorskip("gguf")
import gguf
from support.gguf_files import renamed, written
from support.logits import HAS_AVX2_ALONE, next_logits
from support.near_ties import settled

import minisift
from minisift.engines.llamacpp import head as module
from minisift.engines.llamacpp import matrix, native
from minisift.engines.llamacpp.head import Head, difference
from minisift.engines.llamacpp.matrix import head_of, head_record
from minisift.engines.llamacpp.scheduler import LlamaCppEngine

IDS = [504, 3575, 282, 4649, 314, 7042, 30, 378, 314, 260]


def engine_of(path, **options):
    return LlamaCppEngine(path, n_gpu_layers=0, **options)


def load(path, **options):
    return minisift.load(path, n_gpu_layers=0, **options)


@pytest.fixture(autouse=True)
def own_cache(new_cache):
    """Verdicts of these tests are of no use to others."""


@pytest.fixture
def warnings(caplog):
    """What was said to the user so far."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture(scope="module")
def answers(f16, dev):
    """Texts without near ties, and their spans where nothing is wrong."""
    labeler = load(f16)
    texts = settled(labeler, dev)
    return texts, labeler.predict(texts)


def said_once(warnings, why):
    """Whether one line tells that llama.cpp multiplies the head, why, and what that means."""
    (line,) = warnings()
    return (
        "llama.cpp multiplies all of the output head, since" in line
        and why in line
        and line.endswith("labelling is slower, answers are right")
    )


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0", "q4_k_m"])
def test_logits_are_those_of_llama_cpp(kind, engine_files, warnings):
    path = engine_files / f"{kind}.gguf"
    (own, expected), (tokens, found) = (
        next_logits(engine_of(path, native=native), IDS) for native in ("off", "auto")
    )
    # llama.cpp rounds hidden states first, to F16 or to 8 bits, and attends otherwise
    factor = 1.0
    if HAS_AVX2_ALONE and kind == "q4_k_m":  # there that scales all logits
        factor = found[0] @ expected[0] / (expected[0] @ expected[0])
        assert abs(factor - 1) < 0.02
    assert np.abs(found[0] - factor * expected[0]).max() < (0.05 if kind == "f16" else 1)
    if kind == "f16":
        assert tokens == own
        assert np.abs(found - expected).max() < 0.05
    assert head_record(path, None).fault == ""
    assert not warnings()


def test_logits_with_an_adapter_are_those_of_llama_cpp(engine_files, warnings):
    paths = engine_files / "base.gguf", engine_files / "adapter.gguf"
    (own, expected), (tokens, found) = (
        next_logits(engine_of(paths[0], adapter=paths[1], native=native), IDS)
        for native in ("off", "auto")
    )
    assert tokens == own
    assert np.abs(found - expected).max() < 0.05
    assert head_record(*paths).fault == ""
    assert not warnings()


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q4_0"])
def test_rows_of_any_type_however_few_are_kept(kind, tmp_path):
    rng = np.random.default_rng(0)
    kind = gguf.GGMLQuantizationType[kind]
    stored = gguf.quantize(rng.normal(size=(90, 64)).astype(np.float32), kind)
    path = written(tmp_path / "model", "llama", rows=stored, kind=kind)
    head = Head(head_of(path, None), kept=10)
    for count in (1, 4, 9, 10, 11, 35, 90, 3):
        state = rng.normal(size=64).astype(np.float32)
        tokens = rng.permutation(90)[:count].tolist()
        expected = gguf.dequantize(stored, kind)[tokens] @ state
        assert np.allclose(head.logits(state, tokens), expected, atol=1e-4)
        assert head.is_worth_it == (count <= 10)
        head.is_worth_it = True


def test_a_file_that_was_cut_is_an_error(tmp_path):
    path = written(tmp_path / "model", "llama")
    rows = Head(head_of(path, None))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OSError, match="was cut; fix: copy it again"):
        rows.logits(np.zeros(32, np.float32), [0, 7])


def test_rounding_is_no_difference_and_anything_else_is():
    rng = np.random.default_rng(0)
    own = rng.normal(16, 4, (2, 144)).astype(np.float32)
    noisy = own + rng.normal(0, 0.015 * 4, own.shape).astype(np.float32)
    assert difference(own, noisy) == ""
    assert (
        difference(own + np.float32([[3], [-2]]), noisy) == ""
    )  # nothing that a choice or a score tells
    for scaled in (0.0625, 0.5, 0.96, 1.04, 8.0, -1.0):
        assert difference(own * scaled, noisy)
    assert difference(30 * np.tanh(own / 30), noisy)
    small = own - 16
    assert difference(20 * np.tanh(small / 20), noisy - 16)
    assert difference(own + rng.normal(0, 0.5, 144), noisy)
    assert difference(np.roll(own, 1, axis=1), noisy)
    assert difference(own[::-1], noisy)
    for broken in (np.zeros_like(own), np.full_like(own, np.nan), np.full_like(own, np.inf)):
        with np.errstate(all="ignore"):
            assert difference(own, broken)
            assert difference(broken, own)


def test_a_model_is_compared_once(f16, monkeypatch, warnings):
    compared = []

    def noted(*logits):
        compared.append(logits[0].shape)
        return difference(*logits)

    monkeypatch.setattr(module, "difference", noted)
    for _ in range(3):
        next_logits(engine_of(f16), IDS)
    assert len(compared) == 1
    next_logits(engine_of(f16, native="off"), IDS)
    assert len(compared) == 1
    assert not warnings()


def test_a_verdict_is_kept_and_told_each_time(f16, answers, monkeypatch, caplog, warnings):
    texts, expected = answers
    calls = []
    monkeypatch.setattr(module, "difference", lambda *logits: calls.append(1) or "they differ")
    for _ in range(2):
        assert load(f16).predict(texts) == expected
        assert said_once(warnings, "they differ")
        caplog.clear()
    assert len(calls) == 1


def test_where_no_comparison_comes_about_the_next_process_tries_again(
    f16, answers, monkeypatch, warnings
):
    texts, expected = answers
    calls = []

    def compare(*logits):
        calls.append(1)
        raise MemoryError("no memory to compare")

    monkeypatch.setattr(module, "difference", compare)
    for _ in range(2):
        assert load(f16).predict(texts) == expected
    assert len(calls) == 2
    assert all("no memory to compare" in text for text in warnings())


def test_a_head_with_a_scale_is_left_to_llama_cpp(f16, dev, tmp_path, monkeypatch, warnings):
    """Of an architecture that is no mere product, should one be taken for it."""
    path = renamed(f16, tmp_path / "scaled.gguf", "granite", logit_scale=4.0)
    monkeypatch.setattr(matrix, "PLAIN", (*matrix.PLAIN, "granite"))
    monkeypatch.setattr(matrix, "MORE", ())
    (own, expected), (tokens, found) = (
        next_logits(engine_of(path, native=native), IDS) for native in ("off", "auto")
    )
    assert said_once(warnings, "logits are 0.250 times its product")
    assert tokens == own
    assert np.abs(found - expected).max() < 0.05


def test_permuted_rows_are_left_to_llama_cpp(f16, monkeypatch, warnings):
    row = matrix.Matrix.row
    monkeypatch.setattr(
        matrix.Matrix, "row", lambda self, at, size: row(self, (at + 1) % 100, size)
    )
    (own, expected), (tokens, found) = (
        next_logits(engine_of(f16, native=native), IDS) for native in ("off", "auto")
    )
    assert said_once(warnings, "times its product")
    assert tokens == own
    assert np.abs(found - expected).max() < 0.05


NAMES = [
    "ggml_get_name",
    "ggml_nelements",
    "ggml_nbytes",
    "ggml_backend_tensor_get",
    "ggml_row_size",
    "ggml_get_type_traits",
    "ggml_fp16_to_fp32_row",
]


def plant(monkeypatch, name, function):
    found = native.symbol
    monkeypatch.setattr(native, "symbol", lambda n: function if n == name else found(n))


def real(name, result, *arguments):
    function = native.symbol(name)
    function.restype, function.argtypes = result, arguments
    return function


@pytest.mark.parametrize("name", NAMES)
def test_without_a_function_llama_cpp_multiplies_the_head(
    name, f16, answers, monkeypatch, warnings
):
    texts, expected = answers
    plant(monkeypatch, name, None)
    assert load(f16).predict(texts) == expected
    assert said_once(warnings, f"this llama.cpp has no {name}")


def test_with_another_table_of_types_llama_cpp_multiplies_the_head(
    f16, answers, monkeypatch, warnings
):
    texts, expected = answers
    traits = real("ggml_get_type_traits", ctypes.c_size_t, ctypes.c_int)
    plant(monkeypatch, "ggml_get_type_traits", lambda kind: traits(kind) + 8)
    assert load(f16).predict(texts) == expected
    assert said_once(warnings, "its table of number types has another layout")


def test_where_the_node_has_another_name_llama_cpp_multiplies_the_head(
    f16, answers, monkeypatch, warnings
):
    texts, expected = answers
    plant(monkeypatch, "ggml_get_name", lambda tensor: b"another")
    assert load(f16).predict(texts) == expected
    assert said_once(warnings, "it computes no result_norm")


READ = ("ggml_backend_tensor_get", None, *[ctypes.c_void_p] * 2, *[ctypes.c_size_t] * 2)
SIZE = ("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p)


@pytest.mark.parametrize("calls", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("function", [READ, SIZE])
def test_when_the_watcher_fails_llama_cpp_multiplies_the_head(
    function, calls, f16, answers, monkeypatch, warnings
):
    """While both are compared (two calls), or later, in the middle of a text."""
    texts, expected = answers
    before = real(*function)
    done = []

    def fails(*arguments):
        done.append(1)
        if len(done) > calls:
            raise OSError("it fails")
        return before(*arguments)

    plant(monkeypatch, function[0], fails)
    labeler = load(f16)
    for _ in range(2):
        assert labeler.predict(texts) == expected
        assert said_once(warnings, "OSError: it fails")
    assert calls < len(done) < calls + 3  # of each lane once


@pytest.mark.parametrize("calls", [0, 1, 2, 5])
def test_where_the_node_has_another_size_llama_cpp_multiplies_the_head(
    calls, f16, answers, monkeypatch, warnings
):
    texts, expected = answers
    before = real(*SIZE)
    done = []

    def halved(tensor):
        done.append(1)
        return before(tensor) // (1 if len(done) <= calls else 2)

    plant(monkeypatch, "ggml_nbytes", halved)
    assert load(f16).predict(texts) == expected
    assert said_once(warnings, "result_norm has")


def test_hidden_states_that_depend_on_being_cancelled_are_not_used(
    f16, answers, monkeypatch, warnings
):
    texts, expected = answers
    before = real(*READ)
    done = []

    def other(tensor, target, begin, size):
        before(tensor, target, begin, size)
        done.append(1)
        if len(done) == 2:
            ctypes.memset(target, 0, 4)

    plant(monkeypatch, "ggml_backend_tensor_get", other)
    assert load(f16).predict(texts) == expected
    assert said_once(warnings, "its hidden states are others when it is cancelled")


def test_where_nothing_can_be_kept_each_engine_compares(f16, tmp_path, monkeypatch, warnings):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MINISIFT_CACHE", str(tmp_path / "file" / "cache"))
    compared = []
    monkeypatch.setattr(module, "difference", lambda *logits: compared.append(1) or "")
    for _ in range(2):
        next_logits(engine_of(f16), IDS)
    assert len(compared) == 2
    assert not warnings()
