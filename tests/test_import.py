"""Importing costs nothing and does nothing."""

import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "transformers", "llama_cpp", "numpy", "datasets", "peft")


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light_and_quick():
    loaded = run(f"import minisift, sys; print([n for n in {HEAVY} if n in sys.modules])")
    assert loaded.strip() == "[]"
    bare = min(_seconds("pass") for _ in range(3))
    assert min(_seconds("import minisift") for _ in range(3)) - bare < 0.3


def _seconds(code):
    started = time.monotonic()
    run(code)
    return time.monotonic() - started


def test_reading_is_light():
    code = (
        "import minisift, sys; minisift.read('minisift/sample/dev.jsonl');"
        f"print([n for n in {HEAVY} if n in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_public_names_are_all_there():
    import minisift

    assert all(hasattr(minisift, name) for name in minisift.__all__)
    assert set(minisift.__all__) <= set(dir(minisift))


@pytest.mark.parametrize(
    "order",
    [
        ("minisift.engines.llamacpp.native", "llama_cpp"),
        ("llama_cpp", "minisift.engines.llamacpp.native"),
    ],
)
def test_llama_cpp_is_one_module_for_all(order):
    """Its declarations are imported without the package, which stays whole for whoever wants it."""
    code = (
        f"import sys, {order[0]}; print('numpy' in sys.modules); import {order[1]}, llama_cpp;"
        "from minisift.engines.llamacpp.native import llama;"
        "print(llama_cpp.llama_cpp is llama, callable(llama_cpp.Llama), llama_cpp.__version__ > '0')"
    )
    light, same = run(code).splitlines()
    assert light == str(order[0] == "llama_cpp")
    assert same == "True True True"
