"""`inspect`: a training prompt as the model sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from minisift.prompting.renderer import STRATEGIES, Strategy
from minisift.training.settings import make_settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from minisift.training.settings import Options


@dataclass(frozen=True)
class Token:
    """A token of a prompt.

    text: what it spells; in angle brackets its number, if that is nothing. counted: the strategies whose loss
    counts it. choices: how many tokens it is compared with where the loss counts it: those that the grammar
    allows; None for the whole vocabulary, and where the loss does not count it under SRC or MRC.
    """

    id: int
    text: str
    counted: tuple[Strategy, ...]
    choices: int | None


@dataclass(frozen=True)
class Prompt:
    """The first prompt of a training. strategy: that of the training. prompts: how many it has."""

    tokens: tuple[Token, ...]
    strategy: Strategy
    prompts: int

    def counted(self, strategy: Strategy) -> int:
        """Tokens that a strategy's loss counts."""
        return sum(strategy in token.counted for token in self.tokens)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
    **settings: Unpack[Options],
) -> Prompt:
    """The first prompt that `fit` would train on if it were given the same, token by token, with what each strategy's
    loss counts. Loads a tokenizer, no weights.

    >>> inspect("smollm2-135m", "train.conll", shots=2).counted("mrc")  # doctest: +SKIP
    """
    from minisift.training.preparation import prepare
    from minisift.training.rows import training_rows

    chosen = make_settings(settings)
    prepared = prepare(
        model, train_set, None, chosen,
        names=names, descriptions=descriptions, instruction=instruction,
    )  # fmt: skip
    left_out = [{example.text for example in fold} for fold in prepared.folds[:1]]
    rows = {}
    for strategy in STRATEGIES:
        one = replace(prepared.settings, strategy=strategy, max_prompts=1, runs=1)
        ((rows[strategy], *_),), _ = training_rows(
            prepared.renderer, prepared.rendered, one, left_out
        )
    tokenizer = prepared.renderer.tokenizer
    among = iter(rows["mrc"].choices or ())
    tokens = []
    for place, token in enumerate(rows["mrc"].ids):
        counted = tuple(strategy for strategy, row in rows.items() if row.mask[place])
        allowed = next(among, None) if "mrc" in counted else None
        text = tokenizer.decode([token]).decode(errors="backslashreplace") or f"<{token}>"
        tokens.append(Token(token, text, counted, len(allowed) if allowed else None))
    return Prompt(tuple(tokens), chosen.strategy, len(prepared.rows))
