"""Plans of memory against what training really takes."""

import dataclasses
import json
import subprocess
import sys

import pytest

import minisift

pytest.importorskip("torch")

import torch

from minisift.training.dev_set import hold_out
from minisift.training.plan import with_advice
from minisift.training.settings import Settings

MEASURED = """
import json, re, sys
from pathlib import Path
import minisift
model, checkpointing, shots, batch_size = sys.argv[1], sys.argv[2] == "1", *map(int, sys.argv[3:])
settings = dict(
    gradient_checkpointing=checkpointing, shots=shots, max_prompts=6, batch_size=batch_size,
    evaluations=0, held_out=0,
)
train = minisift.read("minisift/sample/train.jsonl")
planned = minisift.plan(model, train, **settings)
minisift.fit(model, train, **settings)
# not ru_maxrss, which begins with what the parent had
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps([planned.total + planned.packed, peak]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("smollm2-135m", "0", "8", "1"), marks=pytest.mark.slow),
        pytest.param(("smollm2-135m", "1", "30", "1"), marks=pytest.mark.slow),
        pytest.param(("smollm2-135m", "0", "13", "2"), marks=pytest.mark.slow),
        pytest.param(("gemma-3-270m", "0", "8", "1"), marks=pytest.mark.slow),
    ],
)
def test_estimates_are_within_15_percent_of_the_peak(words):
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    planned, peak = json.loads(run.stdout.splitlines()[-1])
    assert planned == pytest.approx(peak, rel=0.15)


def test_a_plan_tells_what_fits_and_what_would(train):
    roomy = minisift.plan("smollm2-135m", train, device="cuda", memory=8)
    assert roomy.fits
    assert roomy.advice == ()
    assert roomy.unpacked
    assert not roomy.gradient_checkpointing  # what there is room for is not computed twice
    assert roomy.least < roomy.total
    assert roomy.tokens > 10 * roomy.longest
    assert 0 < roomy.packed < roomy.activations  # two rows a step, which share a pass
    assert "8 GB yes" in str(roomy)
    tight = minisift.plan("smollm2-135m", train, device="cuda", memory=0.5)
    assert not tight.fits
    assert tight.gradient_checkpointing
    assert not tight.unpacked
    assert tight.tokens == tight.longest
    assert tight.packed == 0
    assert any("shots=4" in line for line in tight.advice)
    assert "to save memory: " in str(tight)
    with pytest.raises(ValueError, match="memory="):
        minisift.plan("smollm2-135m", train, device="mps")


def test_copies_that_do_not_fit_are_not_planned(train):
    given = {"device": "cuda", "gradient_checkpointing": False, "max_prompts": 2, "shots": 30}
    ample = minisift.plan("smollm2-135m", train, memory=8, **given)
    assert ample.unpacked
    scarce = minisift.plan("smollm2-135m", train, memory=ample.total / 1e9 - 0.01, **given)
    assert not scarce.unpacked
    assert scarce.total == scarce.least == ample.least
    assert scarce.fits


def test_a_plan_counts_the_share_of_each_process(train, monkeypatch):
    whole = minisift.plan("smollm2-135m", train, device="cuda", memory=1)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("WORLD_SIZE", "4")
    shared = minisift.plan("smollm2-135m", train, device="cuda", memory=1)
    layers = 106_168_320 * (0.5 + 1 / 64 + 4 / (64 * 256))  # all of them, in NF4
    assert shared.weights == pytest.approx(whole.weights - layers * (3 / 4 - 2 / 30), rel=1e-3)
    same = {name: getattr(whole, name) for name in ("weights", "tokens", "packed", "least")}
    assert dataclasses.replace(shared, **same) == whole


def test_plans_count_what_a_cpu_computes_in(train, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    plan = minisift.plan("smollm2-135m", train, device="cpu", memory=8, quantize=None)
    assert plan.weights == plan.parameters * 4
    assert plan.least == plan.total
    assert "float32" in str(plan)


def test_advice_is_one_change_at_a_time(train):
    plan = minisift.plan("smollm2-135m", train, device="cpu", memory=0.1, quantize=None)
    tried = []

    def retry(settings):
        tried.append(settings)
        if settings.max_length == plan.longest // 2 and len(tried) > 4:
            raise ValueError("no training sentence is so short")
        return dataclasses.replace(plan, weights=plan.weights - len(tried))

    def advised():
        told = with_advice(plan, Settings(quantize=None), retry)
        return [line.split("=")[0] for line in told.advice[:-1]]

    assert advised() == ["gradient_checkpointing", "quantize", "shots", "max_length"]
    assert advised() == ["gradient_checkpointing", "quantize", "shots"]


def test_a_plan_takes_and_refuses_what_fit_does(train, tmp_path):
    labels = sorted({span.label for example in train for span in example.spans})
    given = {
        "dev_set": train[:5],
        "names": {labels[0]: "some name"},
        "descriptions": {labels[0]: "what it is"},
        "instruction": True,
        "output_dir": tmp_path / "new",
        "resume": True,
    }
    plan = minisift.plan("smollm2-135m", train[:20], max_prompts=2, **given)
    assert json.loads(json.dumps(plan.to_dict())) == {
        **dataclasses.asdict(plan),
        "dtype": str(plan.dtype).removeprefix("torch."),
        "advice": list(plan.advice),
        "total": plan.total,
        "fits": plan.fits,
    }
    assert list(tmp_path.iterdir()) == []
    for wrong in (
        {"names": {"X": "y"}},
        {"descriptions": {"X": "y"}},
        {"dev_set": []},
        {"dev_set": "missing.jsonl"},
        {"resume": True, "output_dir": None},
        {"output_dir": __file__},
        {"shots": -1},
    ):
        for call in (minisift.plan, minisift.fit):
            with pytest.raises((ValueError, OSError), match="fix: "):
                call("smollm2-135m", train, **{**given, **wrong})
    for wrong in ({"device": "tpu"}, {"memory": float("nan")}, {"memory": 0}):
        with pytest.raises(ValueError, match="fix: "):
            minisift.plan("smollm2-135m", train, **wrong)


def test_a_plan_leaves_out_what_fit_holds_out(train, caplog):
    given = {"device": "cuda", "memory": 8, "epochs": 1, "shots": 0, "seed": 4}
    kept, _ = hold_out(train, 0.1, 4)
    plan = minisift.plan("smollm2-135m", kept, held_out=0, **given)
    caplog.clear()
    assert minisift.plan("smollm2-135m", train, **given) == plan
    assert "25 of 250 sentences are held out" in caplog.text
