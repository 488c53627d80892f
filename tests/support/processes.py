"""Python scripts that tests run beside themselves, alone or in a group that trains together."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARDED = ["--use_fsdp", "--fsdp_version=2"]
"""What asks accelerate for weights that are shared out."""


def launched(how, processes):
    """The words before a script that have accelerate run it in so many processes."""
    return [
        "-m",
        "accelerate.commands.launch",
        *how,
        f"--num_processes={processes}",
        f"--main_process_port={free_port()}",
        "--num_machines=1",
        "--mixed_precision=no",
        "--dynamo_backend=no",
        "--num_cpu_threads_per_process=1",
    ]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(script, *words, launch=(), **environment):
    """A script of this folder, under way."""
    path = os.pathsep.join(filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, *launch, str(ROOT / "tests" / "support" / script), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def result(process):
    """What a script says on its line of results, when it has ended."""
    out, err = process.communicate(timeout=300)
    line = next((line for line in out.splitlines() if line.startswith("result ")), None)
    assert line, err
    return json.loads(line[len("result ") :])
