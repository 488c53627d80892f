"""`minisift inspect`: a training prompt as the model sees it."""

from __future__ import annotations

import json as jsonlib
import sys

from rich.console import Console
from rich.text import Text

import minisift
from minisift.cli import flags
from minisift.cli.reading import ReadingFlags
from minisift.cli.showing import show
from minisift.cli.training import SettingsFlags, TaskFlags, training
from minisift.fitting.inspecting import Prompt, Token

_STYLES = {"src": "bold green", "mrc": "cyan"}
"""Of tokens that these strategies count; SRC counts some of those of MRC."""


def inspect(
    model: flags.Model,
    train: flags.Data,
    /,
    *,
    json: flags.Json = False,
    task: TaskFlags = None,
    settings: SettingsFlags = None,
    reading: ReadingFlags = None,
) -> None:
    """Show the first prompt that fit would train on, token by token, and what the loss counts.

    Example: `minisift inspect smollm2-135m train.conll --shots 2`
    """
    given = training(train, None, task, settings, reading)
    del given["start"], given["dev_set"]
    prompt = minisift.inspect(model, **given)
    if json:
        print(jsonlib.dumps(prompt.to_dict(), ensure_ascii=False))
        return
    coloured = Console(file=sys.stdout).color_system is not None
    how = "coloured, green for src and mrc, blue for mrc alone" if coloured else "in brackets"
    show(
        sys.stdout,
        f"The first of {prompt.prompts} prompts, {len(prompt.tokens)} tokens. The loss counts "
        f"{prompt.counted('vanilla')} under vanilla, {prompt.counted('src')} under src, "
        f"{prompt.counted('mrc')} under mrc ({how}).",
        _drawn(prompt, coloured),
    )


def _drawn(prompt: Prompt, coloured: bool) -> Text:
    """The tokens, those that the loss counts in colours or, of the training's own strategy, in brackets."""
    found = Text()
    for token in prompt.tokens:
        text = token.text.replace("\n", "⏎\n")
        if coloured:
            found.append(text, _style(token))
        else:
            found.append(f"[{text}]" if prompt.strategy in token.counted else text)
    return found


def _style(token: Token) -> str:
    return next((style for name, style in _STYLES.items() if name in token.counted), "dim")
