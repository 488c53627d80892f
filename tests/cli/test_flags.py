"""Flags: each one is an argument of a function, is described, and is at work in some line that tests run."""

import inspect
from dataclasses import fields

import pytest
from support.commands import READING, every_line, flags

import minisift
from minisift.cli import COMMANDS, app, main
from minisift.training.settings import Settings

NAMES = [name for names in COMMANDS.values() for name in names]
SETTINGS = {
    "strategy": "src", "shots": 3, "sampling": "target", "epochs": 2.5, "max_prompts": 9,
    "runs": 2, "learning_rate": 0.01, "lora_rank": 4, "lora_dropout": 0.5, "batch_size": 7,
    "max_length": 99, "quantize": None, "gradient_checkpointing": True, "template": "chat",
    "seed": 5, "held_out": 0.5, "evaluations": 6, "patience": 8, "checkpoint_seconds": 1.5, "loss": "full",
}  # fmt: skip


def parsed(words):
    """The arguments of a command, by name."""
    _, bound, _ = app().parse_args(words, exit_on_error=False, print_error=False)
    return bound.arguments


@pytest.mark.parametrize("command", ["fit", "plan", "inspect"])
def test_every_setting_is_a_flag(command):
    assert set(SETTINGS) == {field.name for field in fields(Settings)}
    words = [command, "m", "t", *([] if command == "inspect" else ["--output-dir", "o"])]
    assert "settings" not in parsed(words)
    for name, value in SETTINGS.items():
        words.append("--" + name.replace("_", "-"))
        words += [] if value is True else [str(value).lower()]
    assert parsed(words)["settings"] == Settings(**SETTINGS)


def test_what_words_stand_for():
    words = "fit m t --output-dir o --word-column -1 --tag-column ner --no-gradient-checkpointing --start none"
    given = parsed([*words.split(), "--tag-names", '["O"]', "--names", '{"A": "b"}'])
    assert (given["reading"].word_column, given["reading"].tag_column) == (-1, "ner")
    assert given["reading"].tag_names == ["O"]
    assert given["settings"].gradient_checkpointing is False
    assert given["task"].arguments() == {
        "names": {"A": "b"}, "descriptions": None, "start": None
    }  # fmt: skip
    given = parsed(["predict", "m", "--input", "-", "--output", "-", "--threshold", '{"A": 0.5}'])
    assert (given["source"].input, given["output"], given["threshold"]) == ("-", "-", {"A": 0.5})
    assert parsed(["predict", "m", "--", "--json"])["text"] == ("--json",)


def told(command):
    """What `--help` says of each flag of a command."""
    found = app()[command].assemble_argument_collection()
    return {name: argument for argument in found for name in argument.names if name[:2] == "--"}


def test_every_flag_is_at_work():
    lines = every_line()
    assert {"check", "fit", "plan", "prompt", "predict", "evaluate", "show", "export"} <= set(NAMES)
    for command in NAMES:
        used = {flag for line in lines if line.split()[:1] == [command] for flag in flags(line)}
        positive = {argument.names[0] for argument in told(command).values()} - {"*"}
        shown = {flag.replace("--no-", "--") for flag in used}
        assert positive - shown == set()


def helped(capsys, *words):
    assert main([*words, "--help"]) == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize("command", NAMES)
def test_every_flag_is_told_of(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = helped(capsys, command)
    for flag in told(command):
        _, _, words = shown.rpartition(f" {flag} ")
        assert len(words.split(" --")[0].split()) > 2, flag
    assert "Example: minisift" in shown
    assert command in helped(capsys)


@pytest.mark.parametrize(
    "command", ["fit", "plan", "prompt", "evaluate", "check", "show", "inspect"]
)
def test_every_option_of_read_is_a_flag(command):
    options = set(inspect.signature(minisift.read).parameters) - {"source"}
    given = {name for options in READING.values() for name in options}
    assert given == options
    known = {"--tag-names" if n == "names" else "--" + n.replace("_", "-") for n in options}
    assert known <= set(told(command))


def test_without_a_command_all_are_shown(capsys):
    assert main([]) == 0
    assert "Train a labeler on labelled sentences." in capsys.readouterr().out
