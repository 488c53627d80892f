"""The tests of llama.cpp's engine with the oldest and the newest llama-cpp-python that pyproject.toml
admits, each in an environment of its own.

python tests/support/compat.py
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILDS = ROOT / ".venv-compat"
FILES = BUILDS / "files"
LIBRARY = "llama-cpp-python"
NEEDED = ("gguf", "hypothesis", "numpy", "pytest", "regex")
"""What those tests import besides: neither torch nor transformers."""
TESTS = "tests/engines/llamacpp"


def admitted():
    """The oldest and the newest version of llama-cpp-python, as pyproject.toml and pip's index say."""
    pin = re.search(rf'"{LIBRARY}>=([0-9.]+)"', (ROOT / "pyproject.toml").read_text())
    asked = [sys.executable, "-m", "pip", "index", "versions", LIBRARY]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    newest = re.search(r"Available versions: ([0-9.]+)", told)
    return pin[1], newest[1]


def installed(version):
    """The Python of an environment with a version."""
    python = BUILDS / version / "bin" / "python"
    if (BUILDS / version / "installed").is_file():
        return python
    print(f"Installing {LIBRARY} {version} into {python.parents[1]}, once", flush=True)
    venv.create(BUILDS / version, clear=True, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "-c", BUILDS / "constraints.txt"]
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    others = [line for line in constraints if not line.startswith(LIBRARY)]
    (BUILDS / "constraints.txt").write_text("\n".join(others))
    subprocess.run([*install, f"{LIBRARY}=={version}", *NEEDED], check=True)
    (BUILDS / version / "installed").touch()
    return python


def passes(name, python):
    """Whether the engine's tests pass there."""
    print(f"Testing with {name}", flush=True)
    environment = {
        **os.environ,
        "MINISIFT_ENGINE_FILES": str(FILES),
        "MINISIFT_CACHE": str(BUILDS / name / "cache"),
    }
    run = [python, "-m", "pytest", "-p", "no:cacheprovider", TESTS]
    return subprocess.run(run, cwd=ROOT, env=environment).returncode == 0


def make_files():
    """The labelers that are loaded, made by this environment, which has torch."""
    if not FILES.is_dir():
        BUILDS.mkdir(exist_ok=True)
        script = [sys.executable, ROOT / "tests" / "support" / "engine_files.py", FILES]
        subprocess.run(script, cwd=ROOT, check=True)


def main():
    make_files()
    versions = dict.fromkeys(admitted())
    failed = [version for version in versions if not passes(version, installed(version))]
    if failed:
        sys.exit(f"The engine's tests fail with {LIBRARY} {' and '.join(failed)}")


if __name__ == "__main__":
    main()
