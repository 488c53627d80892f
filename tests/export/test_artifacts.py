"""Exports that can be trusted: what is written, what is refused, what the report says."""

import dataclasses
import json
from pathlib import Path

import pytest
from near_ties import settled

pytest.importorskip("torch")
import gguf

import minisift
from minisift.exceptions import VerificationError
from minisift.export.verify import Check


def tamper(path, change, name="blk.12.ffn_down.weight"):
    """Change a tensor of a GGUF file in place."""
    reader = gguf.GGUFReader(path, "r+")
    (tensor,) = (tensor for tensor in reader.tensors if tensor.name == name)
    change(tensor.data)


def test_the_report_travels_with_the_file(exported, dev):
    report, labeler = exported
    kept = labeler.verification()
    assert kept == {name: value for name, value in report.items() if name != "path"}
    assert kept["texts"] == len(dev)
    assert kept["reference"] - kept["f1"] == pytest.approx(kept["lost"], abs=0.01)
    assert 0 < kept["logit_difference"] < 0.01 * kept["largest_logit"]
    text = labeler.card()
    assert "| f16 | 271 |" in text
    assert "base_model: HuggingFaceTB/SmolLM2-135M-Instruct" in text


def test_the_card_of_a_folder_names_no_place(fitted, folder):
    text = (folder / "notes" / "README.md").read_text()
    assert text == minisift.load(folder / "notes").card()
    assert "learning_curve.png" in text
    assert "learning_curve.png" not in fitted.card()  # where there would be none
    assert "| MEDICATION | medication |" in text
    assert "| micro |" in text
    config = (folder / "notes" / "adapter_config.json").read_text()
    for place in (str(folder), "/root", ".cache"):
        assert place not in text + config


def test_tampered_weights_are_caught(exported, fitted, dev, tmp_path):
    _, labeler = exported
    path = tmp_path / "notes.gguf"
    path.write_bytes(labeler.engine.files[0].read_bytes())
    check = Check(fitted, settled(fitted, dev)[:12], tolerance=0.5)
    assert check.answers(path, "f16").lost <= 0.5
    check.refuse(check.answers(path, "f16"))
    tamper(path, lambda data: data.__setitem__(slice(None), -data))
    with pytest.raises(VerificationError, match="logits"):
        check.refuse_logits(check.logits(path))
    with pytest.raises(VerificationError, match=r"blk\.12\.ffn_down.* 2\.00"):
        check.weights(path, labeler.engine.files[0])
    for block in range(12):
        tamper(path, lambda data: data.fill(0), f"blk.{block}.attn_output.weight")
    with pytest.raises(VerificationError, match=r"points of F1.*first to differ: '"):
        check.refuse(check.answers(path, "f16"))


def test_changed_labels_and_tokenizers_are_caught(exported, fitted, dev, tmp_path):
    _, labeler = exported
    path = tmp_path / "notes.gguf"
    content = labeler.engine.files[0].read_bytes()
    check = Check(fitted, dev[:4], tolerance=0.5)
    # labels alone, names and prompt as they were
    assert content.count(b'"SYMPTOM"') > 1
    path.write_bytes(content.replace(b'"SYMPTOM"', b'"SYNDROM"'))
    with pytest.raises(VerificationError, match="SYNDROM"):
        check.answers(path, "f16")
    # two words of the vocabulary change places: not in the prompt, but in the texts
    one, other = "\u0120aspirin".encode(), "\u0120warfarin".encode()
    words = {}
    for word in dev[0].text.split():
        ids = fitted.engine.tokenizer.encode(f" {word}")
        if len(ids) == 1 and ids[0] not in fitted.prefix:
            words.setdefault(len(word), []).append(word)
    one, other = next(pair for pair in words.values() if len(set(pair)) > 1)[:2]
    swapped = content
    for a, b in ((one, "\0" * len(one)), (other, one), ("\0" * len(one), other)):
        old, new = (_in_vocabulary(word) for word in (a, b))
        assert swapped.count(old) == 1
        swapped = swapped.replace(old, new)
    path.write_bytes(swapped)
    with pytest.raises(VerificationError, match="tokens"):
        Check(fitted, dev, tolerance=0.5).answers(path, "f16")


def _in_vocabulary(word):
    token = f"\u0120{word}".encode()
    return len(token).to_bytes(8, "little") + token


def test_a_refused_export_leaves_no_file(fitted, dev, folder, monkeypatch):
    from minisift.export import artifacts as export
    from minisift.export import convert

    whole = convert.Converter.write

    def damaged(self, path, *rest):
        whole(self, path, *rest)
        tamper(path, lambda data: data.fill(0))

    with monkeypatch.context() as patch:
        patch.setattr(convert.Converter, "write", damaged)
        with pytest.raises(VerificationError, match="logits"):
            fitted.export(folder / "refused.gguf", verify_on=dev[:3])

    def miswritten(source, target, wanted):
        quantize(source, target, wanted)
        tamper(target, lambda data: data.fill(0))

    quantize = export.quantize
    monkeypatch.setattr(export, "quantize", miswritten)
    with pytest.raises(VerificationError, match=r"blk\.12\.ffn_down"):
        fitted.export(folder / "refused.gguf", verify_on=dev[:3])
    assert not list(folder.glob("*refused*"))


def test_auto_takes_the_smallest_that_keeps_the_score(fitted, dev, folder):
    report = fitted.export(
        folder / "auto.gguf", quantization="auto", verify_on=dev[:12], tolerance=3
    )
    *others, last = report["tried"]
    assert all(row["lost"] > 3 for row in others)
    assert last["lost"] <= 3
    assert report["quantization"] == last["quantization"]
    assert report["bytes"] == last["bytes"] == (folder / "auto.gguf").stat().st_size
    with pytest.raises(ValueError, match="verify_on"):
        fitted.export(folder / "x.gguf", quantization="auto", verify=False)


def test_several_adapters_on_one_base(fitted, dev, folder):
    from minisift.models.source import resolve

    fitted.export(folder / "notes-lora.gguf", format="lora")
    assert (folder / "notes-lora.gguf").stat().st_size < 12e6
    base = resolve("smollm2-135m").gguf
    one, two = (minisift.load(base, adapter=folder / "notes-lora.gguf") for _ in range(2))
    assert one.labels == fitted.labels
    assert one.predict(dev) == two.predict(dev)
    one.export(folder / "lora-kit", format="kit")
    modelfile = (folder / "lora-kit" / "Modelfile").read_text()
    assert f"FROM {base}\nADAPTER {folder / 'notes-lora.gguf'}\n" in modelfile
    # on weights of another quantization than those of the training
    assert one.evaluate(dev).f1 > fitted.evaluate(dev).f1 - 0.15
    with pytest.raises(ValueError, match="not a minisift labeler"):
        minisift.load(base)
    with pytest.raises(FileNotFoundError, match="missing"):
        minisift.load(base, adapter=folder / "missing.gguf")


def test_a_merged_folder_is_a_model(fitted, dev, folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    fitted.export(folder / "merged", format="hf")
    model = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32).eval()
    ids = [*fitted.prefix, *fitted.renderer.text(dev[0])]
    with torch.inference_mode():
        found = model(torch.tensor([ids])).logits[0, -1]
        wanted = fitted.model()(torch.tensor([ids])).logits[0, -1]
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    tokenizer = AutoTokenizer.from_pretrained(folder / "merged")
    assert tokenizer.encode(dev[0].text, add_special_tokens=False)
    assert json.loads((folder / "merged" / "labeler.json").read_text())["labels"] == fitted.labels
    # a merged folder is a base like any other
    again = minisift.prompt(folder / "merged", dev, shots=2, instruction=None)
    again.export(folder / "again.gguf", quantization="f16", verify_on=dev[:2])


def test_without_verification_the_model_is_never_loaded(folder, fitted):
    labeler = minisift.load(folder / "notes")
    labeler.export(folder / "plain.gguf", quantization="q8_0", verify=False)
    assert labeler._model.cache_info().currsize == 0
    plain = minisift.load(folder / "plain.gguf")
    assert plain.verification() is None
    assert 'minisift.load("plain.gguf")' in plain.card()
    assert "- gguf\n" in plain.card()


def test_what_cannot_be_written_is_said_before_weights_load(folder, fitted, tmp_path):
    from transformers import GPTNeoXConfig

    GPTNeoXConfig().save_pretrained(tmp_path / "model")
    base = {**fitted.description.base, "model": str(tmp_path / "model")}
    labeler = minisift.load(folder / "notes")
    labeler.description = dataclasses.replace(labeler.description, base=base)
    with pytest.raises(ValueError, match=r"gpt_neox.*llama.*qwen3.*converter"):
        labeler.export(folder / "x.gguf")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py"):
        labeler.export(folder / "x.gguf", converter="nowhere.py")
    with pytest.raises(ValueError, match="merge_into"):
        labeler.export(folder / "x.gguf", merge_into="something")
    with pytest.raises(ValueError, match="format"):
        labeler.export(folder / "x.gguf", format="onnx")
    assert not list(folder.glob("*x.gguf*"))


def test_a_converter_of_the_users(fitted, dev, folder, tmp_path):
    """A script with the command line of llama.cpp's, which minisift's own writer stands in for."""
    script = tmp_path / "convert.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from minisift.export.convert import Converter\n"
        "from minisift.models import resolve\n"
        "folder, flag, path, kind, name = sys.argv[1:]\n"
        "assert (flag, kind, name) == ('--outfile', '--outtype', 'f16')\n"
        "Converter(resolve(folder), None, False).write(Path(path), {})\n"
    )
    report = fitted.export(
        folder / "by-script.gguf", quantization="f16", verify_on=dev[:6], converter=script
    )
    assert report["same_spans"] >= 5
    script.write_text("raise SystemExit('no such architecture')")
    with pytest.raises(RuntimeError, match="no such architecture"):
        fitted.export(folder / "x.gguf", converter=script)


def test_command_line(folder, fitted, capsys):
    from minisift.cli import main

    notes, path = str(folder / "notes"), str(folder / "cli.gguf")
    lines = Path("minisift/sample/dev.jsonl").read_text().splitlines()[:8]
    data = folder / "eight.jsonl"
    data.write_text("\n".join(lines))
    assert main(["export", notes, path, "--verify-on", str(data), "--tolerance", "30"]) == 0
    out = capsys.readouterr().out
    assert "q8_0" in out
    assert "8 texts" in out
    assert main(["export", notes, str(folder / "cli-lora.gguf"), "--format", "lora"]) == 0
    assert main(["export", path, str(folder / "y.gguf")]) == 2
    assert "already" in capsys.readouterr().err
