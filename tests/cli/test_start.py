"""Commands begin at once: none imports what it has no use for yet."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "llama_cpp", "numpy", "datasets", "peft", "pyarrow")


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        *(
            [command, "--help"]
            for command in ("check", "fit", "plan", "predict", "evaluate", "export")
        ),
        ["predict", "none.gguf", "Nora"],
        ["check", "none.jsonl"],
        ["fit", "smollm2-135m", "none.jsonl", "--output-dir", "new"],
    ],
    ids=" ".join,
)
def test_start_is_light(words, tmp_path):
    code = (
        "import sys\n"
        "from minisift.cli import main\n"
        "try:\n"
        f"    main({words})\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "", done.stderr
