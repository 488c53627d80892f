"""Spans on a terminal and in a pipe; text that would play with either."""

import io
import re

import pytest

from minisift.cli import main
from minisift.cli.showing import bracketed, coloured, show
from minisift.data.examples import Example

TEXT = Example.from_words(["Nora", "war", "in", "Bonn"], [(0, 1, "PER"), (3, 4, "LOC")])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(file, *lines):
    show(file, *lines)
    return file.getvalue()


@pytest.fixture(autouse=True)
def a_terminal_with_colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_a_label_has_one_colour():
    told = shown(Terminal(), coloured(TEXT.text, TEXT.spans, ["PER", "LOC"]))
    per, loc = told.split("Nora")[0], told.split("in ")[1].split("Bonn")[0]
    assert per.startswith("\x1b[1;")
    assert loc.startswith("\x1b[1;")
    assert per != loc
    other = bracketed(TEXT.text, TEXT.spans, ["LOC", "PER"])
    assert f"{per}[Nora PER]" in shown(Terminal(), other)


def test_pipes_and_dumb_terminals_get_plain_text(monkeypatch):
    assert shown(io.StringIO(), coloured(TEXT.text, TEXT.spans, [])) == "Nora war in Bonn\n"
    monkeypatch.setenv("TERM", "dumb")
    assert (
        shown(Terminal(), bracketed(TEXT.text, TEXT.spans, [])) == "[Nora PER] war in [Bonn LOC]\n"
    )


def test_who_wants_no_colours_gets_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    told = shown(Terminal(), coloured(TEXT.text, TEXT.spans, []))
    assert set(re.findall(r"\x1b\[(.*?)m", told)) == {"0", "1"}


def test_lines_are_not_broken():
    assert shown(Terminal(), "wort " * 100).count("\n") == 1
    assert shown(io.StringIO(), coloured("wort " * 100, (), [])).count("\n") == 1


def test_text_has_no_way_with_the_terminal():
    hostile = "a\x1b[31mb\x07\x9b2J\rc [bold]d[/bold] :smile:"
    for line in (hostile, coloured(hostile, (), []), bracketed(hostile, (), [])):
        told = shown(io.StringIO(), line)
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in told.rstrip("\n"))
        assert told.rstrip("\n").endswith("c [bold]d[/bold] :smile:")
        assert told.startswith("a␛[31mb␇�2J")


def test_completion_is_installed_where_it_is_told(tmp_path, capsys):
    path = tmp_path / "minisift.bash"
    assert main(["--install-completion", "--shell", "bash", "--output", str(path)]) == 0
    assert "--held-out" in path.read_text()
    assert str(path) in "".join(capsys.readouterr().out.split())
