"""What an editor and a type checker know of the public calls."""

import subprocess
import sys

import pytest

SNIPPET = """\
import minisift

train: list[minisift.Example] = []
minisift.fit("m", train, strategy="mrc", shots=8, epochs=2.5, quantize=None, seed=0)
minisift.plan("m", train, shots=8, device="cuda", memory=8)
minisift.fit("m", train, shotz=8)
minisift.fit("m", train, strategy="all")
minisift.fit("m", train, learning_rate="fast")
minisift.plan("m", train, quantize="int4")
minisift.prompt("m", train, template="none")
reveal_type(minisift.load("ner.gguf").predict("a"))
reveal_type(minisift.load("ner.gguf").predict(["a"]))
reveal_type(minisift.load("ner.gguf").stream(["a"]).counts)
"""
WRONG = {6: "shotz", 7: "strategy", 8: "learning_rate", 9: "quantize", 10: "template"}
"""Lines of the snippet, and what a message about each names."""
TYPES = {11: "list[minisift.data.examples.Span]", 12: "list[list[minisift.data.examples.Span]]"}


@pytest.mark.slow
def test_options_are_typed(tmp_path):
    pytest.importorskip("mypy")
    pytest.importorskip("torch")
    script = tmp_path / "snippet.py"
    script.write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports"]
    command += ["--follow-imports=silent", str(script)]
    done = subprocess.run(command, capture_output=True, text=True)
    told: dict[int, str] = {}
    for line in done.stdout.splitlines():
        _, number, _, message = [*line.split(":", 3), "", "", ""][:4]
        if number.isdecimal():
            told[int(number)] = told.get(int(number), "") + message
    for number, name in WRONG.items():
        assert name in told.pop(number), done.stdout
    for number, kind in TYPES.items():
        assert kind in told.pop(number), done.stdout
    assert "Counter[" in told.pop(13)
    assert not told, done.stdout
