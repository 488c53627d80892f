"""The command line as people run it: every command in a process of its own."""

import json
import re
from dataclasses import fields

import pytest
from support.commands import (
    FIT,
    INSPECT,
    LINES,
    PLAN,
    PROMPT,
    READING,
    RECORDS,
    Run,
    flags,
    reading,
)

import minisift
from minisift.training.settings import Settings


def test_fit(here, fit_run):
    made = json.loads((here / "labeler" / "labeler.json").read_text(encoding="utf-8"))
    assert fit_run.json["settings"] == made["settings"]
    assert "nothing to continue" in fit_run.err
    asked = flags(FIT)
    for field in fields(Settings):
        value = made["settings"][field.name]
        word = "" if value is True else str(value).lower()
        assert asked["--" + field.name.replace("_", "-")] == word
        assert value != field.default or field.name == "quantize"
    assert made["names"] == {"LOC": "location", "PER": "human"}
    assert "- location: a town" in made["instruction"]
    assert made["scores"]["dev"]["sentences"] == 4
    assert fit_run.json["errors"]["confusion"][0] == ["gold \\ found", "LOC", "PER", "-"]
    assert {example["text"] for example in made["demonstrations"]} <= {
        "Müller Feld kam",
        "Lyon war schön",
        "Nora mag Bonn",
        "Regen",
    }


def test_a_line_for_fit_is_one_for_plan(here, export_run, run):
    planned = Run(PLAN, here).json
    assert (planned["device"], planned["dtype"], planned["quantize"]) == ("cuda", "bfloat16", "nf4")
    assert planned["available"] == 8e9
    assert planned["fits"]
    assert planned["gradient_checkpointing"]
    parts = ("weights", "adapter", "activations", "overhead")
    assert planned["total"] == sum(planned[part] for part in parts)
    printed = run("named").out
    assert "35M parameters on cuda, bf16" in printed
    assert "available                                    0.90 GB" in printed


def test_fit_goes_on_from_a_labeler(here, fit_run):
    assert "start" not in Run(LINES["onward"], here).json["settings"]
    made = [
        json.loads((here / name / "labeler.json").read_text()) for name in ("labeler", "onward")
    ]
    assert made[0]["start"] is None
    assert made[1]["start"].startswith("sha256:")


def test_prompt(here, fit_run):
    made = Run(PROMPT, here).json
    described = json.loads((here / "prompted" / "labeler.json").read_text(encoding="utf-8"))
    assert made["output_dir"] == "prompted"
    assert (made["shots"], made["seed"]) == (2, 3)
    assert made["start"] == described["start"]
    assert made["start"].startswith("sha256:")
    assert made["scores"]["dev"]["sentences"] == 4
    assert set(made["errors"]) == {"counts", "confusion", "examples", "surest"}
    assert described["base"]["quantize"] == "nf4"
    assert "- location: a town" in described["instruction"]
    assert (here / "prompted" / "adapter_model.safetensors").is_file()
    printed = Run(LINES["chosen"], here).out
    assert printed.startswith("chosen: PER; shows 1 sentences\n")
    assert "gold \\ found" in printed
    assert json.loads((here / "chosen" / "labeler.json").read_text())["instruction"] == ""


def test_check(here, run):
    found = run("check").json
    assert (found["format"], found["sentences"], found["spans"]) == ("jsonl", 1, {"PER": 1})
    assert found["twins"][0]["kind"] == "the same in dev"
    assert found["plan"]["parameters"] > 0
    assert found["problems"] == []
    printed = run("checked").out
    assert "own.jsonl: jsonl\n1 sentences, 5 words" in printed
    assert "  [Nora PER] war in Lyon." in printed
    hostile = {"text": "Nora\x1b[2J war", "spans": [{"start": 0, "end": 4, "label": "\x1b[1mPER"}]}
    (here / "hostile.jsonl").write_text(json.dumps(hostile))
    printed = Run("check hostile.jsonl", here).out
    assert "\x1b" not in printed
    assert "[Nora ␛[1mPER]␛[2J war" in printed
    told = run("refused", status=1).out
    assert "Problems, which fit would stop at:\n  broken.jsonl:1" in told
    assert "; fix: " in told


@pytest.mark.parametrize("file", READING)
def test_check_reads_with_options(file, here):
    found = Run(f"check {reading(file)} --json", here, status=int(file == "broken.jsonl")).json
    assert set(found["spans"]) == {"LOC", "PER"}


def test_inspect(here, run):
    seen = Run(INSPECT, here).json
    assert (seen["strategy"], seen["prompts"]) == ("src", 4)
    assert {tuple(token["counted"]) for token in seen["tokens"]} >= {("vanilla",)}
    told = run("seen").out
    assert told.startswith("The first of 3 prompts, ")
    assert "under mrc (in brackets).\n" in told
    assert "Text: Nora war in Lyon.⏎\n" in told


@pytest.mark.parametrize("file", READING)
def test_show_reads_with_options(file, here):
    Run(f"show {reading(file)} --output read.html", here)
    shown = (here / "read.html").read_text()
    assert "<small>PER</small>" in shown
    assert "<small>LOC</small>" in shown


def test_show(here, run):
    run("shown")
    assert "Nora<small>PER</small>" in (here / "page.html").read_text()
    run("wrong")
    assert "labelled by notes.gguf" in (here / "wrong.html").read_text()


def test_export(here, export_run):
    assert export_run.json["quantization"] == "f16"
    assert "tried" not in export_run.json
    assert (here / "notes.gguf").stat().st_size == export_run.json["bytes"]


def test_export_refuses_what_is_worse(here, run):
    refused = run("strict", status=2)
    assert "allowed are -500.0" in refused.err
    assert not (here / "strict.gguf").exists()


def test_export_an_adapter_and_a_kit(here, run):
    assert "lora.gguf: " in run("lora").out
    assert run("kit").json["path"] == "kit"
    assert (here / "kit" / "labels.gbnf").is_file()


def test_export_a_merged_folder(here, run):
    from safetensors.torch import load_file

    assert run("merged").json["bytes"] > 6e7
    merged, original = (
        load_file(here / file)["model.layers.0.mlp.up_proj.weight"].float()
        for file in ("merged/model-00001.safetensors", "base/model.safetensors")
    )
    assert (merged - original).norm() < 0.05 * original.norm()  # four bits are 0.1 away


def test_predict_texts(run):
    lines = [json.loads(line) for line in run("texts").out.splitlines()]
    assert [line["text"] for line in lines] == ["Nora Feld kam.", ""]
    assert all(list(line) == ["text", "spans"] for line in lines)
    assert run("readable").out.startswith("Nora Feld kam.\n")
    sure = run("sure")
    assert "below the threshold" in sure.err or not lines[0]["spans"]
    assert all(span["score"] == 1 for span in sure.json["spans"])


def test_predict_records(here, run):
    done = run("records")
    assert done.out == ""
    assert "2 texts in " in done.err
    assert "1 records had spans, which are replaced" in done.err
    text = (here / "out.jsonl").read_text(encoding="utf-8")
    first, second = map(json.loads, text.splitlines())
    assert list(first) == ["id", "data", "meta", "spans"]
    assert list(second) == ["id", "data", "z", "spans"]
    for record, given in zip((first, second), RECORDS, strict=True):
        assert {**given, "spans": []} == {**record, "spans": []}
    again = minisift.read(here / "out.jsonl", text_field="data.text")
    assert [example.text for example in again] == ["Nora Feld kam.", ""]


def test_predict_long_texts(here, run):
    assert "fix: cut the text" in run("long", status=2).err
    assert not (here / "never.jsonl").exists()


@pytest.mark.parametrize(
    ("given", "flag", "texts"),
    [
        (b"\xef\xbb\xbfNora\r\n\nFeld \xc3\xbc", "", ["Nora", "", "Feld ü"]),
        (b'"Nora"\n\n{"text": "\\ud800"}\n', "--input-format jsonl", ["Nora", "\ud800"]),
        (b"id,text\n1,Nora\n", "--input - --input-format csv", ["Nora"]),
    ],
)
def test_predict_a_pipe(given, flag, texts, here, export_run, tmp_path):
    done = Run(f"predict notes.gguf {flag}", here, given=given)
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == texts
    (tmp_path / "out.jsonl").write_text(done.out, encoding="utf-8")
    assert [example.text for example in minisift.read(tmp_path / "out.jsonl")] == texts


def test_a_broken_line_of_a_pipe_is_named(here, export_run):
    line = "predict notes.gguf --output never.jsonl --input-format"
    for format, given, told in (("lines", b"a\n\xfc\n", "stdin:2"), ("jsonl", b"{}", "stdin:1")):
        assert told in Run(f"{line} {format}", here, status=2, given=given).err
    assert not (here / "never.jsonl").exists()


def test_evaluate(run):
    scores = run("scores").json
    assert (scores["sentences"], scores["micro"]["gold"]) == (1, 1)
    with_errors = run("errors").json
    assert set(with_errors) - set(scores) == {"errors"}
    printed = run("folder")
    assert printed.err == "loading labeler\n"
    assert "1 sentences" in printed.out


@pytest.mark.parametrize("how", ["", "--json"])
def test_evaluate_tells_what_was_cut(how, here, export_run):
    record = {"text": "Nora Feld kam nach Berlin. " * 200, "spans": []}
    (here / "long.jsonl").write_text(json.dumps(record))
    done = Run(f"evaluate notes.gguf long.jsonl {how}", here)
    assert re.search(r"^1 texts in windows$", done.err, re.MULTILINE)
    assert "windows" not in done.out


@pytest.mark.parametrize("file", READING)
def test_reading(file, here, export_run):
    scores = Run(f"evaluate notes.gguf {reading(file)} --json", here)
    gold = {label: row["gold"] for label, row in scores.json["per_label"].items() if row["gold"]}
    assert set(gold) == {"LOC", "PER"}
    assert ("1 spans snapped to words" in scores.err) == (file == "broken.jsonl")
    told = "names for labels that are not in the data: NO; fix: use some of LOC, PER"
    for command in ("fit", "plan"):
        line = f"{command} smollm2-135m {reading(file)} --output-dir new --names"
        done = Run(f"""{line} '{{"NO": "x"}}'""", here, status=2)
        assert done.err.endswith(f"minisift: {told}\n")
    options = READING[file]
    wanted = minisift.read(here / file, **options)
    for name in options:
        less = {other: value for other, value in options.items() if other != name}
        try:
            assert minisift.read(here / file, **less) != wanted
        except minisift.DataError:
            continue
