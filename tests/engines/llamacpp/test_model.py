"""Models and tokenizers of GGUF files."""

import pytest

import minisift
from minisift.engines.llamacpp import model, native
from minisift.engines.llamacpp.model import Model, load_file, load_tokenizer


def test_the_log_is_there_for_who_wants_it(f16, caplog):
    minisift.load(f16).close()
    assert not caplog.records
    with caplog.at_level("DEBUG", logger="minisift.engines.llamacpp.model"):
        minisift.load(f16).close()
    assert any("general.architecture" in record.message for record in caplog.records)


@pytest.mark.parametrize("settings", [{}, {"vocab_only": True}])
def test_a_file_is_opened_in_one_place_with_one_message(settings, f16, tmp_path):
    native.llama.llama_model_free(load_file(f16, **settings))
    with pytest.raises(FileNotFoundError, match="no such file; fix: give the path of a GGUF file"):
        load_file(tmp_path / "absent.gguf", **settings)
    broken = tmp_path / "broken.gguf"
    for content in (b"", b"no model", f16.read_bytes()[:1000]):
        broken.write_bytes(content)
        for opening in (load_file, load_tokenizer, minisift.load):
            with pytest.raises(ValueError, match=r"broken\.gguf: llama\.cpp cannot load it; fix: "):
                opening(broken)


def test_an_adapter_has_to_be_one_of_this_model(engine_files, tmp_path):
    base = engine_files / "base.gguf"
    with pytest.raises(FileNotFoundError, match="give the path of an adapter's GGUF file"):
        Model(base, tmp_path / "absent.gguf", 0)
    with pytest.raises(ValueError, match=r"llama\.cpp cannot load it on this model; fix: "):
        Model(base, engine_files / "f16.gguf", 0)


def test_which_way_a_model_goes(f16):
    with_gpu = native.llama.llama_supports_gpu_offload()
    for layers, is_native, is_plain in (
        (0, True, False),
        (0, False, True),
        (-1, True, with_gpu),
        ("auto", True, with_gpu),
        (999, True, with_gpu),
        (999, False, True),
    ):
        made = Model(f16, None, layers, is_native)
        assert made.is_plain is is_plain
        assert (made.head is None) is is_plain
        made.free()


def test_a_tokenizer_alone_is_the_models(f16):
    labeler = minisift.load(f16)
    alone = load_tokenizer(f16)
    assert alone.pieces == labeler.engine.tokenizer.pieces
    for text in ("Ann met Bob in Oslo.", "", "naïve 你好 🙂\n\n x"):
        assert alone.encode(text) == labeler.engine.tokenizer.encode(text)


@pytest.mark.parametrize(
    ("has_amx", "is_out", "is_native", "extra"),
    [
        (False, True, True, True),
        (True, True, True, True),
        (True, False, True, False),
        (True, True, False, False),
        (False, True, False, True),
    ],
)
def test_with_amx_that_cannot_be_taken_out_no_layout_is_used(
    has_amx, is_out, is_native, extra, f16, monkeypatch, caplog
):
    """A switch that llama-cpp-python declares does so, at the cost of the other layouts."""
    llama = native.llama
    said = b"AMX_INT8 = 1 | " if has_amx else b""
    monkeypatch.setattr(model.sys, "platform", "linux")
    monkeypatch.setattr(llama, "llama_print_system_info", lambda: said)
    monkeypatch.setattr(native, "without_amx", lambda: is_out)
    loading, given = llama.llama_model_load_from_file, []

    def noted(path, params):
        given.append(params.use_extra_bufts)
        return loading(path, params)

    monkeypatch.setattr(llama, "llama_model_load_from_file", noted)
    model.is_without_amx.cache_clear()
    try:
        for _ in range(2):
            llama.llama_model_free(load_file(f16, is_native))
    finally:
        model.is_without_amx.cache_clear()
    assert given == [extra] * 2
    told = ["labelling is slower, answers are right" in message for message in caplog.messages]
    assert told == [True] * (has_amx and is_native and not is_out)
