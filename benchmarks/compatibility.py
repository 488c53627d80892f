"""Does this code answer as an earlier commit does, bit by bit?

    python benchmarks/compatibility.py COMMIT [--folder FOLDER]

The commit's code, taken out of the repository, fits a labeler on the shipped sample, saves it, exports it
and answers; this code loads the same folder and files and answers again, in processes of their own. It
also fits once more, from the base model alone and by the same seed: the adapter should be the same file.
Prints a line a check; the exit status is 1 if any differs. FOLDER keeps what the commit made, for another run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAKE = """
import inspect, sys
from pathlib import Path
import minisift
out = Path(sys.argv[1])
sample = Path(minisift.__file__).with_name("sample")
train, dev = minisift.read(sample / "train.jsonl"), minisift.read(sample / "dev.jsonl")[:24]
knows_starts = "start" in inspect.signature(minisift.fit).parameters
alone = {"start": None} if knows_starts else {}
fitting = {**alone, "loss": "full"} if knows_starts else {}
labeler = minisift.fit(
    "smollm2-135m", train, dev_set=dev, shots=4, max_prompts=30, output_dir=out / "fitted", **fitting
)
if "refit" not in sys.argv:
    labeler.export(out / "q8_0.gguf", quantization="q8_0", verify_on=dev)
    labeler.export(out / "q4_0.gguf", quantization="q4_0", verify_on=dev, tolerance=100)
    labeler.export(out / "f16.gguf", quantization="f16", verify=False)
    minisift.prompt("smollm2-135m", train, template="chat", shots=3, **alone).save(out / "chat")
    minisift.prompt("gemma-3-270m", train, shots=4, **alone).export(
        out / "gemma.gguf", verify=False
    )
"""
ANSWER = """
import json, sys
from pathlib import Path
import minisift
out = Path(sys.argv[1])
dev = minisift.read(Path(minisift.__file__).with_name("sample") / "dev.jsonl")
texts = [*dev, "\\n".join(example.text for example in dev), "", "x  y aspirin\\taspirin"]
found = {}
for name in sorted(path.name for path in out.iterdir() if path.suffix in ("", ".gguf")):
    labeler = minisift.load(out / name)
    asked = [texts, *([text] for text in texts[:8])] if name.endswith(".gguf") else [texts[:20]]
    found[name] = [
        [(s.start, s.end, s.label, s.text, s.score) for s in spans]
        for some in asked
        for spans in labeler.predict(some)
    ]
    labeler.close()
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--folder", type=Path, help="where to keep what the commit makes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        before = Path(scratch) / "code"
        before.mkdir()
        archive = subprocess.run(
            ["git", "archive", given.commit, "minisift"], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x"], cwd=before, input=archive.stdout, check=True)
        made = (given.folder or Path(scratch) / "made").absolute()
        if not made.is_dir():
            made.mkdir(parents=True)
            run(before, MAKE, made)
        again = Path(scratch) / "again"
        again.mkdir()
        run(ROOT, MAKE, again, "refit")
        wanted, found = (json.loads(run(code, ANSWER, made)) for code in (before, ROOT))
        checks = {f"{name} answers alike": found[name] == wanted[name] for name in wanted}
        weights = Path("fitted", "adapter_model.safetensors")
        checks["a fit gives the same adapter"] = (made / weights).read_bytes() == (
            again / weights
        ).read_bytes()
    for what, holds in checks.items():
        print(f"{what}: {'yes' if holds else 'NO'}")
    sys.exit(not all(checks.values()))


def run(code: Path, script: str, *words: str | Path) -> str:
    """The last line that a script prints, run with the minisift of a folder."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(code)},
        cwd=words[0],  # not in the checkout, whose minisift would come first
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return (done.stdout.splitlines() or [""])[-1]


if __name__ == "__main__":
    main()
