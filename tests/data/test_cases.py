"""Small files in the shapes that tools and corpora write: each read rightly, or refused by name.

They lie beside the checkout, with what is expected of each in expected.jsonl.
"""

import json
import subprocess
import sys

import pytest
from support.places import CASES, need_shared

import minisift

need_shared(CASES, allow_module_level=True)
pytestmark = pytest.mark.data
EXPECTED = [
    json.loads(line) for line in (CASES / "expected.jsonl").read_text(encoding="utf-8").splitlines()
]


def of(*wanted):
    chosen = [case for case in EXPECTED if case["want"] in wanted]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case["file"])


def told(found, case):
    """Texts and spans as the case compares them."""
    texts = [[e.text.strip() if case.get("strip") else e.text, e.spans] for e in found]
    rows = [[text, [[s.start, s.end, s.label] for s in spans]] for text, spans in texts]
    return json.dumps(rows).lower() if case.get("any_case") else json.dumps(rows)


def test_every_wish_is_known():
    known = {"spans", "error", "any", "plan-names", "predict", "predict-error"}
    assert {case["want"] for case in EXPECTED} <= known


@of("spans")
def test_spans(case):
    found = minisift.read(CASES / case["file"], **case.get("options", {}))
    wanted = json.dumps(case["examples"])
    assert told(found, case) == (wanted.lower() if case.get("any_case") else wanted)
    assert bool(found.counts) >= case.get("counts", False)


@of("error")
def test_errors(case):
    with pytest.raises(minisift.DataError) as error:
        minisift.read(CASES / case["file"], **case.get("options", {}))
    for part in (case["file"], "fix: ", *case["mentions"]):
        assert part in str(error.value)


@of("any")
def test_read_or_refused(case):
    try:
        found = minisift.read(CASES / case["file"], **case.get("options", {}))
    except minisift.DataError as refused:
        told = str(refused)
    else:
        assert not {span.label for example in found for span in example.spans} & {"O", ""}
        told = "fix: " * bool(found.counts or any(example.spans for example in found))
    assert "fix: " in told


def run(*arguments):
    command = [sys.executable, "-m", "minisift.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@of("plan-names")
def test_plan_takes_names(case):
    pytest.importorskip("torch")
    file = CASES / case["file"]
    with pytest.raises(ValueError, match="names=") as error:
        minisift.plan("smollm2-135m", str(file))
    label = next(s.label for e in minisift.read(file) for s in e.spans if ": " in s.label)
    assert label in str(error.value)
    assert minisift.plan("smollm2-135m", str(file), names={label: "some name"}).total > 0
    done = run("plan", "smollm2-135m", file, "--names", json.dumps({label: "x"}), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"] > 0


@of("predict")
def test_predict(case, small_file, tmp_path):
    out = tmp_path / "out.jsonl"
    done = run("predict", small_file, "--input", CASES / case["file"], "--output", out)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [record["text"] for record in records] == case["texts"]
    assert [record.get("id") for record in records] == case.get("ids", [None] * len(records))
    assert all("spans" in record for record in records)


@of("predict-error")
def test_predict_refuses(case, small_file, tmp_path):
    out = tmp_path / "out.jsonl"
    done = run("predict", small_file, "--input", CASES / case["file"], "--output", out)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert all(part in done.stderr.splitlines()[-1] for part in case["mentions"])
    assert not out.exists()
