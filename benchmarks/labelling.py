"""How fast a labeler labels, beside llama.cpp with a grammar, on the same file and the same texts.

    python benchmarks/labelling.py LABELER FILE            # folder of fit, labelled or plain texts
    python benchmarks/labelling.py LABELER FILE --sentences 400 --quantization q8_0

Each system runs in a process of its own, after a warm-up that reads the demonstrations:

    naive     llama-cpp-python's create_completion with each text's GBNF grammar
    single    minisift, one text at a time
    batched   minisift, all texts
    torch     minisift through transformers
    server    llama-cpp-python's server, 4 requests at once, if `llama-cpp-python[server]` is there

The limit is the rate at which llama.cpp itself reads tokens in full batches: "of limit" counts the
tokens of texts and answers against it, in brackets against the rate behind the demonstrations. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import minisift
from minisift.decoding.gbnf import gbnf
from minisift.exceptions import ResponseError
from minisift.prompting.response import parse, target_of

SYSTEMS = ("naive", "single", "batched", "torch", "server")
_SERVER = (
    "import runpy; from minisift.engines.llamacpp.model import start; start();"
    "runpy.run_module('llama_cpp.server', run_name='__main__')"
)
"""llama-cpp-python's server; `start` keeps llama.cpp from what would end its process."""
_LONGEST = 400
"""Tokens of an answer, at most, for the systems that need to be told."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labeler", type=Path, help="folder made by fit")
    parser.add_argument("texts", type=Path, help="labelled file; its spans are not looked at")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--quantization", default="q4_0")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--only", choices=[*SYSTEMS, "limit"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measure(given.only, given.labeler, texts_of(given))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        gguf = Path(scratch) / "labeler.gguf"
        minisift.load(given.labeler).export(gguf, quantization=given.quantization, verify_on=[])
        found = {}
        for system in dict.fromkeys(("limit", "batched", *given.systems)):
            print(f"running {system}", file=sys.stderr, flush=True)
            path = given.labeler if system == "torch" else gguf
            command = [sys.executable, __file__, str(path), str(given.texts), "--only", system]
            command += ["--sentences", str(given.sentences)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode == 0:
                found[system] = json.loads(done.stdout.splitlines()[-1])
            elif system in ("limit", "naive", "batched"):
                raise SystemExit(f"{system} failed, which the others are compared with")
    report(found)


def texts_of(given: argparse.Namespace) -> list[minisift.Example]:
    """Texts spread over the file, none longer than a labeler would read in one piece."""
    examples = minisift.read(given.texts)
    return list(examples[:: max(1, len(examples) // given.sentences)])[: given.sentences]


def measure(system: str, path: Path, examples: list[minisift.Example]) -> dict[str, Any]:
    """Seconds in all, seconds a text where texts come one by one, spans, peak memory."""
    if system == "limit":
        return limit(path)
    label, times = {
        "naive": naive,
        "single": single,
        "batched": batched,
        "torch": batched,
        "server": server,
    }[system](path)
    label(examples[:1])
    times.clear()
    started = time.perf_counter()
    spans = label(examples)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "median_ms": 1000 * statistics.median(times) if times else None,
        "spans": [[(s.start, s.end, s.label) for s in found] for found in spans],
        "tokens": sum(tokens(minisift.load(path), examples, spans)) if system == "batched" else 0,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """The most memory that this process held. Linux's getrusage counts the parent's as well."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def tokens(labeler: Any, examples: list[minisift.Example], spans: Any) -> list[int]:
    """Tokens of each text and its answer, all of which the model has to read but the last."""
    renderer = labeler.renderer
    answered = [
        minisift.Example(e.text, tuple(s), e.words) for e, s in zip(examples, spans, strict=True)
    ]
    rendered = map(renderer.render, answered)
    return [len(example.text) + len(example.response) - 1 for example in rendered]


def limit(path: Path) -> dict[str, Any]:
    """llama.cpp's own rate of reading tokens, in batches of 512: from none on, and behind the
    demonstrations, to which each token of a text has to attend."""
    import llama_cpp as llama

    from minisift.engines.llamacpp.model import start

    start()  # llama.cpp without what would end this process
    started = time.perf_counter()
    model = llama.Llama(str(path), n_ctx=4096, n_batch=512, n_ubatch=512, verbose=False)
    load = time.perf_counter() - started
    ids = model.tokenize(b"The quick brown fox met Ann in Oslo. " * 60)[:512]

    def rate(before: list[int]) -> float:
        rates = []
        for _ in range(6):
            model.reset()
            if before:
                model.eval(before)
            started = time.perf_counter()
            model.eval(ids)
            rates.append(len(ids) / (time.perf_counter() - started))
        return statistics.median(rates[1:])

    prefix = list(minisift.load(path).prefix)
    return {"prefill": rate([]), "prefill_behind_demonstrations": rate(prefix), "load": load}


def naive(path: Path) -> Any:
    import llama_cpp as llama

    labeler = minisift.load(path)
    model = llama.Llama(str(path), n_ctx=4096, n_batch=512, n_threads=os.cpu_count(), verbose=False)
    times: list[float] = []

    def label(examples: list[minisift.Example]) -> list[Any]:
        found = []
        for example in examples:
            started = time.perf_counter()
            grammar = gbnf(target_of(example), labeler.description.task.names)
            answer = model.create_completion(
                [*labeler.prefix, *labeler.renderer.text(target_of(example))],
                grammar=llama.LlamaGrammar.from_string(grammar, verbose=False),
                temperature=0,
                max_tokens=_LONGEST,
            )
            found.append(parsed(answer["choices"][0]["text"], example, labeler))
            times.append(time.perf_counter() - started)
        return found

    return label, times


def parsed(answer: str, example: minisift.Example, labeler: Any) -> list[minisift.Span]:
    try:
        return parse(answer, target_of(example), labeler.description.task.labels_by_name)
    except ResponseError as error:
        print(error, file=sys.stderr)
        return []


def single(path: Path) -> Any:
    labeler = minisift.load(path)
    times: list[float] = []

    def label(examples: list[minisift.Example]) -> list[Any]:
        found = []
        for example in examples:
            started = time.perf_counter()
            found.append(labeler.predict(example, on_long="error"))
            times.append(time.perf_counter() - started)
        return found

    return label, times


def batched(path: Path) -> Any:
    labeler = minisift.load(path)
    return lambda examples: labeler.predict(examples, on_long="error"), []


def server(path: Path) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _SERVER, "--model", str(path), "--n_ctx", "4096"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--n_threads", str(os.cpu_count())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    labeler = minisift.load(path)
    url = f"http://127.0.0.1:{port}/v1"
    while True:
        if process.poll() is not None:
            raise SystemExit(
                "the server did not start; fix: pip install 'llama-cpp-python[server]'"
            )
        try:
            urllib.request.urlopen(f"{url}/models").close()
            break
        except OSError:
            time.sleep(0.2)

    def one(example: minisift.Example) -> list[minisift.Span]:
        ids = [*labeler.prefix, *labeler.renderer.text(target_of(example))]
        body = {
            "prompt": labeler.engine.tokenizer.decode(ids).decode(),
            "grammar": gbnf(target_of(example), labeler.description.task.names),
            "temperature": 0,
            "max_tokens": _LONGEST,
        }
        request = urllib.request.Request(
            f"{url}/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return parsed(json.load(answer)["choices"][0]["text"], example, labeler)

    def label(examples: list[minisift.Example]) -> list[Any]:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(one, examples))
        if len(examples) > 1:
            process.terminate()
        return found

    return label, []


def report(found: dict[str, Any]) -> None:
    prefill = found["limit"]["prefill"]
    behind = found["limit"]["prefill_behind_demonstrations"]
    count = len(found["batched"]["spans"])
    read = found["batched"]["tokens"]
    print(f"{count} texts, {read} tokens with answers; llama.cpp reads {prefill:.0f} tokens/s")
    print(f"({behind:.0f} behind the demonstrations)")
    print(
        "system   sentences/s  tokens/s  of naive     of limit  median ms  peak MB  same as batched"
    )
    naive = found["naive"]["seconds"] if "naive" in found else None
    rows = {}
    for system, row in found.items():
        if system == "limit":
            continue
        same = sum(a == b for a, b in zip(row["spans"], found["batched"]["spans"], strict=True))
        rate = count / row["seconds"]
        rows[system] = {
            "sentences_per_second": round(rate, 2),
            "of_naive": naive and round(rate * naive / count, 2),
            "of_limit": round(read / prefill / row["seconds"], 3),
            "of_limit_behind_demonstrations": round(read / behind / row["seconds"], 3),
            "median_ms": row["median_ms"] and round(row["median_ms"], 1),
            "peak_mb": round(row["peak_mb"]),
            "same": same,
        }
        shown = rows[system]
        print(
            f"{system:8} {rate:11.1f} {read / row['seconds']:9.0f} {shown['of_naive'] or '':9} "
            f"{shown['of_limit']:5.2f} ({shown['of_limit_behind_demonstrations']:.2f}) {shown['median_ms'] or '':>10} {shown['peak_mb']:8} "
            f"{same:8} of {count}"
        )
    print(json.dumps({"texts": count, "tokens": read, **found["limit"], **rows}))


if __name__ == "__main__":
    main()
