"""Passes, loss, the loop, resuming; on tiny random models."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisift.cli import _parser
from minisift.data.examples import Example
from minisift.prompting.renderer import Row
from minisift.training.settings import Settings, make_settings

pytest.importorskip("torch")

import torch
from tiny_models import SMALL, TINY, tiny

from minisift.models.loading import unpack
from minisift.training import attention
from minisift.training.loop import Training
from minisift.training.loss import Objective
from minisift.training.packing import collate, pack
from minisift.training.rows import targets, training_rows

rows = st.lists(
    st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=2, max_size=9).map(
        lambda pairs: Row([t for t, _ in pairs], [m for _, m in pairs])
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(rows)
def test_a_pass_predicts_the_counted_next_tokens(batch):
    found = collate(batch)
    ids, positions = found["input_ids"][0].tolist(), found["position_ids"][0].tolist()
    assert ids == [token for row in batch for token in row.ids]
    assert positions == [at for row in batch for at in range(len(row.ids))]
    wanted = [row.ids[at] for row in batch for at in range(1, len(row.ids)) if row.mask[at]]
    assert found["labels"].tolist() == wanted
    assert [ids[at + 1] for at in found["kept"].tolist()] == wanted
    assert len(wanted) == sum(map(targets, batch))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 60))
def test_rows_are_packed_into_passes(lengths, room):
    batch = [Row([i] * length, [True] * length) for i, length in enumerate(lengths)]
    passes = pack(batch, room)
    assert sorted(row.ids[0] for group in passes for row in group) == list(range(len(batch)))
    for group in passes:
        assert len(group) == 1 or sum(len(row.ids) for row in group) <= room


def train(model, batch, chosen, **options):
    return Training(model, batch, chosen, **options).run()


def random_rows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        length = int(torch.randint(6, 20, (), generator=generator))
        ids = torch.randint(1, 40, (length,), generator=generator).tolist()
        found.append(Row(ids, [at >= length // 2 for at in range(length)]))
    return found


def plain_loss(model, row):
    """The sum over the targets, as the model computes it alone and whole."""
    logits = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
    counted = [at for at in range(1, len(row.ids)) if row.mask[at]]
    return -sum(logits[at - 1, row.ids[at]] for at in counted)


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize(("chunk", "plain"), [(1 << 22, 1024), (80, 0)])
def test_a_packed_loss_and_its_gradients_are_those_of_the_rows_alone(
    kind, chunk, plain, monkeypatch
):
    monkeypatch.setattr("minisift.training.loss._LOGITS", chunk)
    monkeypatch.setattr("minisift.training.loss._PLACES", 1)
    monkeypatch.setattr("minisift.training.attention._PLAIN", plain)
    batch = random_rows(4)
    alone, packed = TINY[kind](), TINY[kind]()
    for model in (alone, packed):
        model.get_output_embeddings().weight.requires_grad_(False)
    wanted = sum(plain_loss(alone, row) for row in batch)
    wanted.backward()
    attention.use(packed)
    loss = Objective(packed)(**collate(batch))
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    for ours, theirs in zip(packed.parameters(), alone.parameters(), strict=True):
        if theirs.requires_grad:
            assert torch.allclose(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3)


def linear_4bit():
    from bitsandbytes.nn import Linear4bit

    torch.manual_seed(0)
    return Linear4bit(128, 64, compute_dtype=torch.bfloat16, quant_type="nf4").to("cpu")


def test_unpacked_weights_give_the_same_products():
    layer = linear_4bit()
    for dtype in (torch.bfloat16, torch.float32):
        inputs = torch.randn(3, 5, 128, dtype=dtype, requires_grad=True)
        found = []
        for model in (layer, unpack(copy.deepcopy(layer))):
            outputs = model(inputs)
            found.append((outputs, *torch.autograd.grad(outputs.sum(), inputs)))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, atol=0.02, rtol=0.02)  # bf16, added up in other orders
    unpack(layer)
    assert not any("unpacked" in name for name in layer.state_dict())
    layer.unpacked.zero_()  # what is computed with is the copy
    assert torch.equal(layer(inputs), layer.bias.to(inputs.dtype).expand(3, 5, 64))


def test_an_adapter_merged_into_unpacked_weights_counts():
    from peft import LoraConfig, get_peft_model

    model = unpack(torch.nn.Sequential(linear_4bit()))
    model.is_loaded_in_4bit = True  # as transformers tells peft
    config = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False)
    adapted = get_peft_model(model, config).eval()
    inputs = torch.randn(3, 128, dtype=torch.bfloat16)
    with torch.no_grad():
        wanted = adapted(inputs)
        with adapted.disable_adapter():
            base = adapted(inputs)
        adapted.merge_adapter()
        found = adapted(inputs)
    assert (found - wanted).norm() < 0.2 * (wanted - base).norm()  # merging packs anew


@pytest.mark.parametrize("tokens", [1, 1 << 14])
def test_the_loss_is_the_mean_over_target_tokens_of_the_step(tokens):
    batch = [
        Row([1, 2, 3, 4, 5, 6], [False, False, True, True, True, True]),
        Row([7, 8, 9], [False, False, True]),
    ]
    with torch.no_grad():
        mean = sum(plain_loss(tiny(), row) for row in batch).item() / 5
    chosen = Settings(batch_size=2, learning_rate=1e-9, quantize=None)
    told = train(tiny(), batch, chosen, tokens=tokens)
    assert told["loss"] == pytest.approx(mean, abs=2e-3)
    assert told["target_tokens"] == 5


def test_training_lowers_the_loss():
    batch = [Row([1, 2, 3, 4] * 4, [False] * 8 + [True] * 8)] * 80
    before = train(tiny(), batch[:1], Settings(learning_rate=1e-9, quantize=None))
    chosen = Settings(learning_rate=1e-2, quantize=None, gradient_checkpointing=True)
    after = train(tiny(), batch, chosen)
    assert after["loss"] < 0.8 * before["loss"]
    assert after["steps"] == 40
    assert [row["step"] for row in after["curve"]] == list(range(2, 41, 2))


def weights_of(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_when_memory_runs_out_passes_get_smaller(monkeypatch, caplog):
    batch, chosen = random_rows(8), Settings(learning_rate=1e-2, quantize=None, batch_size=4)
    wanted, found = tiny(), tiny()
    train(wanted, batch, chosen)
    real, most = Objective.forward, 45

    def scarce(self, input_ids, **inputs):
        if input_ids.numel() > most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(self, input_ids, **inputs)

    monkeypatch.setattr(Objective, "forward", scarce)
    train(found, batch, chosen)
    assert "Out of memory" in caplog.text
    assert torch.allclose(weights_of(found), weights_of(wanted), atol=1e-4)
    most = 3
    with pytest.raises(RuntimeError, match="allocate memory"):
        train(tiny(), batch, chosen)


def test_when_one_row_is_too_much_activations_are_recomputed(monkeypatch, caplog):
    batch, chosen = random_rows(8), Settings(learning_rate=1e-2, quantize=None)
    wanted, found = tiny(), tiny()
    train(wanted, batch, chosen)
    real = Objective.forward

    def scarce(self, **inputs):
        if not self.model.is_gradient_checkpointing:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(self, **inputs)

    monkeypatch.setattr(Objective, "forward", scarce)
    train(found, batch, chosen)
    assert "activations are recomputed" in caplog.text
    assert torch.allclose(weights_of(found), weights_of(wanted), atol=1e-4)


def test_a_checkpoint_continues_with_activations_kept_or_recomputed(tmp_path):
    batch, path = random_rows(4), tmp_path / "checkpoint"
    chosen = Settings(learning_rate=1e-2, quantize=None, checkpoint_seconds=0)
    train(tiny(), batch, chosen, checkpoint=path)
    other = dataclasses.replace(chosen, gradient_checkpointing=True)
    assert Training(tiny(), batch, other, checkpoint=path).resume()


@pytest.mark.parametrize(
    ("chance", "given", "kept"),
    [
        (0.0, [0.1, 0.5, 0.5, 0.2, 0.3], 2),
        (0.1, [0.1, 0.5, 0.45, 0.2, 0.39], 2),  # no worse than chance makes it
        (0.1, [0.1, 0.5, 0.41, 0.32, 0.33], 2),  # measured by the best, so that it does not slide
        (0.4, [0.3, 0.5, 0.2, 0.2, 0.3, 0.1, 0.2, 0.1, 0.1, 0.1], 9),
    ],
)
def test_the_last_adapter_is_kept_unless_one_was_better(chance, given, kept):
    batch = random_rows(40)
    chosen = Settings(learning_rate=1e-2, quantize=None, evaluations=10, patience=2)
    model, seen = tiny(), []
    scores = iter(given)

    def evaluate():
        assert not model.training
        assert model.config._attn_implementation == "sdpa"
        seen.append(weights_of(model))
        return next(scores)

    told = train(model, batch, chosen, evaluate=evaluate, chance=chance)
    assert ("stopped" in told) == (len(given) < 10)
    assert [row["f1"] for row in told["curve"] if "f1" in row] == given
    assert told["kept"] == 2 * kept + 2
    assert torch.equal(weights_of(model), seen[kept])
    assert not model.training


def test_ctrl_c_ends_after_the_step_and_the_checkpoint_continues(tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    batch, chosen = random_rows(20), Settings(learning_rate=1e-2, quantize=None, evaluations=5)
    whole, halted, resumed = tiny(), tiny(), tiny()
    options = {"checkpoint": tmp_path / "run.checkpoint"}
    train(whole, batch, chosen, evaluate=lambda: 0.5)

    class Halted(Training):
        def _step(self, rows):
            super()._step(rows)
            if self.progress.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    told = Halted(halted, batch, chosen, evaluate=lambda: 0.5, **options).run()
    assert told["stopped"] == "interrupted"
    assert told["steps"] == 4
    assert [row["step"] for row in told["curve"]] == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = Training(resumed, batch, chosen, evaluate=lambda: 0.5, **options)
    assert again.resume()
    assert again.progress.step == 4
    assert [row["f1"] for row in again.run()["curve"] if "f1" in row] == [0.5] * 5
    assert torch.equal(weights_of(resumed), weights_of(whole))
    other = Training(tiny(), batch[1:], chosen, **options)
    with pytest.raises(ValueError, match=r"run\.checkpoint.*other data"):
        other.resume()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.checkpoint"
    batch = random_rows(10)
    chosen = Settings(quantize=None, checkpoint_seconds=0)
    train(tiny(), batch, chosen, checkpoint=path)
    before, real = path.read_bytes(), torch.save

    def full(state, draft):
        real(state, draft)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"run\.checkpoint.*resume=True"):
        train(tiny(), batch, chosen, checkpoint=path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="MB free"):
        train(tiny(), batch, chosen, checkpoint=path)


SCRIPT = """
import json, os, sys, torch
sys.path[:0] = ["tests"]
from pathlib import Path
from test_training import Settings, Training, random_rows, tiny
from minisift import models, sharding
path, count, dropout = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
base = tiny()
if "nf4" in sys.argv:
    base.save_pretrained(path.parent / str(os.getpid()))
    base, quantized = load_base(resolve(path.parent / str(os.getpid())), "nf4", "cpu")
    settle(base)  # float32, so that how rows are dealt to processes shows in no digit
    assert quantized == "nf4"
model = add_lora(base, 4, dropout, 0)
chosen = Settings(learning_rate=1e-2, quantize=None, checkpoint_seconds=0, batch_size=4)
training = Training(model, random_rows(count), chosen, checkpoint=path)
if "resume" in sys.argv:
    training.resume()
def check():
    held = [w.to_local().numel() / w.numel() for w in model.parameters() if hasattr(w, "to_local")]
    assert len(held) == (14 if sharding.wanted() else 0) and all(share <= 0.6 for share in held)
check()
print("started", training.progress.step, flush=True)
told = training.run()
with torch.no_grad():
    model(torch.tensor([[1, 2, 3]]))
check()  # a layer's weights are whole while it computes, not longer
if training.is_main:
    trained = [value for weight in training.weights().values() for value in weight.flatten().tolist()]
    print("result", json.dumps([told["loss"], *trained]))
"""


def script(*words, launch=()):
    command = [sys.executable, *launch, *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


SHARDED = ["--use_fsdp", "--fsdp_version=2"]


def two(*how):
    """The words before a script that have two processes run it."""
    words = ["-m", "accelerate.commands.launch", *how, "--num_processes=2", "--num_machines=1"]
    return [
        *words,
        "--mixed_precision=no",
        "--dynamo_backend=no",
        "--num_cpu_threads_per_process=1",
    ]


def result(process):
    out, err = process.communicate(timeout=300)
    line = next((line for line in out.splitlines() if line.startswith("result ")), None)
    assert line, err
    return json.loads(line[len("result ") :])


def test_killed_at_any_moment_it_continues_to_the_same_adapter(tmp_path):
    import random

    file = tmp_path / "run.py"
    file.write_text(SCRIPT)
    wanted = result(script(file, tmp_path / "whole.checkpoint", 3200, 0.3))
    path, moments = tmp_path / "killed.checkpoint", random.Random(0)
    begun = []
    for _ in range(10):
        process = script(file, path, 3200, 0.3, "resume")
        begun.append(int(process.stdout.readline().removeprefix("started ")))
        time.sleep(moments.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert begun[0] == 0
    assert 0 < begun[-1] < 800
    assert result(script(file, path, 3200, 0.3, "resume")) == wanted


@pytest.mark.parametrize(
    ("how", "weights"),
    [
        (["--cpu"], "whole"),
        (SHARDED, "whole"),
        (SHARDED, "nf4"),
    ],
)
def test_two_processes_train_as_one(how, weights, tmp_path):
    """Each with all weights of the model, or with a share of its layers, packed or not."""
    file = tmp_path / "run.py"
    file.write_text(SCRIPT)
    alone = result(script(file, tmp_path / "one.checkpoint", 20, 0.0, weights))
    both = result(script(file, tmp_path / "two.checkpoint", 20, 0.0, weights, launch=two(*how)))
    assert both == pytest.approx(alone, abs=1e-3)


FIT = """
import json, os, sys
import minisift
dev = minisift.read("minisift/sample/dev.jsonl")[:8]
labeler = minisift.fit(
    sys.argv[1], "minisift/sample/train.jsonl", dev_set=dev, output_dir=sys.argv[2],
    shots=2, max_prompts=8, evaluations=2,
)
if os.environ.get("RANK", "0") == "0":  # each process has a labeler of its own in the end
    saved = minisift.load(sys.argv[2])
    answers = [[(s.start, s.end, s.label, round(s.score, 4)) for s in labeler.predict(e)] for e in dev]
    again = [[(s.start, s.end, s.label, round(s.score, 4)) for s in saved.predict(e)] for e in dev]
    told = [row["f1"] for row in labeler.description.made["training"]["curve"] if "f1" in row]
    print("result", json.dumps([answers == again, len(told), labeler.description.temperature]))
"""


def test_fit_of_sharded_weights_labels_and_saves(tmp_path):
    """The processes label dev sentences together, and each alone in the end."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from minisift.models.source import resolve

    base = tmp_path / "base"
    AutoTokenizer.from_pretrained(resolve("smollm2-135m").weights).save_pretrained(base)
    small = {**SMALL, "vocab_size": 49152, "hidden_size": 64, "max_position_embeddings": 2048}
    LlamaForCausalLM(LlamaConfig(**small, num_hidden_layers=2)).save_pretrained(base)
    file = tmp_path / "run.py"
    file.write_text(FIT)
    launched = script(file, base, tmp_path / "out", launch=two(*SHARDED))
    same, evaluated, temperature = result(launched)
    assert same
    assert evaluated == 2
    assert temperature > 0


@pytest.mark.parametrize("kind", TINY)
def test_ragged_batches_compute_what_single_texts_do(kind):
    """Padding in the cache changes nothing, sliding windows included."""
    from transformers import DynamicCache

    from minisift.engines.transformers import TransformersEngine

    model = TINY[kind]()
    engine = TransformersEngine(lambda: model, None, None)
    turns = [[[1, 2, 3], [4, 5, 6, 7, 8, 9]], [[10], [11, 12, 13]], [[14, 15, 16, 17], [18]]]
    cache, positions = DynamicCache(), torch.zeros((2, 0), dtype=torch.long)
    with torch.inference_mode():
        for turn in turns:
            logits, positions = engine._step(cache, positions, turn)
            history = [
                [t for past in turns[: turns.index(turn) + 1] for t in past[row]] for row in (0, 1)
            ]
            for row in (0, 1):
                wanted = model(torch.tensor([history[row]])).logits[0, -1]
                assert torch.allclose(torch.tensor(logits[row, 0]), wanted, atol=1e-4)


def test_settings_are_checked():
    assert make_settings({"shots": 0}).prompts(1000) == 5000
    assert Settings().prompts(1000) == 556
    assert Settings(max_prompts=7).prompts(10**6) == 7
    for wrong in ({"shots": -1}, {"strategy": "x"}, {"quantize": "int4"}, {"epochs": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make_settings(wrong)
    assert Settings().rate(100) == Settings().rate(134_500_000) == 1.5e-3
    assert Settings().rate(268_000_000) == pytest.approx(1.06e-3, rel=0.01)
    assert Settings().rate(7_000_000_000) == pytest.approx(2e-4, rel=0.05)
    assert Settings(learning_rate=3e-3).rate(10**9) == 3e-3
    with pytest.raises(TypeError, match="shotz"):
        make_settings({"shotz": 1})


def test_every_setting_is_a_flag():
    values = {
        "strategy": "src", "shots": 3, "sampling": "target", "epochs": 2.5, "max_prompts": 9,
        "learning_rate": 0.01, "lora_rank": 4, "lora_dropout": 0.5, "batch_size": 7,
        "max_length": 99, "quantize": None, "gradient_checkpointing": True, "template": "chat",
        "seed": 5, "held_out": 0.5, "evaluations": 6, "patience": 8, "checkpoint_seconds": 1.5,
    }  # fmt: skip
    assert set(values) == {field.name for field in dataclasses.fields(Settings)}
    flags = []
    for name, value in values.items():
        flags += ["--" + name.replace("_", "-"), str(value).lower()]
    given = _parser().parse_args(["fit", "m", "t", "--output-dir", "o", *flags])
    assert {name: getattr(given, name) for name in values} == values


def test_rows_that_do_not_fit_are_counted():
    from test_grammar import TOKENIZERS

    from minisift.prompting.renderer import Renderer
    from minisift.prompting.task import Task
    from minisift.prompting.template import plain_template

    renderer = Renderer(Task({"X": "x"}, {}), plain_template(), TOKENIZERS[0])
    examples = [Example("a" * 10), Example("b" * 10), Example("c" * 300)]
    chosen = Settings(shots=2, max_length=60, max_prompts=6)
    kept, left_out = training_rows(renderer, examples, chosen)
    assert all(len(row.ids) <= 60 for row in kept)
    assert left_out["prompts too long"] + len(kept) == 6
    assert left_out["demonstrations dropped"] > 0
    with pytest.raises(ValueError, match="max_length=5"):
        training_rows(renderer, examples, Settings(max_length=5))
