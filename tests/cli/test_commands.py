"""The command line as people run it: every command in a process of its own, every flag at work."""

import inspect
import itertools
import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import minisift
from minisift.cli import main
from minisift.models.source import resolve
from minisift.training.settings import Settings

pytest.importorskip("torch")

COLUMNS = """\
PER muller Müller 1
PER feld Feld 2
_ kommen kam 3

LOC lyon Lyon 4
_ sein war 5
_ schön schön 6

PER nora Nora 7
_ mögen mag 8
LOC bonn Bonn 9

_ regnen Regen 10
"""
RECORDS = [
    {"id": 17, "data": {"text": "Nora Feld kam."}, "meta": [None, "ü"]},
    {"id": "b", "data": {"text": ""}, "spans": [1], "z": 0.5},
]
OWN = '{"text": "Nora war in Lyon.", "spans": [{"start": 0, "end": 4, "label": "PER"}]}\n'

FIT = """fit smollm2-135m columns.csv --dev columns.csv --output-dir labeler --resume
    --format conll --word-column 2 --tag-column 0 --scheme io --encoding latin-1
    --names '{"PER": "human"}' --descriptions '{"LOC": "a town"}' --instruction standard
    --strategy src --shots 2 --sampling target --epochs 3.0 --max-prompts 2 --learning-rate 0.002
    --lora-rank 4 --lora-dropout 0.1 --batch-size 1 --max-length 900 --quantize nf4
    --gradient-checkpointing true --held-out 0.5 --evaluations 0 --patience 1
    --checkpoint-seconds 5.0 --template chat --seed 3 --json"""
PLAN = FIT.replace("fit", "plan", 1) + " --device cuda --memory 8"
EXPORT = """export labeler notes.gguf --format gguf --quantization f16 --merge-into original
    --no-verify --json"""
LINES = {
    "named": 'plan smollm2-135m colon.jsonl --names \'{"Drug: dose": "dose"}\' --quantize none '
    "--shots 0 --device cuda --memory 0.9",
    "texts": "predict notes.gguf 'Nora Feld kam.' '' --json --threads 1 --sequences 1",
    "readable": "predict notes.gguf 'Nora Feld kam.'",
    "records": "predict notes.gguf --input records.dat --input-format json --text-field data.text "
    "--encoding utf-16 --output out.jsonl",
    "sure": "predict notes.gguf 'Nora Feld kam.' --threshold '{\"PER\": 1, \"LOC\": 1}' --json",
    "long": "predict notes.gguf --input long.txt --on-long error --output never.jsonl",
    "folder": "evaluate labeler own.jsonl",
    "scores": "evaluate notes.gguf own.jsonl --json",
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
    "": "COMMAND",
    "fly": "invalid choice: 'fly'",
    "fit": "model, train, --output-dir",
    "fit smollm2-135m own.jsonl": "--output-dir",
    "fit smollm2-135m own.jsonl --output-dir new --lr 1": "--lr",
    "fit smollm2-135m own.jsonl --output-dir new --shots many": "'many'",
    "fit smollm2-135m own.jsonl --output-dir new --names '{bad'": "'{bad' is not JSON",
    "fit smollm2-135m own.jsonl --output-dir new --names '[1]'": "no text for each label",
    'fit smollm2-135m own.jsonl --output-dir new --names \'{"X": "y"}\'': "X; fix: use some of PER",
    "fit smollm2-135m own.jsonl --output-dir new --strategy all --epochs inf": "strategy='all'",
    "fit smollm2-135m own.jsonl --output-dir new --quantize int3": "quantize='int3'",
    "fit smollm2-135m own.jsonl --output-dir new --seed 99999999999": "seed=99999999999",
    "fit smollm2-135m own.jsonl --output-dir new --gradient-checkpointing maybe": "'maybe'",
    "fit smollm2-135m own.jsonl --output-dir new --dev none.jsonl": "none.jsonl: no such file",
    "fit smollm2-135m own.jsonl --output-dir own.jsonl": "own.jsonl: is a file",
    "fit smollm2-135m own.jsonl --output-dir own.jsonl/new": "is no folder to write to",
    "fit smollm2-135m own.jsonl --output-dir thesis": "thesis: holds something else",
    "fit no-model own.jsonl --output-dir new": "'no-model'",
    "fit smollm2-135m own.jsonl --output-dir new --split train": "split='train' is not for jsonl",
    "fit smollm2-135m own.jsonl --output-dir new --tag-names '[bad'": "'[bad' is not JSON",
    "plan smollm2-135m colon.jsonl": "names={'Drug: dose': 'some name'}",
    "plan smollm2-135m own.jsonl --resume": "resume=True without output_dir",
    "plan smollm2-135m own.jsonl --memory nan": "memory=nan",
    "plan smollm2-135m own.jsonl --memory much": "'much'",
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
    "export none.gguf out.gguf --tolerance much": "'much'",
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


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder of small files."""
    spacy = pytest.importorskip("spacy")
    from datasets import Dataset, DatasetDict
    from spacy.tokens import Doc, DocBin, Span

    folder = tmp_path_factory.mktemp("commands")
    span = {"start": 0, "end": 4, "label": "PER"}
    town = {"start": 0, "end": 4, "label": "LOC"}

    def write(name, *lines, encoding="utf-8"):
        shown = (line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
        (folder / name).write_bytes("".join(shown).encode(encoding))

    write("columns.csv", COLUMNS, encoding="latin-1")
    write(
        "numbers.jsonl",
        {"tokens": ["Nora", "Feld", "kam"], "ner_tags": [1, 2, 0]},
        {"tokens": ["Lyon"], "ner_tags": [3]},
    )
    write(
        "bodies.jsonl",
        {"letter": {"body": "Nora kam"}, "spans": [span]},
        {"letter": {"body": "Lyon"}, "spans": [town]},
    )
    write(
        "broken.jsonl",
        {"text": "Nora", "spans": [{**span, "end": 3}]},
        "{\n",
        {"text": "Lyon", "spans": [town]},
    )
    docs = [
        Doc(spacy.blank("de").vocab, words=words) for words in (["Nora", "kam"], ["In", "Lyon"])
    ]
    docs[0].spans["sc"] = [Span(docs[0], 0, 1, "PER")]
    docs[1].spans["sc"] = [Span(docs[1], 1, 2, "LOC")]
    DocBin(docs=docs, store_user_data=True).to_disk(folder / "groups.spacy")
    rows = [{"tokens": ["Nora"], "tags": ["B-PER"]}, {"tokens": ["Lyon"], "tags": ["B-LOC"]}]
    parts = {"train": Dataset.from_list(rows[:1]), "test": Dataset.from_list(rows)}
    DatasetDict(parts).save_to_disk(folder / "sets")
    write("own.jsonl", OWN)
    write("colon.jsonl", {"text": "5 mg", "spans": [{**span, "label": "Drug: dose"}]})
    write("own.conll", "Nora B-PER\n")
    write("latin.txt", "Müller\n", encoding="latin-1")
    write("records.dat", json.dumps(RECORDS, indent=1), encoding="utf-16")
    write("long.txt", "wort " * 9000)
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter").touch()
    return folder


@pytest.fixture(scope="module")
def fitted(here):
    return Run(FIT, here)


@pytest.fixture(scope="module")
def exported(here, fitted):
    return Run(EXPORT, here)


@pytest.fixture
def run(here, exported):
    return lambda name, **options: Run(LINES[name], here, **options)


def flags(line):
    """The flags of a line with their words, those of settings as values."""
    words = [*shlex.split(line), ""]
    return {
        word: "" if following.startswith("--") else following
        for word, following in itertools.pairwise(words)
        if word.startswith("--")
    }


def test_fit(here, fitted):
    made = json.loads((here / "labeler" / "labeler.json").read_text(encoding="utf-8"))
    assert fitted.json["settings"] == made["settings"]
    assert "nothing to continue" in fitted.err
    asked = flags(FIT)
    for field in fields(Settings):
        value = made["settings"][field.name]
        assert str(value).lower() == asked["--" + field.name.replace("_", "-")]
        assert value != field.default or field.name == "quantize"
    assert made["names"] == {"LOC": "location", "PER": "human"}
    assert "- location: a town" in made["instruction"]
    assert made["scores"]["dev"]["sentences"] == 4
    assert {example["text"] for example in made["demonstrations"]} <= {
        "Müller Feld kam",
        "Lyon war schön",
        "Nora mag Bonn",
        "Regen",
    }


def test_a_line_for_fit_is_one_for_plan(here, exported, run):
    planned = Run(PLAN, here).json
    assert (planned["device"], planned["dtype"], planned["quantize"]) == ("cuda", "bfloat16", "nf4")
    assert planned["available"] == 8e9
    assert planned["fits"]
    assert planned["gradient_checkpointing"]
    parts = ("weights", "adapter", "activations", "overhead")
    assert planned["total"] == sum(planned[part] for part in parts)
    printed = run("named").out
    assert "135M parameters on cuda, bf16" in printed
    assert "available                                    0.90 GB" in printed


def test_export(here, exported):
    assert exported.json["quantization"] == "f16"
    assert "tried" not in exported.json
    assert (here / "notes.gguf").stat().st_size == exported.json["bytes"]


def test_export_in_other_shapes(here, run):
    from safetensors.torch import load_file

    refused = run("strict", status=2)
    assert "allowed are -500.0" in refused.err
    assert not (here / "strict.gguf").exists()
    assert "lora.gguf: " in run("lora").out
    assert run("kit").json["path"] == "kit"
    assert (here / "kit" / "labels.gbnf").is_file()
    assert run("merged").json["bytes"] > 2e8
    matrices = [
        load_file(next(Path(folder).glob("*.safetensors")))["model.layers.0.mlp.up_proj.weight"]
        for folder in (here / "merged", resolve("smollm2-135m").weights)
    ]
    merged, original = (matrix.float() for matrix in matrices)
    assert (merged - original).norm() < 0.05 * original.norm()  # four bits are 0.1 away


def test_predict_texts(run):
    lines = [json.loads(line) for line in run("texts").out.splitlines()]
    assert [line["text"] for line in lines] == ["Nora Feld kam.", ""]
    assert all(list(line) == ["text", "spans"] for line in lines)
    assert run("readable").out.startswith("Nora Feld kam.\n")
    sure = run("sure")
    assert "below the threshold" in sure.err or not lines[0]["spans"]
    assert all(span["score"] == 1 for span in sure.json["spans"])


def test_predict_records(here, run):
    done = run("records")
    assert done.out == ""
    assert "2 texts in " in done.err
    assert "1 records had spans, which are replaced" in done.err
    text = (here / "out.jsonl").read_text(encoding="utf-8")
    first, second = map(json.loads, text.splitlines())
    assert list(first) == ["id", "data", "meta", "spans"]
    assert list(second) == ["id", "data", "z", "spans"]
    for record, given in zip((first, second), RECORDS, strict=True):
        assert {**given, "spans": []} == {**record, "spans": []}
    again = minisift.read(here / "out.jsonl", text_field="data.text")
    assert [example.text for example in again] == ["Nora Feld kam.", ""]


def test_predict_long_texts(here, run):
    assert "fix: cut the text" in run("long", status=2).err
    assert not (here / "never.jsonl").exists()


@pytest.mark.parametrize(
    ("given", "flag", "texts"),
    [
        (b"\xef\xbb\xbfNora\r\n\nFeld \xc3\xbc", "", ["Nora", "", "Feld ü"]),
        (b'"Nora"\n\n{"text": "\\ud800"}\n', "--input-format jsonl", ["Nora", "\ud800"]),
        (b"id,text\n1,Nora\n", "--input - --input-format csv", ["Nora"]),
    ],
)
def test_predict_a_pipe(given, flag, texts, here, exported, tmp_path):
    done = Run(f"predict notes.gguf {flag}", here, given=given)
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == texts
    (tmp_path / "out.jsonl").write_text(done.out, encoding="utf-8")
    assert [example.text for example in minisift.read(tmp_path / "out.jsonl")] == texts


def test_a_broken_line_of_a_pipe_is_named(here, exported):
    line = "predict notes.gguf --output never.jsonl --input-format"
    for format, given, told in (("lines", b"a\n\xfc\n", "stdin:2"), ("jsonl", b"{}", "stdin:1")):
        assert told in Run(f"{line} {format}", here, status=2, given=given).err
    assert not (here / "never.jsonl").exists()


def test_evaluate(run):
    scores = run("scores").json
    assert (scores["sentences"], scores["micro"]["gold"]) == (1, 1)
    with_errors = run("errors").json
    assert set(with_errors) - set(scores) == {"errors"}
    printed = run("folder")
    assert printed.err == "loading labeler\n"
    assert "1 sentences" in printed.out


def reading(file):
    """A file with its options as flags."""
    words = [file]
    for name, value in READING[file].items():
        flag = {"names": "tag-names"}.get(name, name.replace("_", "-"))
        words += [f"--{flag}", value if isinstance(value, str) else json.dumps(value)]
    return shlex.join(words)


@pytest.mark.parametrize("file", READING)
def test_reading(file, here, exported):
    scores = Run(f"evaluate notes.gguf {reading(file)} --json", here)
    gold = {label: row["gold"] for label, row in scores.json["per_label"].items() if row["gold"]}
    assert set(gold) == {"LOC", "PER"}
    assert ("1 spans snapped to words" in scores.err) == (file == "broken.jsonl")
    told = "names for labels that are not in the data: NO; fix: use some of LOC, PER"
    for command in ("fit", "plan"):
        line = f"{command} smollm2-135m {reading(file)} --output-dir new --names"
        done = Run(f"""{line} '{{"NO": "x"}}'""", here, status=2)
        assert done.err.endswith(f"minisift: {told}\n")
    options = READING[file]
    wanted = minisift.read(here / file, **options)
    for name in options:
        less = {other: value for other, value in options.items() if other != name}
        try:
            assert minisift.read(here / file, **less) != wanted
        except minisift.DataError:
            continue


@pytest.mark.parametrize(("line", "told"), ERRORS.items())
def test_errors_are_a_line_and_come_first(line, told, here):
    done = Run(line, here, status=2)
    assert done.out == ""
    assert re.fullmatch(r"minisift: [^\n]*; fix: [^\n]*\n", done.err)
    assert told in done.err
    assert not (here / "new").exists()


@pytest.mark.parametrize(("line", "told"), WITH_A_MODEL.items())
def test_errors_with_a_model(line, told, here, exported):
    if not (here / "broken").exists():
        (here / "broken").mkdir()
        for file in (here / "labeler").iterdir():
            (here / "broken" / file.name).write_bytes(file.read_bytes()[:30_000])
    done = Run(line, here, status=2)
    *before, last = done.err.splitlines()
    assert told in last
    assert "; fix: " in last
    assert all(line.startswith(("loading ", "Merging ")) for line in before)


def helped(capsys, *words):
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    return capsys.readouterr().out


def test_every_flag_is_at_work(capsys):
    lines = [FIT, PLAN, EXPORT, *LINES.values(), *ERRORS, *WITH_A_MODEL]
    for command in ("fit", "plan", "evaluate"):
        lines += [f"{command} {reading(file)}" for file in READING]
    commands = re.findall(r"^    (\w+) ", helped(capsys), re.MULTILINE)
    assert {"fit", "plan", "predict", "evaluate", "export"} <= set(commands)
    for command in commands:
        there = re.findall(r"^  (--[a-z-]+)", helped(capsys, command), re.MULTILINE)
        used = {flag for line in lines if line.split()[:1] == [command] for flag in flags(line)}
        assert set(there) - used == set()


@pytest.mark.parametrize("command", ["fit", "plan", "evaluate"])
def test_every_option_of_read_is_a_flag(command, capsys):
    options = set(inspect.signature(minisift.read).parameters) - {"source"}
    given = {name for options in READING.values() for name in options}
    assert given == options
    told = " ".join(helped(capsys, command).split())
    for name in options:
        flag = "--tag-names" if name == "names" else "--" + name.replace("_", "-")
        assert re.search(rf" {flag} (\S+|{{.*?}}) \w", told.split("reading:")[1])
    assert "Demonstrations in a prompt; 0 is" in told or command == "evaluate"
