"""Each recipe end to end in its smallest setting; the data formats that they read; the report."""

import json
import random
import runpy
import signal
import subprocess
import sys
import time

import pytest
from support.places import ROOT

import minisift
from minisift import Example
from minisift.fitting.start import digest_of
from minisift.models.warm import ABOUT

pytest.importorskip("torch")

RECIPES = ROOT / "recipes"
SMALL = "--sentences 40 --dev-sentences 4 --test-sentences 5 --shots 2 --max-prompts 2"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)


def run(name, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    return runpy.run_path(str(RECIPES / name), run_name="__main__")


@pytest.mark.parametrize(
    ("recipe", "data", "label"),
    [
        ("ner_conll2003.py", "ner-conll2003", "LOC"),
        pytest.param("absa_restaurants.py", "absa-rest14", "positive", marks=pytest.mark.slow),
        pytest.param("chunking_conll2000.py", "chunking-conll2000", "NP", marks=pytest.mark.slow),
        pytest.param("triggers_ace2005.py", "triggers-casie", "Databreach", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("size", ["small", pytest.param("bundled", marks=pytest.mark.slow)])
def test_a_recipe(
    recipe, data, label, size, small_base, shared_data, tmp_path, monkeypatch, capsys
):
    options = [*SMALL.split(), "--quantization", "f16", "--output", tmp_path / "made"]
    options += ["--model", small_base] if size == "small" else []
    # seed 0 draws a near tie of 0.004 logits among chunks, which an export may round the other way
    options += ["--seed", 1] if label == "NP" else []
    run(recipe, ["--data", shared_data / data, *options], monkeypatch)
    printed = capsys.readouterr().out
    assert "made.gguf on 5 test sentences" in printed
    assert label in printed
    assert "spurious" in printed
    assert (tmp_path / "made" / "labeler.json").is_file()
    assert (tmp_path / "made.gguf").is_file()


def test_your_own(small_base, tmp_path, monkeypatch, capsys):
    record = {"text": "Ann took 5 mg.", "label": [[0, 3, "PERSON"], [10, 13, "DOSE"]]}
    lines = [json.dumps({**record, "text": f"{record['text']} {n}"}) for n in range(20)]
    (tmp_path / "export.jsonl").write_text("\n".join([*lines, "{"]))
    options = ["--names", "DOSE=amount", "--max-prompts", 2, "--output", tmp_path / "made"]
    options += ["--model", small_base]
    run("your_own.py", [tmp_path / "export.jsonl", *options], monkeypatch)
    printed = capsys.readouterr().out
    assert "export.jsonl:21" in printed
    names = json.loads((tmp_path / "made" / "labeler.json").read_text())["names"]
    assert names == {"DOSE": "amount", "PERSON": "person"}


def test_semevals_xml(tmp_path):
    import absa_restaurants

    sentence = (
        '<sentence id="{n}"><text>Great sushi-bar, slow service {n}.</text><aspectTerms>'
        '<aspectTerm term="sushi" polarity="positive" from="6" to="11"/>'
        '<aspectTerm term="service" polarity="negative" from="22" to="29"/>'
        '</aspectTerms></sentence><sentence id="x"><text>We came at {n}.</text></sentence>'
    )
    body = "".join(sentence.format(n=n) for n in range(10))
    for name in ("Restaurants_Train_v2.xml", "Restaurants_Test_NoLabels.xml"):
        (tmp_path / name).write_text(f"<sentences>{body}</sentences>")
    (tmp_path / "Restaurants_Test_Gold.xml").write_text(
        f"<sentences>{sentence.format(n=99)}</sentences>"
    )
    train, dev, test = absa_restaurants.read(tmp_path)
    assert (len(train), len(dev), len(test)) == (18, 2, 2)
    assert [(s.text, s.label) for s in test[0].spans] == [
        ("sushi", "positive"),
        ("service", "negative"),
    ]
    assert not {e.text for e in train} & {e.text for e in dev}


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_preprocessed_ace(form, tmp_path):
    import triggers_ace2005

    words = ["He", "died", "after", "the", "bombing", "."]
    events = [
        {"event_type": "Life:Die", "trigger": {"text": "died", "start": 1, "end": 2}},
        {"event_type": "Conflict:Attack", "trigger": {"text": "bombing", "start": 4, "end": 5}},
        {"event_type": "Life:Die", "trigger": {"text": "bombing", "start": 4, "end": 5}},
    ]
    record = {
        "json": {"words": words, "golden-event-mentions": events},
        "jsonl": {"tokens": words, "event_mentions": events},
    }[form]
    for part in ("train", "dev", "test"):
        content = json.dumps([record] * 2) if form == "json" else f"{json.dumps(record)}\n" * 2
        (tmp_path / f"{part}.{form}").write_text(content)
    train, _, _ = triggers_ace2005.read(tmp_path)
    wanted = Example.from_words(words, [(1, 2, "Life:Die"), (4, 5, "Conflict:Attack")])
    assert train == [wanted] * 2
    assert len(triggers_ace2005.ACE) == 33
    assert len(set(triggers_ace2005.NAMES.values())) == len(triggers_ace2005.NAMES)


def test_a_missing_file_is_named(tmp_path):
    import absa_restaurants
    import triggers_ace2005

    (tmp_path / "Restaurants_Train.xml").write_text("<sentences/>")
    with pytest.raises(FileNotFoundError, match="est"):
        absa_restaurants.read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"train\.json"):
        triggers_ace2005.read(tmp_path)


def test_experiments_continue(small_base, shared_data, tmp_path):
    rows = tmp_path / "rows.jsonl"
    some = "--experiments decoding --tasks ner --systems icl --seeds 0"
    sizes = "--sentences 30 --test 4 --prompts 2"
    command = [sys.executable, RECIPES / "experiments.py", shared_data, "--rows", rows]
    command += ["--instruct", small_base, "--base", small_base]
    command += [*some.split(), *sizes.split()]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "1 of 1" in first.stdout
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    old = [{name: value for name, value in row.items() if name != "warm"} for row in found]
    rows.write_text("".join(json.dumps(row) + "\n" for row in old))
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert " of " not in again.stdout
    assert [row["constrained"] for row in found] == [True, False]
    assert all(len(row["sentences"]) == 4 and row["peak_gb"] > 0 for row in found)
    assert all(row["device"] and row["engine"] == "llama.cpp" for row in found)
    assert all(row["quantize"] in ("nf4", None) for row in found)
    assert all(not any(row["errors"]["examples"].values()) for row in found)
    assert found[1]["counts"]["answers"] == 4


def synthetic(path):
    """Rows as a whole study has them: MRC always right, all others right on every other sentence."""
    import study

    rows = {}
    for experiment in study.EXPERIMENTS.values():
        for task in ("ner", "absa"):
            for run in experiment(task):
                for seed in (0, 1):
                    right = run.system == "mrc"
                    counts = [[2, 2, 2 if right or n % 2 else 0] for n in range(40)]
                    f1 = sum(c for *_, c in counts) / 80
                    key = {**vars(run), "seed": seed}
                    rows[tuple(key.values())] = {
                        **key, "name": "m", "train": 9, "prompts": 3, "test": 40, "f1": f1,
                        "precision": f1, "recall": f1, "label_seconds": 1, "train_seconds": 2,
                        "peak_gb": 1, "versions": {"torch": "1"}, "sentences": counts,
                        "counts": {"answers": 40, "invalid answers": 3},
                        **({"device": "a card"} if run.system == "mrc" else {}),
                        "errors": {
                            "counts": {"type": 1, "missed": 0},
                            "confusion": [["gold \\ found", "A<b>", "-"], ["A<b>", "5", "1"]],
                        },
                    }  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))


def test_the_report(tmp_path, monkeypatch, capsys):
    synthetic(tmp_path / "rows.jsonl")
    run("report.py", [tmp_path / "rows.jsonl", "--output", tmp_path / "out"], monkeypatch)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {f"{n}.{end}" for n in ("baselines", "shots", "instructions", "length") for end in ("png", "svg")}  # fmt: skip
    assert made == {*pictures, "report.html"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page.replace("http-equiv", "")
    assert "A&lt;b&gt;" in page
    assert "<td>MRC is better than SRC</td><td>yes: +0.500 (p 0.001)</td>" in page
    assert "0.500 ± 0.000 *" in page
    assert "not told (" in page
    assert ", a card (" in page
    assert "even: +0.000 (p 1.000)" in page  # of systems that are alike


def test_places_are_compared_under_the_seeds_that_all_have(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    import pictures

    def rows(**scores):
        return [{"seed": int(seed[1:]), "f1": f1} for seed, f1 in scores.items()]

    found = pictures.comparable([(0, rows(s0=0.5, s1=0.9)), (1, []), (2, rows(s0=0.6))])
    assert found == [(0, 0.5, 0.0), (2, 0.6, 0.0)]
    apart = pictures.comparable([(0, rows(s1=0.9)), (2, rows(s0=0.6))])
    assert apart == [(0, 0.9, 0.0), (2, 0.6, 0.0)]
    assert pictures.comparable([]) == []


def test_bootstrap():
    import report

    def rows(*correct):
        return [{"seed": 0, "sentences": [[1, 1, c] for c in correct * 30]}]

    assert report.bootstrap(rows(1, 0), rows(1, 0)) == (0.0, 1.0)
    difference, chance = report.bootstrap(rows(1, 1, 1, 0), rows(0, 1, 0, 0))
    assert difference == pytest.approx(0.5)
    assert chance < 0.01
    difference, chance = report.bootstrap(rows(1, 0, 0), rows(0, 1, 0))
    assert difference == pytest.approx(0.0)
    assert chance > 0.5


def test_no_rows(tmp_path):
    import report

    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(ValueError, match="run experiments"):
        report.load(tmp_path / "rows.jsonl")


def test_tasks_are_made_of_every_kind(shared_data):
    from many_tasks import FEWEST, HELD_OUT, MOST, Corpora

    corpora = Corpora(shared_data / "many-tasks")
    assert not set(HELD_OUT) & set(corpora.sets)
    labels = set()
    for seed in range(60):
        episode = corpora.episode(random.Random(seed))
        full = [example for example in episode.examples if example.spans]
        assert FEWEST <= len(full) <= len(episode.examples) <= MOST
        assert {span.label for example in full for span in example.spans} == set(episode.names)
        assert len(set(episode.names.values())) == len(episode.names)
        labels |= set(episode.names)
        again = corpora.episode(random.Random(seed))
        assert again.examples == episode.examples
        assert again.names == episode.names
    assert len(labels) > 60


@pytest.mark.slow
def test_a_pretraining_that_was_interrupted_continues_to_the_same_adapter(
    small_base, shared_data, train, tmp_path
):
    options = ["--model", small_base, "--prompts", 60, "--batch-size", 2]
    options += ["--checkpoint-seconds", 0, "--output"]
    command = [sys.executable, RECIPES / "pretrain.py", shared_data / "many-tasks", *options]
    paths = [tmp_path / "whole", tmp_path / "halted"]
    whole, halted = ([*map(str, command), str(path)] for path in paths)
    subprocess.run(whole, check=True, capture_output=True)
    with subprocess.Popen(halted, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "halted.checkpoint").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert "the same command continues" in process.stderr.read()
    assert process.returncode == 1
    assert not paths[1].exists()
    done = subprocess.run(halted, check=True, capture_output=True, text=True)
    assert "Continuing at step" in done.stdout
    weights = [(path / "adapter_model.safetensors").read_bytes() for path in paths]
    assert weights[0] == weights[1]
    assert not list(tmp_path.glob("*.checkpoint"))
    onward = tmp_path / "onward"
    further = [*map(str, command), str(onward), "--start", str(paths[0]), "--seed", "1"]
    subprocess.run(further, check=True, capture_output=True)
    about = json.loads((onward / ABOUT).read_text())
    assert about["start"] == digest_of(paths[0])
    assert about["settings"]["learning_rate"] < 1e-3  # that of an adapter that has learned
    assert (onward / "adapter_model.safetensors").read_bytes() not in weights
    labeler = minisift.prompt(small_base, train, start=onward)
    assert labeler.description.made["start"] is not None
    assert len(labeler.demonstrations) > 8
