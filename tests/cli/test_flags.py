"""Flags: each one is an argument of a function, is described, and is at work in some line that tests run."""

import inspect
import re
from dataclasses import fields
from typing import Literal

import pytest
from support.commands import READING, every_line, flags

import minisift
from minisift.cli import main, parser
from minisift.cli.flags import converter
from minisift.training.settings import Settings

SETTINGS = {
    "strategy": "src", "shots": 3, "sampling": "target", "epochs": 2.5, "max_prompts": 9,
    "runs": 2, "learning_rate": 0.01, "lora_rank": 4, "lora_dropout": 0.5, "batch_size": 7,
    "max_length": 99, "quantize": None, "gradient_checkpointing": True, "template": "chat",
    "seed": 5, "held_out": 0.5, "evaluations": 6, "patience": 8, "checkpoint_seconds": 1.5, "loss": "full",
}  # fmt: skip


@pytest.mark.parametrize("command", ["fit", "plan"])
def test_every_setting_is_a_flag(command):
    assert set(SETTINGS) == {field.name for field in fields(Settings)}
    words = [command, "m", "t", "--output-dir", "o"]
    for name, value in SETTINGS.items():
        words += ["--" + name.replace("_", "-"), str(value).lower()]
    given = parser().parse_args(words)
    assert {name: getattr(given, name) for name in SETTINGS} == SETTINGS
    without = parser().parse_args(words[:5])
    assert not any(hasattr(without, name) for name in SETTINGS)


@pytest.mark.parametrize(
    ("hint", "word", "value"),
    [
        (Literal["nf4"] | None, "None", None),
        (Literal["nf4"] | None, "nf4", "nf4"),
        (Literal["nf4"] | None, "nf5", "nf5"),  # Settings refuses it, with a fix
        (Literal["plain", "chat"], "none", "none"),
        (bool | None, "none", None),
        (bool | None, "True", True),
        (float | None, "1e-3", 0.001),
        (int, "-7", -7),
    ],
)
def test_a_word_becomes_a_value(hint, word, value):
    assert converter(hint)(word) == value


def helped(capsys, *words):
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    return capsys.readouterr().out


def test_every_flag_is_at_work(capsys):
    lines = every_line()
    commands = re.findall(r"^    (\w+) ", helped(capsys), re.MULTILINE)
    assert {"fit", "plan", "prompt", "predict", "evaluate", "export"} <= set(commands)
    for command in commands:
        there = re.findall(r"^  (--[a-z-]+)", helped(capsys, command), re.MULTILINE)
        used = {flag for line in lines if line.split()[:1] == [command] for flag in flags(line)}
        assert set(there) - used == set()


@pytest.mark.parametrize("command", ["fit", "plan", "prompt", "evaluate"])
def test_every_option_of_read_is_a_flag(command, capsys):
    options = set(inspect.signature(minisift.read).parameters) - {"source"}
    given = {name for options in READING.values() for name in options}
    assert given == options
    told = " ".join(helped(capsys, command).split())
    for name in options:
        flag = "--tag-names" if name == "names" else "--" + name.replace("_", "-")
        assert re.search(rf" {flag} (\S+|{{.*?}}) \w", told.split("reading:")[1])
    assert "Demonstrations in a prompt; 0 is" in told or command in ("prompt", "evaluate")
