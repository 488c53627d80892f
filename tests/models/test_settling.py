"""A model under training labels, on a CPU in float32, and then trains on as if nothing had been."""

import pytest

pytest.importorskip("torch")

import torch
from support.tiny_models import tiny

from minisift.models.device import default_device, precision
from minisift.models.loading import add_lora, load_base, settled
from minisift.models.source import resolve


@pytest.mark.parametrize("quantize", ["nf4", None])
def test_it_computes_as_before_once_it_has_labelled(quantize, tmp_path):
    tiny().save_pretrained(tmp_path / "base")
    base, quantized = load_base(resolve(tmp_path / "base"), quantize)
    assert quantized == quantize
    model = add_lora(base, 4, 0.0, 0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()

    inputs = torch.tensor([[1, 2, 3]], device=model.device)
    trains = precision(default_device())
    labels = torch.float32 if default_device() == "cpu" else trains

    def state():
        with torch.no_grad():
            logits = model(inputs).logits
        return logits, [(weight.dtype, weight.detach().clone()) for weight in model.parameters()]

    logits, weights = state()
    assert logits.dtype == trains
    for _ in range(2):
        with settled(model):
            inside, _ = state()
        assert inside.dtype == labels
        after, same = state()
        assert after.equal(logits)
        assert after.dtype == logits.dtype
        assert all(a == b and x.equal(y) for (a, x), (b, y) in zip(weights, same, strict=True))
    if labels != trains:
        assert not inside.equal(logits.float())
        torch.testing.assert_close(inside, logits.float(), atol=0.2, rtol=0.2)
