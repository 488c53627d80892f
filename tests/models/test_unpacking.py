"""4-bit weights that are unpacked once compute as those that are unpacked each time."""

import copy

import pytest

pytest.importorskip("torch")

import torch

from minisift.models.loading import unpack


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
