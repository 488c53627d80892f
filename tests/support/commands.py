"""The command line as people run it: the lines that tests run, each in a process of its own.

Every flag stands in one of these lines; `tests/cli/test_flags.py` fails for one that does not. They run
in the folder `here` of `tests/cli/conftest.py`, where `base` is a model of two layers.
"""

import itertools
import json
import shlex
import subprocess
import sys

RECORDS = [
    {"id": 17, "data": {"text": "Nora Feld kam."}, "meta": [None, "ü"]},
    {"id": "b", "data": {"text": ""}, "spans": [1], "z": 0.5},
]
"""What records.dat holds."""
FIT = """fit base columns.csv --dev columns.csv --output-dir labeler --start none --resume
    --format conll --word-column 2 --tag-column 0 --scheme io --encoding latin-1
    --names '{"PER": "human"}' --descriptions '{"LOC": "a town"}' --instruction standard
    --strategy src --loss full --shots 2 --sampling target --epochs 3.0 --max-prompts 2 --runs 2 --learning-rate 0.002
    --lora-rank 4 --lora-dropout 0.1 --batch-size 1 --max-length 900 --quantize nf4
    --gradient-checkpointing --held-out 0.5 --evaluations 0 --patience 1
    --checkpoint-seconds 5.0 --template chat --seed 3 --errors --json"""
PLAN = FIT.replace("fit", "plan", 1) + " --device cuda --memory 8"
INSPECT = FIT.replace("fit", "inspect", 1)
for gone in ("--dev columns.csv", "--output-dir labeler", "--resume", "--errors"):
    INSPECT = INSPECT.replace(f" {gone}", "", 1)
PROMPT = """prompt base columns.csv --output-dir prompted
    --format conll --word-column 2 --tag-column 0 --scheme io --encoding latin-1
    --names '{"PER": "human"}' --descriptions '{"LOC": "a town"}' --instruction standard
    --start labeler --shots 2 --template plain --quantize nf4 --seed 3 --errors --json"""
EXPORT = """export labeler notes.gguf --format gguf --quantization f16 --merge-into original
    --no-verify --json"""
LINES = {
    "check": "check own.jsonl --dev own.jsonl --model base --json",
    "checked": "check own.jsonl",
    "refused": "check broken.jsonl",
    "seen": "inspect base own.jsonl --max-prompts 3",
    "shown": "show own.jsonl --output page.html",
    "wrong": "show own.jsonl --labeler notes.gguf --wrong --output wrong.html",
    "doctor": "doctor",
    "cleared": "doctor --clear-cache --json",
    "chosen": "prompt base own.jsonl --output-dir chosen --instruction none "
    "--start None --quantize none --template chat --errors",
    "onward": "fit base own.jsonl --output-dir onward --start labeler --lora-rank 4 --max-prompts 2 "
    "--evaluations 0 --json",
    "named": 'plan base colon.jsonl --names \'{"Drug: dose": "dose"}\' --quantize none '
    "--shots 0 --device cuda --memory 0.9",
    "texts": "predict notes.gguf 'Nora Feld kam.' '' --json --threads 1 --sequences 1",
    "readable": "predict notes.gguf 'Nora Feld kam.'",
    "records": "predict notes.gguf --input records.dat --input-format json --text-field data.text "
    "--encoding utf-16 --output out.jsonl",
    "sure": "predict notes.gguf 'Nora Feld kam.' --threshold '{\"PER\": 1, \"LOC\": 1}' --prefer precision --json",
    "long": "predict notes.gguf --input long.txt --on-long error --output never.jsonl",
    "folder": "evaluate labeler own.jsonl",
    "scores": "evaluate notes.gguf own.jsonl --prefer recall --json",
    "errors": "evaluate notes.gguf own.jsonl --errors --json",
    "strict": "export labeler strict.gguf --quantization f16 --verify-on own.jsonl --tolerance -500",
    "merged": "export labeler merged --format hf --merge-into original --json",
    "lora": "export labeler lora.gguf --format lora",
    "kit": "export notes.gguf kit --format kit --json",
}
READING = {
    "columns.csv": {
        "format": "conll",
        "word_column": 2,
        "tag_column": 0,
        "scheme": "io",
        "encoding": "latin-1",
    },
    "numbers.jsonl": {"names": ["O", "B-PER", "I-PER", "B-LOC"]},
    "bodies.jsonl": {"text_field": "letter.body"},
    "broken.jsonl": {"on_error": "skip", "on_misaligned": "snap"},
    "groups.spacy": {"spans_key": "sc"},
    "sets": {"split": "test"},
}
"""Files with PER and LOC, and the options of `minisift.read` without any of which they are not read so."""
ERRORS = {
    "fly": 'Unknown command "fly". Available commands: check, ',
    "fit": '"fit" parameter MODEL',
    "fit smollm2-135m own.jsonl": "--output-dir",
    "fit smollm2-135m own.jsonl --output-dir new --lr 1": "--lr",
    "inspect smollm2-135m none.jsonl": "none.jsonl: no such file",
    "inspect no-model own.jsonl": "'no-model'",
    "show none.jsonl --output page.html": "none.jsonl: no such file",
    "show own.jsonl --output thesis": "thesis: a folder",
    "show own.jsonl --output page.html --wrong": "--wrong without --labeler",
    "show own.jsonl --output page.html --labeler none.gguf": "none.gguf: no such file",
    "check none.jsonl": "none.jsonl: no such file",
    "check own.jsonl --dev none.jsonl": "none.jsonl: no such file",
    "check own.jsonl --model no-model": "'no-model'",
    "check own.jsonl --split train": "split='train' is not for jsonl",
    "fit smollm2-135m own.jsonl --output-dir new --shots many": '"many"',
    "fit smollm2-135m own.jsonl --output-dir new --shots -1": "shots=-1",
    "fit smollm2-135m own.jsonl --output-dir new --names '{bad'": "'{bad' is not JSON",
    "fit smollm2-135m own.jsonl --output-dir new --names '[1]'": "no text for each label",
    'fit smollm2-135m own.jsonl --output-dir new --names \'{"X": "y"}\'': "X; fix: use some of PER",
    "fit smollm2-135m own.jsonl --output-dir new --strategy all": 'Choose from: "vanilla", "src", "mrc"',
    "fit smollm2-135m own.jsonl --output-dir new --epochs inf": "epochs=inf",
    "fit smollm2-135m own.jsonl --output-dir new --quantize int3": "int3",
    "fit smollm2-135m own.jsonl --output-dir new --seed 99999999999": "seed=99999999999",
    "fit smollm2-135m own.jsonl --output-dir new --gradient-checkpointing maybe": "maybe",
    "fit smollm2-135m own.jsonl --output-dir new --dev none.jsonl": "none.jsonl: no such file",
    "fit smollm2-135m own.jsonl --output-dir new --loss half": 'Choose from: "constrained", "full"',
    "fit smollm2-135m own.jsonl --output-dir new --start thesis": "start='thesis': no folder with",
    "prompt smollm2-135m own.jsonl --output-dir thesis": "thesis: holds something else",
    "prompt smollm2-135m own.jsonl --output-dir new --shots -1": "shots=-1",
    "prompt smollm2-135m own.jsonl --output-dir new --start thesis": "start='thesis': no folder",
    "plan smollm2-135m own.jsonl --start thesis": "start='thesis': no folder with",
    "fit smollm2-135m own.jsonl --output-dir own.jsonl": "own.jsonl: is a file",
    "fit smollm2-135m own.jsonl --output-dir own.jsonl/new": "is no folder to write to",
    "fit smollm2-135m own.jsonl --output-dir thesis": "thesis: holds something else",
    "fit no-model own.jsonl --output-dir new": "'no-model'",
    "fit smollm2-135m own.jsonl --output-dir new --split train": "split='train' is not for jsonl",
    "fit smollm2-135m own.jsonl --output-dir new --tag-names '[bad'": "'[bad' is not JSON",
    "plan smollm2-135m colon.jsonl": "names={'Drug: dose': 'some name'}",
    "plan smollm2-135m own.jsonl --resume": "resume=True without output_dir",
    "plan smollm2-135m own.jsonl --memory nan": "memory=nan",
    "plan smollm2-135m own.jsonl --memory much": '"much"',
    "plan smollm2-135m own.jsonl --output-dir thesis": "thesis: holds something else",
    "predict none.gguf Nora": "none.gguf: no such file",
    "predict none.gguf --input none.txt": "none.txt: no such file",
    "predict none.gguf --input thesis": "thesis: a folder",
    "predict none.gguf --input latin.txt": "latin.txt:1: not UTF-8",
    "predict none.gguf --input own.conll": "own.conll: labelled data",
    "predict none.gguf --input records.dat": "records.dat:1: ",
    "predict none.gguf --input own.jsonl --text-field body": "own.jsonl:1: no field 'body'",
    "predict none.gguf --input own.jsonl --output thesis": "thesis: a folder",
    "predict none.gguf --input own.jsonl --output own.jsonl/out": "own.jsonl/out: cannot be written",
    "predict none.gguf Nora --input own.jsonl": "texts and --input",
    "predict none.gguf Nora --threshold much": "'much' is not JSON",
    "predict none.gguf Nora --threshold '\"much\"'": "no score",
    "predict thesis Nora --threads 2": "--threads is for GGUF files",
    "evaluate none.gguf none.jsonl": "none.jsonl: no such file",
    "export none.gguf out.gguf": "none.gguf: no such file",
    "export none.gguf out.gguf --tolerance much": '"much"',
}
WITH_A_MODEL = {
    "predict notes.gguf Nora --threads 0": "threads=0",
    "predict notes.gguf Nora --sequences 0": "sequences=0",
    "predict notes.gguf Nora --threshold 2": "threshold 2",
    "predict notes.gguf Nora --threshold '{\"X\": 1}'": "'X'; fix: labels are LOC, PER",
    "export notes.gguf again.gguf": "comes from a GGUF file already",
    "export labeler own.jsonl/x.gguf --no-verify": "own.jsonl",
    "export labeler x.gguf --quantization q99": "quantization='q99'",
    "export labeler x.gguf --converter none.py": "none.py: no such file",
    "predict broken Nora": "broken: damaged weights",
}


class Run:
    """A command that ended as it should have: what it printed, and that it was no nuisance."""

    def __init__(self, line, folder, status=0, given=b""):
        command = [sys.executable, "-m", "minisift.cli", *shlex.split(line)]
        done = subprocess.run(command, input=given, capture_output=True, cwd=folder)
        self.out, self.err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == status, self.err
        assert "Warning" not in self.err
        assert "Traceback" not in self.err

    @property
    def json(self):
        return json.loads(self.out)


def errors_of(lines, folder):
    """What each of these lines says on stderr, none of which may end well or print anything else.

    All in one process: it is the import of transformers that takes the time.
    """
    code = (
        "import json, shlex, sys\n"
        "from minisift.cli import main\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    assert main(shlex.split(line)) == 2, line\n"
        "    print('\\0', file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, cwd=folder)
    *errors, rest = done.stderr.decode().split("\0\n")
    assert (done.returncode, done.stdout, rest) == (0, b"", ""), done.stderr.decode()
    return dict(zip(lines, errors, strict=True))


def flags(line):
    """The flags of a line with their words, those of settings as values."""
    words = [*shlex.split(line), ""]
    return {
        word: "" if following.startswith("--") else following
        for word, following in itertools.pairwise(words)
        if word.startswith("--")
    }


def reading(file):
    """A file of READING with its options as flags."""
    words = [file]
    for name, value in READING[file].items():
        flag = {"names": "tag-names"}.get(name, name.replace("_", "-"))
        words += [f"--{flag}", value if isinstance(value, str) else json.dumps(value)]
    return shlex.join(words)


def every_line():
    """All lines of this file, those that read a file once for each command that reads."""
    lines = [FIT, PLAN, INSPECT, PROMPT, EXPORT, *LINES.values(), *ERRORS, *WITH_A_MODEL]
    for command in ("check", "show", "inspect", "fit", "plan", "prompt", "evaluate"):
        lines += [f"{command} {reading(file)}" for file in READING]
    return lines
