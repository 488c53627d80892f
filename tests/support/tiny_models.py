"""Random models of a few thousand weights, and what to train them on."""

import random

import torch

from minisift.prompting.renderer import Row

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def tiny(**changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**{**SMALL, "num_hidden_layers": 2, "initializer_range": 0.2, **changes})
    return LlamaForCausalLM(config).eval()


def tiny_gemma():
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        **SMALL,
        num_hidden_layers=3,
        head_dim=8,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    return Gemma3ForCausalLM(config).eval()


TINY = {"llama": tiny, "gemma3": tiny_gemma}


def random_rows(count, seed=0):
    """Training rows of 6 to 19 tokens; the loss counts the second half."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        length = int(torch.randint(6, 20, (), generator=generator))
        ids = torch.randint(1, 40, (length,), generator=generator).tolist()
        rows.append(Row(ids, [at >= length // 2 for at in range(length)]))
    return rows


def weights_of(model):
    """All weights, as one vector."""
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def among_some(rows, seed=0):
    """The same rows, each target one of at most six tokens, or of all."""
    rng = random.Random(seed)
    found = []
    for row in rows:
        counted = [at for at in range(1, len(row.ids)) if row.mask[at]]
        others = [rng.sample(range(1, 40), rng.randint(1, 5)) for _ in counted]
        choices = [
            None if len(some) == 3 else list(dict.fromkeys([*some, row.ids[at]]))
            for some, at in zip(others, counted, strict=True)
        ]
        found.append(Row(row.ids, row.mask, choices))
    return found


def plain_loss(model, row):
    """The sum over a row's targets, as the model computes it alone and whole."""
    logits = model(torch.tensor([row.ids])).logits[0]
    counted = [at for at in range(1, len(row.ids)) if row.mask[at]]
    choices = row.choices or [None] * len(counted)
    return sum(
        logits[at - 1, slice(None) if among is None else among].logsumexp(0)
        - logits[at - 1, row.ids[at]]
        for at, among in zip(counted, choices, strict=True)
    )


def is_as_it_came(model):
    """Whether a `tiny` model computes as a new one with its weights: in one piece, not by rows."""
    new = tiny()
    new.load_state_dict(model.state_dict())
    ids = torch.tensor([[1, 2, 3, 4, 5, 6, 7]])
    with torch.inference_mode():
        return not model.training and torch.equal(model(ids).logits, new(ids).logits)
