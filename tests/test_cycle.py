"""The whole cycle at full size: train, save, reload, merge, GGUF, llama.cpp, the same answers.

What needs no model of this size is tested on two layers, elsewhere.
"""

import json

import pytest
from support.near_ties import completions, lead

import minisift

pytest.importorskip("torch")


def ranges(spans):
    return [(span.start, span.end, span.label) for span in spans]


def test_training_teaches(fitted, dev):
    made = fitted.description.made
    assert made["prompts"] == 40
    assert made["training"]["loss"] < 1.0
    f1 = fitted.evaluate(dev).f1
    assert f1 > 0.4
    assert made["scores"]["dev"]["micro"]["f1"] == pytest.approx(f1, abs=1e-4)


def test_fit_calibrates_on_its_dev_set(fitted, folder):
    content = json.loads((folder / "notes" / "labeler.json").read_text())
    assert content["temperature"] == fitted.description.temperature != 1.0


def test_the_folder_describes_itself(fitted, dev, folder):
    content = json.loads((folder / "notes" / "labeler.json").read_text())
    assert content["labels"] == ["DOSE", "MEDICATION", "PERSON", "SYMPTOM"]
    assert content["settings"]["seed"] == content["seed"] == 0
    assert {p.name for p in (folder / "notes").iterdir()} >= {"adapter_model.safetensors"}
    again = minisift.load(folder / "notes")
    assert again.predict(dev[:6]) == fitted.predict(dev[:6])


def test_the_file_answers_as_the_adapter(exported, dev, fitted):
    report, labeler = exported
    assert report["texts"] == len(dev)
    assert report["same_spans"] >= len(dev) - 2
    for ours, theirs in zip(completions(labeler, dev), completions(fitted, dev), strict=True):
        pairs = enumerate(zip(ours.tokens, theirs.tokens, strict=False))
        differs = next((at for at, (a, b) in pairs if a != b), None)
        if differs is not None:  # only where the runner-up was as good but for rounding
            for whose, answer in ((labeler, ours), (fitted, theirs)):
                assert lead(whose, answer, differs) < report["logit_difference"]
    agreeing = sum(
        ranges(a) == ranges(b)
        for a, b in zip(labeler.predict(dev), fitted.predict(dev), strict=True)
    )
    assert agreeing == report["same_spans"]


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


@pytest.mark.slow
def test_q8_0_answers_as_the_adapter(fitted_as, dev, fitted):
    report = fitted_as("q8_0")
    assert report["lost"] < 10
    f1 = minisift.load(report["path"]).evaluate(dev).f1
    assert 100 * f1 == pytest.approx(report["f1"], abs=0.01)
    assert f1 > fitted.evaluate(dev).f1 - 0.1


def test_thresholds_of_scores_that_mean_something(exported, dev):
    _, labeler = exported
    assert sum(map(len, labeler.predict(dev, threshold=0.9))) > 0
    dosed = labeler.predict(dev, threshold={"DOSE": 1.0})
    assert {s.label for spans in dosed for s in spans} >= {"MEDICATION"}


@pytest.mark.slow
def test_quantized(fitted_as, dev, folder):
    """A model of 40 training prompts has many near ties, so not all its answers survive."""
    report = fitted_as("q4_k_m")
    assert report["lost"] <= 30
    assert report["bytes"] < 0.5 * fitted_as("f16")["bytes"]
    assert report["same_spans"] > len(dev) / 3
    assert minisift.load(report["path"]).evaluate(dev).f1 > 0.3


@pytest.mark.slow
def test_gemma_prompted_and_exported(train, dev, folder):
    """The second architecture: in-context learning, merged without an adapter, F16."""
    labeler = minisift.prompt("gemma-3-270m", train, shots=3, instruction=None)
    report = labeler.export(folder / "gemma.gguf", quantization="f16", verify_on=dev[:8])
    assert report["same_spans"] >= 7
