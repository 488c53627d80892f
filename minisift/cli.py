"""The command line: `minisift fit | plan | predict | evaluate | export`, the words of the functions."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import logging
import sys
import time
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import minisift
from minisift.data import OnError, OnMisaligned, Span
from minisift.evaluation import Report
from minisift.files import whole
from minisift.labeler import FORMATS, OnLong
from minisift.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors are one line on stderr, status 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("minisift").setLevel(logging.INFO)
    try:
        given.run(given)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError) as error:
        print(f"minisift: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minisift", description="Label spans in text with a small language model."
    )
    parser.add_argument("--version", action="version", version=minisift.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train a labeler on labelled sentences")
    fit.set_defaults(run=_fit)
    fit.add_argument("model", help="bundled name, hub id, folder or .gguf file")
    fit.add_argument("train", help="labelled file: columns, .jsonl, .json or .spacy")
    fit.add_argument(
        "--dev",
        help="labelled file to choose the adapter, calibrate and score by; without it a tenth is held out",
    )
    fit.add_argument("--output-dir", required=True, help="where to write the adapter folder")
    fit.add_argument("--names", type=json.loads, help='display names, as in {"PER": "person"}')
    fit.add_argument("--descriptions", type=json.loads, help="what labels mean, as JSON")
    fit.add_argument("--instruction", help="instruction text; 'standard' for the built-in one")
    fit.add_argument("--resume", action="store_true", help="continue a training that was killed")
    _add_settings(fit)
    _add_reading(fit)

    plan = commands.add_parser("plan", help="estimate the memory that fit would take")
    plan.set_defaults(run=_plan)
    plan.add_argument("model", help="bundled name, hub id, folder or .gguf file")
    plan.add_argument("train", help="labelled file: columns, .jsonl, .json or .spacy")
    plan.add_argument("--device", choices=("cuda", "mps", "cpu"), help="this machine's by default")
    plan.add_argument("--memory", type=float, help="gigabytes there are; by default as found here")
    _add_settings(plan)
    _add_reading(plan)

    predict = commands.add_parser("predict", help="label text")
    predict.set_defaults(run=_predict)
    predict.add_argument("labeler", help="GGUF file or adapter folder")
    predict.add_argument("text", nargs="*", help="texts; without any, --input is read")
    predict.add_argument("--input", default="-", help="file to label; - is stdin")
    predict.add_argument(
        "--input-format",
        choices=("lines", "jsonl"),
        help="a text a line, or a JSON object a line with a 'text'; by the file's ending if not given",
    )
    predict.add_argument("--output", default="-", help="JSONL file to write; - is stdout")
    predict.add_argument(
        "--threshold",
        type=json.loads,
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
    evaluate.add_argument("data", help="labelled file: columns, .jsonl, .json or .spacy")
    evaluate.add_argument(
        "--errors", action="store_true", help="tell what went wrong: kinds, examples, confusion"
    )
    _add_reading(evaluate)

    export = _add_export(commands)

    for command in (fit, predict, evaluate, export):
        command.add_argument(
            "--json", action="store_true", default=False, help="print JSON for machines"
        )
    return parser


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
    """A flag for each field of Settings, with its default and documentation."""
    types_ = typing.get_type_hints(Settings)
    group = parser.add_argument_group("settings")
    for field in dataclasses.fields(Settings):
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            type=_converter(types_[field.name]),
            default=argparse.SUPPRESS,
            metavar=field.name.upper(),
            help=f"default: {field.default}",
        )


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


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    group.add_argument("--format", help="conll, jsonl or docbin; by the file's ending if not given")
    group.add_argument("--tag-column", help="number or name of the tag column; the last by default")
    group.add_argument("--scheme", help="iob1, iob2, iobes or bilou; recognised if not given")
    group.add_argument("--on-error", choices=typing.get_args(OnError), default="error")
    group.add_argument("--on-misaligned", choices=typing.get_args(OnMisaligned), default="error")


def _read(given: argparse.Namespace, path: str) -> Any:
    column = given.tag_column
    if column is not None and column.lstrip("-").isdigit():
        column = int(column)
    examples = minisift.read(
        path,
        format=given.format,
        tag_column=column,
        scheme=given.scheme,
        on_error=given.on_error,
        on_misaligned=given.on_misaligned,
    )
    if examples.counts:
        counted = ", ".join(f"{count} {what}" for what, count in examples.counts.items())
        print(f"{path}: {counted} (first: {examples.notes[0]})", file=sys.stderr)
    return examples


def _load(path: str, **options: Any) -> Any:
    print(f"loading {path}", file=sys.stderr)
    return minisift.load(path, **{k: v for k, v in options.items() if v is not None})


def _fit(given: argparse.Namespace) -> None:
    train, dev = _read(given, given.train), given.dev and _read(given, given.dev)
    labeler = minisift.fit(
        given.model,
        train,
        dev_set=dev,
        output_dir=given.output_dir,
        names=given.names,
        descriptions=given.descriptions,
        instruction=True if given.instruction == "standard" else given.instruction,
        resume=given.resume,
        **_settings(given),
    )
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
    planned = minisift.plan(
        given.model,
        _read(given, given.train),
        device=given.device,
        memory=given.memory,
        **_settings(given),
    )
    if given.json:
        print(json.dumps({**dataclasses.asdict(planned), "total": planned.total}))
    else:
        print(planned)


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(Settings)]
    return {name: getattr(given, name) for name in names if hasattr(given, name)}


def _texts(given: argparse.Namespace) -> Iterator[str]:
    if given.text:
        yield from given.text
        return
    kind = given.input_format or ("jsonl" if given.input.endswith(".jsonl") else "lines")
    from_stdin = given.input == "-"
    with sys.stdin if from_stdin else Path(given.input).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if kind == "lines":
                yield line.rstrip("\r\n")
            elif line.strip():
                yield _text_of(line, f"{given.input}:{number}")


def _text_of(line: str, place: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place}: not a JSON object with a 'text' ({error!r}); fix: correct the line, or use "
            "--input-format lines"
        ) from None
    if not isinstance(text, str):
        raise ValueError(f"{place}: 'text' is {type(text).__name__}; fix: make it a string")
    return text


def _predict(given: argparse.Namespace) -> None:
    labeler = _load(given.labeler, threads=given.threads, sequences=given.sequences)
    started = time.monotonic()
    to_stdout = given.output == "-"
    readable = not given.json and to_stdout and (bool(given.text) or sys.stdout.isatty())
    with contextlib.ExitStack() as stack:
        output = sys.stdout
        if not to_stdout:
            draft = stack.enter_context(whole(given.output))
            output = stack.enter_context(draft.open("w", encoding="utf-8"))
        texts, shown = itertools.tee(_texts(given))
        shape = _readable if readable else _record
        count = 0
        labelled = labeler.stream(texts, threshold=given.threshold, on_long=given.on_long)
        for text, spans in zip(shown, labelled, strict=False):
            print(shape(text, spans), file=output, flush=True)
            count += 1
    print(f"{count} texts in {time.monotonic() - started:.1f} s", file=sys.stderr)
    for what, number in labeler.counts.items():
        print(f"{number} {what}", file=sys.stderr)


def _readable(text: str, spans: Sequence[Span]) -> str:
    rows = [
        f"  {f'{span.start}-{span.end}':>9}  {span.label:12}  {span.score:.2f}  {span.text}"
        for span in spans
    ]
    return "\n".join([text, *rows])


def _record(text: str, spans: Sequence[Span]) -> str:
    return json.dumps(
        {"text": text, "spans": [dataclasses.asdict(span) for span in spans]}, ensure_ascii=False
    )


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
