"""The command line: `minisift fit | plan | predict | evaluate | export`, the words of the functions."""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import json
import logging
import sys
import time
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import minisift
from minisift.data import inputs
from minisift.data.examples import OnError, OnMisaligned, Span
from minisift.data.formats import NAMES, options_of
from minisift.data.inputs import Input, read_inputs
from minisift.files import whole
from minisift.labeler import FORMATS, OnLong
from minisift.scoring.evaluation import Report
from minisift.training.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors are one line on stderr, status 2."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    logging.getLogger("minisift").setLevel(logging.INFO)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # lone surrogates, which UTF-8 has no bytes for, become JSON's escapes
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        given = _parser().parse_args(arguments)
        given.run(given)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError) as error:
        print(f"minisift: {_told(error)}", file=sys.stderr)
        return 2
    return 0


def _told(error: BaseException) -> str:
    """What an error says, on one line; of the system's own, also what to do."""
    text = " ".join(map(str.strip, str(error).splitlines()))
    if isinstance(error, OSError) and error.errno is not None and "; fix: " not in text:
        text += "; fix: look at this path, who may write there, and the room on the disk"
    return text


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong as every other error is told, without the usage."""

    def error(self, message: str) -> NoReturn:
        fix = "" if "; fix: " in message else f"; fix: see {self.prog} --help"
        raise ValueError(message + fix)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="minisift", description="Label spans in text with a small language model."
    )
    parser.add_argument("--version", action="version", version=minisift.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="train a labeler on labelled sentences")
    fit.set_defaults(run=_fit)
    _add_training(fit, output_dir="where to write the adapter folder")

    plan = commands.add_parser("plan", help="estimate the memory that the same fit would take")
    plan.set_defaults(run=_plan)
    _add_training(plan, output_dir=None)
    plan.add_argument("--device", choices=("cuda", "mps", "cpu"), help="this machine's by default")
    plan.add_argument("--memory", type=float, help="gigabytes there are; by default as found here")

    predict = commands.add_parser("predict", help="label text")
    predict.set_defaults(run=_predict)
    predict.add_argument("labeler", help="GGUF file or adapter folder")
    predict.add_argument("text", nargs="*", help="texts; without any, --input is read")
    _add_input(predict)
    predict.add_argument("--output", default="-", help="JSONL file to write; - is stdout")
    predict.add_argument(
        "--threshold",
        type=_threshold,
        default=0.0,
        help='score that a span needs: a number, or by label as in {"PER": 0.8}',
    )
    predict.add_argument(
        "--on-long",
        choices=typing.get_args(OnLong),
        default="window",
        help="texts longer than those of the training: label in windows, or in one piece",
    )
    predict.add_argument("--threads", type=int, help="of a GGUF file; one a core by default")
    predict.add_argument("--sequences", type=int, help="texts of a GGUF file that run at once")

    evaluate = commands.add_parser("evaluate", help="score a labeler on labelled sentences")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("labeler", help="GGUF file or adapter folder")
    evaluate.add_argument("data", help="labelled file, see --format")
    evaluate.add_argument(
        "--errors", action="store_true", help="tell what went wrong: kinds, examples, confusion"
    )
    _add_reading(evaluate)

    export = _add_export(commands)

    for command in (fit, plan, predict, evaluate, export):
        command.add_argument(
            "--json", action="store_true", default=False, help="print JSON for machines"
        )
    return parser


def _add_training(parser: argparse.ArgumentParser, output_dir: str | None) -> None:
    """What `fit` takes, and `plan` so that a line for the one is one for the other.

    output_dir: what that flag does, if the command needs it.
    """
    parser.add_argument("model", help="bundled name, hub id, folder or .gguf file")
    parser.add_argument("train", help="labelled file, see --format")
    parser.add_argument(
        "--dev",
        help="labelled file to choose the adapter, calibrate and score by; without it a tenth is held out",
    )
    parser.add_argument(
        "--output-dir",
        required=output_dir is not None,
        help=output_dir or "as for fit; nothing is written",
    )
    parser.add_argument(
        "--names", type=_by_label, help='display names by label, as in {"PER": "person"}'
    )
    parser.add_argument(
        "--descriptions", type=_by_label, help="what labels mean, for the standard instruction"
    )
    parser.add_argument("--instruction", help="instruction text; 'standard' for the built-in one")
    parser.add_argument("--resume", action="store_true", help="continue a training that was killed")
    _add_settings(parser)
    _add_reading(parser)


def _add_input(parser: argparse.ArgumentParser) -> None:
    """How texts to label are read: the arguments of `read_inputs`, which has their defaults."""
    absent: Any = argparse.SUPPRESS
    group = parser.add_argument_group("input")
    group.add_argument("--input", default=absent, help="file to label; - is stdin, the default")
    group.add_argument(
        "--input-format",
        choices=inputs.FORMATS,
        default=absent,
        help="a text a line; JSON Lines; a JSON array or object; CSV (or .tsv) with a header row; "
        "Parquet. By the file's ending if not given, else lines",
    )
    group.add_argument(
        "--text-field",
        default=absent,
        help="field or column that holds the text, 'text' by default; data.text is one inside of another",
    )
    group.add_argument("--encoding", default=absent, help="of the file; utf-8 by default")


def _add_export(commands: Any) -> argparse.ArgumentParser:
    """Flags as the arguments of `Labeler.export`, which has their defaults."""
    export: argparse.ArgumentParser = commands.add_parser(
        "export", help="write a labeler as one GGUF file", argument_default=argparse.SUPPRESS
    )
    export.set_defaults(run=_export)
    export.add_argument("labeler", help="adapter folder; for a kit, a GGUF file")
    export.add_argument("path", help="file or folder to write")
    export.add_argument(
        "--format",
        choices=FORMATS,
        help="one file (the default); the adapter alone as GGUF; a merged Hugging Face folder; a "
        "kit for other programs than minisift",
    )
    export.add_argument(
        "--quantization",
        help="q8_0 by default; f16, q4_0, q4_k_m, ...; auto for the smallest that keeps F1",
    )
    export.add_argument("--verify-on", help="labelled file whose sentences are compared")
    export.add_argument(
        "--no-verify", dest="verify", action="store_false", help="neither compare nor balance"
    )
    export.add_argument(
        "--tolerance", type=float, help="points of F1 to lose at most; 0.5 if not given"
    )
    export.add_argument(
        "--merge-into",
        choices=("quantized", "original"),
        help="the weights of the training (the default), or those before their quantization",
    )
    export.add_argument("--converter", help="llama.cpp's convert_hf_to_gguf.py, to use it instead")
    return export


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of Settings, with what stands under it there."""
    types_ = typing.get_type_hints(Settings)
    words = _words()
    group = parser.add_argument_group("settings")
    for field in dataclasses.fields(Settings):
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            type=_converter(types_[field.name]),
            default=argparse.SUPPRESS,
            metavar=field.name.upper(),
            help=f"{words.get(field.name, '')} (default: {field.default})".replace("%", "%%"),
        )


@functools.cache
def _words() -> dict[str, str]:
    """The docstring under each field of Settings, where its source is at hand."""
    try:
        (defined,) = ast.parse(inspect.getsource(Settings)).body
    except OSError:
        return {}
    assert isinstance(defined, ast.ClassDef)
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(told.value).split())
        for field, told in itertools.pairwise(defined.body)
        if isinstance(field, ast.AnnAssign) and isinstance(told, ast.Expr)
    }


def _converter(hint: Any) -> Any:
    """What turns a flag's word into a value of a field's type; "none" gives None."""
    if typing.get_origin(hint) is typing.Literal:
        return str
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        convert = _converter(inner)
        return lambda word: None if word.lower() == "none" else convert(word)
    if hint is bool:
        return _boolean
    return hint


def _boolean(word: str) -> bool:
    if word.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{word!r} is neither true nor false")
    return word.lower() == "true"


def _by_label(word: str) -> dict[str, str]:
    value = _json(word, _NAMED)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise argparse.ArgumentTypeError(f"{word!r} has no text for each label; fix: {_NAMED}")
    return value


def _threshold(word: str) -> float | dict[str, float]:
    value = _json(word, _SCORED)
    numbers = list(value.values()) if isinstance(value, dict) else [value]
    if not all(type(number) in (int, float) for number in numbers):
        raise argparse.ArgumentTypeError(f"{word!r} is no score; fix: {_SCORED}")
    return typing.cast("float | dict[str, float]", value)


def _json(word: str, fix: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{word!r} is not JSON ({error}); fix: {fix}") from None


_NAMED = """a text by label, as in '{"PER": "person"}'"""
_SCORED = """a number, or one by label, as in '{"PER": 0.8}'"""
_LISTED = """a list, as in '["O", "B-PER"]', or the path of a JSON file"""


def _column(word: str) -> int | str:
    return int(word) if word.removeprefix("-").isdecimal() else word


def _tag_names(word: str) -> Any:
    """A list of names, or the path of a file that `minisift.read` takes them from."""
    return _json(word, _LISTED) if word.lstrip().startswith(("[", "{")) else word


_READING: dict[str, dict[str, Any]] = {
    "format": {
        "choices": NAMES,
        "help": "columns, tables, JSON and JSON Lines, standoff files, WebAnno TSV, spaCy's DocBin, "
        "data sets; by the file's ending and first line if not given",
    },
    "word_column": {
        "type": _column,
        "metavar": "COLUMN",
        "help": "column of the words, by number from 0 (-1 is the last) or by name; the first that "
        "holds no numbers or ids by default",
    },
    "tag_column": {
        "type": _column,
        "metavar": "COLUMN",
        "help": "column or field of the tags, by number or name; the last that holds tags by default",
    },
    "scheme": {
        "help": "of the tags: iob1, iob2, iobes, bilou, bmes, bmewo or io; recognised if not given"
    },
    "tag_names": {
        "type": _tag_names,
        "metavar": "NAMES",
        "help": 'of tags that are numbers, in order: as in ["O", "B-PER"], or a JSON file of them',
    },
    "text_field": {
        "metavar": "FIELD",
        "help": "field of a record that holds its text; data.text is one inside of another",
    },
    "spans_key": {
        "metavar": "KEY",
        "help": "group of doc.spans in a DocBin file; its entities by default",
    },
    "split": {"help": "of a data set that has several, such as train"},
    "encoding": {"help": "of the file; utf-8 by default"},
    "on_error": {
        "choices": typing.get_args(OnError),
        "help": "what becomes of a record that cannot be read: end with an error (the default), or "
        "leave it out and count it",
    },
    "on_misaligned": {
        "choices": typing.get_args(OnMisaligned),
        "help": "what becomes of a span that overlaps another or cuts a word: end with an error (the "
        "default), grow it to whole words, or leave it out and count it",
    },
}
"""The arguments of `minisift.read`, which has their defaults, as flags."""


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    for name, how in _READING.items():
        group.add_argument("--" + name.replace("_", "-"), default=argparse.SUPPRESS, **how)


def _read(given: argparse.Namespace, path: str, others: Sequence[str] = ()) -> Any:
    """Examples by the reading flags; a flag that another file is read by need not fit this one."""
    options = _given(given, _READING)
    if "tag_names" in options:
        options["names"] = options.pop("tag_names")
    format = options.get("format")
    known = {option for other in others for option in options_of(other, format)}
    unfit = known - set(options_of(path, format)) if known else known
    options = {name: value for name, value in options.items() if name not in unfit}
    examples = minisift.read(path, **options)
    if told := examples.summary():
        print(f"{path}: {told}" if examples.counts else told, file=sys.stderr)
    return examples


def _given(given: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The flags of these names that were given, by name."""
    return {name: getattr(given, name) for name in names if hasattr(given, name)}


def _load(path: str, **options: Any) -> Any:
    options = {name: value for name, value in options.items() if value is not None}
    if Path(path).is_dir():
        if options:
            flags = ", ".join(f"--{name}" for name in options)
            raise ValueError(f"{path}: a folder, {flags} is for GGUF files; fix: leave it out")
        print(f"loading {path}", file=sys.stderr)  # takes seconds
    return minisift.load(path, **options)


def _training(given: argparse.Namespace) -> dict[str, Any]:
    """The arguments that `fit` and `plan` share."""
    return {
        "model": given.model,
        "train_set": _read(given, given.train, [given.dev] if given.dev else ()),
        "dev_set": _read(given, given.dev, [given.train]) if given.dev else None,
        "output_dir": given.output_dir,
        "names": given.names,
        "descriptions": given.descriptions,
        "instruction": True if given.instruction == "standard" else given.instruction,
        "resume": given.resume,
        **_given(given, [field.name for field in dataclasses.fields(Settings)]),
    }


def _fit(given: argparse.Namespace) -> None:
    labeler = minisift.fit(**_training(given))
    made = labeler.description.made
    if given.json:
        print(json.dumps({"output_dir": given.output_dir, **made}, ensure_ascii=False))
        return
    print(f"{given.output_dir}: {', '.join(labeler.labels)}")
    print(
        f"{made['sentences']} sentences, {made['prompts']} prompts, "
        f"{made['training']['seconds']:.0f} s, loss {made['training']['loss']:.3f}"
    )
    if "scores" in made:
        print(Report.from_dict(made["scores"]["dev"]))
    if made["training"].get("stopped") == "interrupted":
        raise KeyboardInterrupt


def _plan(given: argparse.Namespace) -> None:
    planned = minisift.plan(**_training(given), device=given.device, memory=given.memory)
    print(json.dumps(planned.to_dict(), ensure_ascii=False) if given.json else planned)


def _inputs(given: argparse.Namespace) -> Iterator[Input]:
    """The texts to label. What is wrong with a file, or its first record, is told at once."""
    options = _given(given, ("input", "input_format", "text_field", "encoding"))
    if given.text:
        if options:
            flags = ", ".join("--" + name.replace("_", "-") for name in options)
            raise ValueError(f"texts and {flags}; fix: give the texts, or a file of them")
        return (Input(text, {"text": text}) for text in given.text)
    path, format = options.pop("input", "-"), options.pop("input_format", None)
    found = read_inputs(path, format=format, **options)
    return found if path == "-" else itertools.chain(list(itertools.islice(found, 1)), found)


@contextlib.contextmanager
def _output(path: str) -> Iterator[TextIO]:
    """A file that appears whole, or a pipe or device. Raises OSError at once if it cannot be written."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path}: a folder; fix: give a file as --output")
    is_special = Path(path).exists() and not Path(path).is_file()
    with contextlib.ExitStack() as stack:
        try:
            place = Path(path) if is_special else stack.enter_context(whole(path))
            file = place.open("w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OSError(
                f"{path}: cannot be written ({error.strerror}); fix: give another --output"
            ) from None
        yield stack.enter_context(file)


def _predict(given: argparse.Namespace) -> None:
    items = _inputs(given)
    to_stdout = given.output == "-"
    readable = not given.json and to_stdout and (bool(given.text) or sys.stdout.isatty())
    with contextlib.ExitStack() as stack:
        output = sys.stdout if to_stdout else stack.enter_context(_output(given.output))
        labeler = _load(given.labeler, threads=given.threads, sequences=given.sequences)
        started = time.monotonic()
        items, shown = itertools.tee(items)
        texts = (item.text for item in items)
        labelled = labeler.stream(texts, threshold=given.threshold, on_long=given.on_long)
        count = replaced = 0
        for item, spans in zip(shown, labelled, strict=False):
            print((_readable if readable else _record)(item, spans), file=output, flush=True)
            count += 1
            replaced += "spans" in item.record
    print(f"{count} texts in {time.monotonic() - started:.1f} s", file=sys.stderr)
    if replaced:
        print(f"{replaced} records had spans, which are replaced", file=sys.stderr)
    for what, number in labeler.counts.items():
        print(f"{number} {what}", file=sys.stderr)


def _readable(item: Input, spans: Sequence[Span]) -> str:
    rows = [
        f"  {f'{span.start}-{span.end}':>9}  {span.label:12}  {span.score:.2f}  {span.text}"
        for span in spans
    ]
    return "\n".join([item.text if isinstance(item.text, str) else item.text.text, *rows])


def _record(item: Input, spans: Sequence[Span]) -> str:
    # a Parquet file may hold dates and the like, which become strings
    return json.dumps(item.labelled(spans), ensure_ascii=False, default=str)


def _evaluate(given: argparse.Namespace) -> None:
    examples = _read(given, given.data)
    report = _load(given.labeler).evaluate(examples)
    if given.json:
        content = report.to_dict()
        if given.errors:
            content["errors"] = report.errors().to_dict()
        print(json.dumps(content, ensure_ascii=False))
        return
    print(report)
    if given.errors:
        print(f"\n{report.errors()}")


def _export(given: argparse.Namespace) -> None:
    shared = ("run", "labeler", "path", "json")
    options = {name: value for name, value in vars(given).items() if name not in shared}
    report = _load(given.labeler).export(given.path, **options)
    if given.json:
        print(json.dumps(report, ensure_ascii=False))
        return
    print(f"{report['path']}: {report['bytes'] / 1e6:.0f} MB")
    if "tried" not in report:
        return
    print(
        f"logits before quantization: {report['logit_difference']} apart at most, of "
        f"{report['largest_logit']}; tensors moved by {100 * report['weight_error']:.1f}% at most\n"
        f"{report['texts']} texts, F1 of the adapter "
        f"{report['reference']:.1f}\nquantization    MB     F1  lost  same spans  texts/s"
    )
    for row in report["tried"]:
        print(
            f"{row['quantization']:12}  {row['bytes'] / 1e6:4.0f}  {row['f1']:5.1f}  "
            f"{row['lost']:4.1f}  {row['same_spans']:10}  {row['rate']:7.1f}"
        )


if __name__ == "__main__":
    sys.exit(main())
