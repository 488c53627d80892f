"""Balanced weights compute what the weights did, and round less."""

import pytest

pytest.importorskip("torch")

import torch

from minisift.export.balance import GATED, balance

SIZE, HEADS, KV_HEADS, HEAD, INNER = 64, 4, 2, 32, 96


def block(seed):
    """Weights of one block by GGUF name, some channels of which are loud."""
    draw = torch.Generator().manual_seed(seed)

    def matrix(rows, columns):
        return torch.randn(rows, columns, generator=draw) / columns**0.5

    weights = {
        "attn_norm": torch.rand(SIZE, generator=draw) + 0.5,
        "attn_q": matrix(HEADS * HEAD, SIZE),
        "attn_k": matrix(KV_HEADS * HEAD, SIZE),
        "attn_v": matrix(KV_HEADS * HEAD, SIZE),
        "attn_output": matrix(SIZE, HEADS * HEAD),
        "ffn_norm": torch.rand(SIZE, generator=draw) + 0.5,
        "ffn_gate": matrix(INNER, SIZE),
        "ffn_up": matrix(INNER, SIZE),
        "ffn_down": matrix(SIZE, INNER),
    }
    for name in ("attn_norm", "ffn_norm", "attn_v", "ffn_up"):
        weights[name][::17] *= 40
    return {f"blk.0.{name}.weight": tensor for name, tensor in weights.items()}


def rounded(tensor):
    """To 8 bits, 32 channels at a time by their largest, as llama.cpp does."""
    groups = tensor.reshape(*tensor.shape[:-1], -1, 32)
    step = groups.abs().amax(-1, keepdim=True) / 127
    return (torch.round(groups / step) * step).reshape(tensor.shape)


def run(weights, inputs, change=lambda tensor: tensor):
    """A block without its softmax, and what comes into its layers, [inputs], squared and summed."""
    heard = {}

    def layer(name, x):
        heard[f"blk.0.{name}"] = x.square().sum(0)
        return change(x) @ change(weights[f"blk.0.{name}.weight"]).T

    def norm(name, x):
        x = x / x.square().mean(-1, keepdim=True).sqrt()
        return x * weights[f"blk.0.{name}.weight"]

    x = norm("attn_norm", inputs)
    scores = layer("attn_q", x).sum(-1, keepdim=True) + layer("attn_k", x).sum(-1, keepdim=True)
    values = layer("attn_v", x).reshape(-1, KV_HEADS, 1, HEAD)
    mixed = values * torch.linspace(0.5, 1.5, HEADS // KV_HEADS)[:, None]
    x = inputs + layer("attn_output", mixed.reshape(-1, HEADS * HEAD)) + torch.tanh(scores)
    y = norm("ffn_norm", x)
    gated = torch.nn.functional.silu(layer("ffn_gate", y)) * layer("ffn_up", y)
    return x + layer("ffn_down", gated), heard


@pytest.mark.parametrize("seed", range(5))
def test_computes_the_same_and_rounds_less(seed):
    weights = block(seed)
    inputs = torch.randn(50, SIZE, generator=torch.Generator().manual_seed(seed + 100))
    wanted, heard = run(weights, inputs)
    change = balance(weights.items(), heard, GATED, HEAD)
    balanced = {name: change(name, tensor) for name, tensor in weights.items()}
    assert all(not torch.equal(balanced[name], weights[name]) for name in weights)
    assert torch.allclose(run(balanced, inputs)[0], wanted, rtol=1e-4, atol=1e-3)

    def loss(weights):
        return float((run(weights, inputs, rounded)[0] - wanted).square().mean())

    assert loss(balanced) < 0.5 * loss(weights)


def test_a_group_that_is_not_whole_stays_as_it_is():
    weights = block(0)
    _, heard = run(weights, torch.randn(9, SIZE))
    del heard["blk.0.attn_k"], heard["blk.0.ffn_down"]
    change = balance(weights.items(), heard, GATED, HEAD)
    touched = {n for n, tensor in weights.items() if not torch.equal(change(n, tensor), tensor)}
    names = ("attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up")
    assert touched == {f"blk.0.{name}.weight" for name in names}


def test_silent_channels_do_no_harm():
    weights = block(1)
    inputs = torch.randn(20, SIZE)
    weights["blk.0.attn_norm.weight"][3] = 0
    weights["blk.0.ffn_down.weight"][:, 5] = 0
    wanted, heard = run(weights, inputs)
    change = balance(weights.items(), heard, GATED, HEAD)
    balanced = {name: change(name, tensor) for name, tensor in weights.items()}
    assert torch.allclose(run(balanced, inputs)[0], wanted, rtol=1e-4, atol=1e-3)


def test_biases_are_scaled_with_their_rows():
    weights = block(2)
    _, heard = run(weights, torch.randn(20, SIZE))
    plain = balance(weights.items(), heard, GATED, HEAD)
    change = balance({**weights, "blk.0.attn_v.bias": torch.ones(64)}.items(), heard, GATED, HEAD)
    factors = plain.made["blk.0.attn_v"]
    assert torch.allclose(change("blk.0.attn_v.bias", torch.ones(64)), 1 / factors)


@pytest.mark.parametrize("seed", range(4))
def test_rounding_is_made_good_on_llama_cpps_grid(seed):
    gguf = pytest.importorskip("gguf")
    from minisift.export.compensate import compensate

    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(96, 96, generator=random) * torch.logspace(-1, 1, 96)
    inputs = torch.randn(500, 96, generator=random) @ mixed
    inputs[:, 40] = 0
    weight = torch.randn(64, 96, generator=random)
    weight[3] = 0

    def q4_0(tensor):
        kind = gguf.GGMLQuantizationType.Q4_0
        packed = gguf.quants.quantize(tensor.half().float().numpy(), kind)
        return torch.from_numpy(gguf.quants.dequantize(packed, kind))

    def loss(rounded):
        return float((inputs @ (rounded - weight).T).square().mean())

    found = compensate(weight, inputs.T @ inputs)
    assert torch.equal(q4_0(found), found)
    assert loss(found) < 0.5 * loss(q4_0(weight))


def test_a_few_tokens_tell_nothing():
    pytest.importorskip("gguf")
    from minisift.export.convert import Converter

    assert Converter.hear(None, None, [[1, 2, 3]]) == {}
