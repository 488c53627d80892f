"""What a device computes in."""

import pytest

pytest.importorskip("torch")

import torch

from minisift.models.device import precision


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_a_cpu_trains_in_what_it_can_compute(able, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert precision("cpu") == dtype
    assert precision("cuda") == torch.bfloat16
