"""Exports that can be trusted: what is written, what is refused, what the report says."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch")
import gguf
from support.near_ties import settled
from support.places import SAMPLE

import minisift
from minisift.exceptions import VerificationError
from minisift.export import artifacts, convert
from minisift.export.subject import Subject
from minisift.export.verify import Check
from minisift.models.source import resolve
from minisift.prompting.response import target_of
from minisift.publish.description import predictor_of

LAST = "blk.1.ffn_down.weight"
"""A tensor of the small model's last layer."""


def tamper(path, change, name=LAST):
    """Change a tensor of a GGUF file in place."""
    reader = gguf.GGUFReader(path, "r+")
    (tensor,) = (tensor for tensor in reader.tensors if tensor.name == name)
    change(tensor.data)


def checking(labeler, examples):
    predictor = predictor_of(labeler.description, labeler.engine)
    subject = Subject(labeler.description, predictor, labeler.weights)
    return Check(subject, examples, tolerance=0.5)


@pytest.mark.slow
def test_tampered_weights_are_caught(fitted, fitted_loaded, dev, tmp_path):
    whole = fitted_loaded.engine.files[0]
    path = tmp_path / "notes.gguf"
    path.write_bytes(whole.read_bytes())
    check = checking(fitted, settled(fitted_loaded, dev)[:12])
    assert check.answers(path, "f16").lost <= 0.5
    check.refuse(check.answers(path, "f16"))
    tamper(path, lambda data: data.__setitem__(slice(None), -data), "blk.12.ffn_down.weight")
    with pytest.raises(VerificationError, match="logits"):
        check.refuse_logits(check.logits(path))
    with pytest.raises(VerificationError, match=r"blk\.12\.ffn_down.* 2\.00"):
        check.weights(path, whole)
    for block in range(12):
        tamper(path, lambda data: data.fill(0), f"blk.{block}.attn_output.weight")
    with pytest.raises(VerificationError, match=r"points of F1.*first to differ: '"):
        check.refuse(check.answers(path, "f16"))


def test_changed_labels_and_tokenizers_are_caught(small_file, small, dev, tmp_path):
    path = tmp_path / "notes.gguf"
    content = small_file.read_bytes()
    check = checking(small, dev[:4])
    # labels alone, names and prompt as they were
    assert content.count(b'"SYMPTOM"') > 1
    path.write_bytes(content.replace(b'"SYMPTOM"', b'"SYNDROM"'))
    with pytest.raises(VerificationError, match="SYNDROM"):
        check.answers(path, "f16")
    # two words of the vocabulary change places: not in the prompt, but in the texts
    words = {}
    for word in dev[0].text.split():
        ids = small.engine.tokenizer.encode(f" {word}")
        if len(ids) == 1 and ids[0] not in small.prefix:
            words.setdefault(len(word), []).append(word)
    one, other = next(pair for pair in words.values() if len(set(pair)) > 1)[:2]
    swapped = content
    for a, b in ((one, "\0" * len(one)), (other, one), ("\0" * len(one), other)):
        old, new = (_in_vocabulary(word) for word in (a, b))
        assert swapped.count(old) == 1
        swapped = swapped.replace(old, new)
    path.write_bytes(swapped)
    with pytest.raises(VerificationError, match="tokens"):
        checking(small, dev).answers(path, "f16")


def _in_vocabulary(word):
    token = f"\u0120{word}".encode()
    return len(token).to_bytes(8, "little") + token


def test_a_refused_export_leaves_no_file(small, dev, tmp_path, monkeypatch):
    whole = convert.Converter.write

    def damaged(self, path, *rest):
        whole(self, path, *rest)
        tamper(path, lambda data: data.fill(0))

    with monkeypatch.context() as patch:
        patch.setattr(convert.Converter, "write", damaged)
        with pytest.raises(VerificationError, match="logits"):
            small.export(tmp_path / "refused.gguf", verify_on=dev[:3])

    def miswritten(source, target, wanted):
        quantize(source, target, wanted)
        tamper(target, lambda data: data.fill(0))

    quantize = artifacts.quantize
    monkeypatch.setattr(artifacts, "quantize", miswritten)
    with pytest.raises(VerificationError, match=r"blk\.1\.ffn_down"):
        small.export(tmp_path / "refused.gguf", verify_on=dev[:3])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_auto_takes_the_smallest_that_keeps_the_score(trained, dev, tmp_path, size):
    path, examples = tmp_path / "auto.gguf", dev[:12]
    if size == "small":  # which is never right: its own answers stand for the gold ones
        examples = dev[:4]
        found = zip(examples, trained.predict(examples), strict=True)
        examples = [replace(example, spans=tuple(spans)) for example, spans in found]
    report = trained.export(path, quantization="auto", verify_on=examples, tolerance=3)
    *others, last = report["tried"]
    assert all(row["lost"] > 3 for row in others)
    assert last["lost"] <= 3
    assert report["quantization"] == last["quantization"]
    assert report["bytes"] == last["bytes"] == path.stat().st_size
    with pytest.raises(ValueError, match="verify_on"):
        trained.export(tmp_path / "x.gguf", quantization="auto", verify=False)


def test_several_adapters_on_one_base(small, small_base_file, small_adapter, dev, tmp_path):
    assert small_adapter.stat().st_size < 4e6
    one, two = (minisift.load(small_base_file, adapter=small_adapter) for _ in range(2))
    assert one.labels == small.labels
    assert one.predict(dev) == two.predict(dev)
    assert any(one.predict(dev))
    one.export(tmp_path / "kit", format="kit")
    modelfile = (tmp_path / "kit" / "Modelfile").read_text()
    assert f"FROM {small_base_file}\nADAPTER {small_adapter}\n" in modelfile
    with pytest.raises(ValueError, match="not a minisift labeler"):
        minisift.load(small_base_file)
    with pytest.raises(FileNotFoundError, match="missing"):
        minisift.load(small_base_file, adapter=tmp_path / "missing.gguf")


@pytest.mark.slow
def test_an_adapter_on_weights_of_another_quantization(fitted, dev, tmp_path):
    fitted.export(tmp_path / "lora.gguf", format="lora")
    assert (tmp_path / "lora.gguf").stat().st_size < 12e6
    labeler = minisift.load(resolve("smollm2-135m").gguf, adapter=tmp_path / "lora.gguf")
    assert labeler.evaluate(dev).f1 > fitted.evaluate(dev).f1 - 0.15


def test_a_merged_folder_is_a_model(trained, dev, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = tmp_path / "merged"
    trained.export(merged, format="hf")
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    ids = [*trained.prefix, *trained.renderer.text(target_of(dev[0]))]
    with torch.inference_mode():
        found = model(torch.tensor([ids])).logits[0, -1]
        wanted = trained.model()(torch.tensor([ids])).logits[0, -1]
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    tokenizer = AutoTokenizer.from_pretrained(merged)
    assert tokenizer.encode(dev[0].text, add_special_tokens=False)
    assert json.loads((merged / "labeler.json").read_text())["labels"] == trained.labels
    # a merged folder is a base like any other
    again = minisift.prompt(merged, dev, shots=2, instruction=None)
    again.export(tmp_path / "again.gguf", quantization="f16", verify_on=dev[:2])


def test_without_verification_the_model_is_never_loaded(small_folder, tmp_path):
    labeler = minisift.load(small_folder)
    labeler.export(tmp_path / "plain.gguf", quantization="q8_0", verify=False)
    assert labeler.weights.model.cache_info().currsize == 0
    plain = minisift.load(tmp_path / "plain.gguf")
    assert plain.verification() is None
    assert 'minisift.load("plain.gguf")' in plain.card()
    assert "- gguf\n" in plain.card()


def test_what_cannot_be_written_is_said_before_weights_load(small_folder, tmp_path):
    from transformers import GPTNeoXConfig

    GPTNeoXConfig().save_pretrained(tmp_path / "model")
    labeler = minisift.load(small_folder)
    base = {**labeler.description.base, "model": str(tmp_path / "model")}
    labeler.description = replace(labeler.description, base=base)
    with pytest.raises(ValueError, match=r"gpt_neox.*llama.*qwen3.*converter"):
        labeler.export(tmp_path / "x.gguf")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py"):
        labeler.export(tmp_path / "x.gguf", converter="nowhere.py")
    with pytest.raises(ValueError, match="merge_into"):
        labeler.export(tmp_path / "x.gguf", merge_into="something")
    with pytest.raises(ValueError, match="format"):
        labeler.export(tmp_path / "x.gguf", format="onnx")
    with pytest.raises(ValueError, match="q4_k_m"):
        labeler.export(tmp_path / "x.gguf", quantization="q99")
    assert labeler.weights.model.cache_info().currsize == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_converter_of_the_users(small, dev, tmp_path):
    """A script with the command line of llama.cpp's, which minisift's own writer stands in for."""
    script = tmp_path / "convert.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from minisift.export.convert import Converter\n"
        "from minisift.models.source import resolve\n"
        "folder, flag, path, kind, name = sys.argv[1:]\n"
        "assert (flag, kind, name) == ('--outfile', '--outtype', 'f16')\n"
        "Converter(resolve(folder), None, False).write(Path(path), {})\n"
    )
    path = tmp_path / "by-script.gguf"
    report = small.export(path, quantization="f16", verify_on=dev[:3], converter=script)
    assert report["same_spans"] >= 2
    script.write_text("raise SystemExit('no such architecture')")
    with pytest.raises(RuntimeError, match="no such architecture"):
        small.export(tmp_path / "x.gguf", converter=script)


def test_command_line(small_folder, tmp_path, capsys):
    from minisift.cli import main

    notes, path = str(small_folder), str(tmp_path / "cli.gguf")
    lines = (SAMPLE / "dev.jsonl").read_text().splitlines()[:8]
    data = tmp_path / "eight.jsonl"
    data.write_text("\n".join(lines))
    assert main(["export", notes, path, "--verify-on", str(data), "--tolerance", "30"]) == 0
    out = capsys.readouterr().out
    assert "q8_0" in out
    assert "8 texts" in out
    assert main(["export", notes, str(tmp_path / "cli-lora.gguf"), "--format", "lora"]) == 0
    assert main(["export", path, str(tmp_path / "y.gguf")]) == 2
    assert "already" in capsys.readouterr().err
