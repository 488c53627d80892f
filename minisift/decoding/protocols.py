"""What engines and languages promise each other: every member that either may rely on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from minisift.prompting.tokenizer import Tokenizer


class Answer(Protocol):
    """An answer in the making, as `grammar.Answer`. Begins empty."""

    @property
    def done(self) -> bool:
        """Whether nothing may follow any more."""

    @property
    def at_line(self) -> bool:
        """Whether all lines so far are whole and a new one, or the end, comes next."""

    def allowed(self) -> Sequence[int]:
        """Token ids that may come next; none when done."""

    def advance(self, token: int) -> None:
        """Write a token. Raises ValueError if it is not allowed."""

    def forced(self) -> list[int]:
        """Write the tokens that are the only ones allowed from here on, and give them."""

    def guess(self, count: int) -> list[int]:
        """At most so many tokens that may well come next; writes none."""


class Language(Protocol):
    """The answers that are allowed to a prompt, as `grammar.Language`."""

    @property
    def end(self) -> Sequence[int]:
        """The tokens that end an answer whose lines so far are whole."""

    def longest_answer(self) -> int:
        """Tokens that no answer exceeds."""

    def answer(self) -> Answer:
        """A new answer, empty."""


@dataclass(frozen=True)
class Prompt:
    """What an engine completes: token ids and the language of the answer.

    Consecutive prompts of an equal `prefix` share its computation. end_bias: what is taken from the logit of
    the answer's end where another line may begin; above 0 for more spans.
    """

    prefix: tuple[int, ...]
    ids: list[int]
    language: Language
    end_bias: float = 0.0


@dataclass
class Completion:
    """An answer's tokens, and what the model had to choose from at each."""

    tokens: list[int] = field(default_factory=list)
    choices: list[Any] = field(default_factory=list)
    """For each token the logits of all that were allowed there, less the chosen one's, which is the largest unless
    the end was passed over for its bias ([allowed] float32 array); None where it was forced."""
    cut: bool = False
    """Whether the context was full before the answer ended: its last lines are missing."""


class Engine(Protocol):
    """What runs a model."""

    tokenizer: Tokenizer
    context: int
    """Tokens that a prompt and its answer may have."""
    files: Sequence[Path]
    """The GGUF files that it runs, if that is what it does."""

    def metadata(self, key: str) -> str | None:
        """A string that those files hold under a key."""

    def complete(
        self, prompts: Iterable[Prompt], at_once: int | None = None
    ) -> Iterator[Completion]:
        """Greedy answers in the order of the prompts, which are taken lazily.

        at_once: how many run together, at most; None for as many as the engine was made for.
        """

    def close(self) -> None:
        """Free what it holds; it cannot be used afterwards."""
