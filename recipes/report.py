"""Pictures and one HTML report from the rows of experiments.py.

    python recipes/report.py recipes/results/rows.jsonl --output recipes/results

Writes each picture as PNG and SVG, and report.html, which holds them all and needs nothing else.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pictures import PICTURES, SYSTEMS, TITLES, Rows, measured, seeds, summary, systems
from study import EXPERIMENTS, TASKS, run_of

from minisift.files import write_whole

CLAIMS = (
    ("MRC is better than SRC", "SIFT MRC", "SIFT SRC"),
    ("MRC is better than vanilla", "SIFT MRC", "SIFT vanilla"),
    ("SIFT is better than in-context learning", "SIFT MRC", "ICL"),
    ("SIFT is better than plain fine-tuning", "SIFT MRC", "SFT"),
    ("SIFT is better than the decoder as encoder", "SIFT MRC", "decoder as encoder, unmasked"),
    (
        "SIFT is better than that with half of its layers unmasked",
        "SIFT MRC",
        "decoder as encoder, half unmasked",
    ),
    ("SIFT can do without the instruction", "SIFT MRC", "SIFT MRC, instruction"),
    (
        "A decoder as encoder that reads each text twice is better than without its mask",
        "decoder as encoder, text twice",
        "decoder as encoder, unmasked",
    ),
    (
        "A decoder as encoder is better without its mask",
        "decoder as encoder, unmasked",
        "decoder as encoder, causal",
    ),
)
SETTINGS = {
    "train": "training sentences",
    "prompts": "training prompts",
    "test": "test sentences",
    "instruct": "instruct model",
    "base": "base model",
    "encoder": "encoder",
}
DRAWS = 2000
LIKELY = 0.05


def load(path: Path) -> tuple[Rows, dict[str, Any]]:
    """Rows of the sizes and models that most rows have, by their runs; and those sizes."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not rows:
        raise ValueError(f"{path}: no rows; fix: run experiments.py first")
    names = ("train", "prompts", "test")
    usual, _ = Counter(tuple(row[name] for name in names) for row in rows).most_common(1)[0]
    kept = [row for row in rows if tuple(row[name] for name in names) == usual]
    by_run = {run_of(row): row for row in kept}
    models = {row["model"]: row["name"] for row in kept}
    return by_run, {**dict(zip(names, usual, strict=True)), **models}


def f1(counts: np.ndarray) -> np.ndarray:
    """Micro F1 of [..., sentences, 3] counts of gold, predicted and correct spans."""
    gold, predicted, correct = np.moveaxis(counts.sum(-2), -1, 0)
    return 2 * correct / np.maximum(gold + predicted, 1)


def bootstrap(a: Sequence[dict[str, Any]], b: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Difference of mean F1 of two systems over their common seeds, and how likely chance gives it.

    Paired: test sentences are drawn with replacement, the same for both systems and all seeds.
    """
    common = sorted({row["seed"] for row in a} & {row["seed"] for row in b})
    first, second = (
        np.array([row["sentences"] for seed in common for row in rows if row["seed"] == seed])
        for rows in (a, b)
    )
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, first.shape[1], (DRAWS, first.shape[1]))
    difference = float((f1(first) - f1(second)).mean())
    moved = np.mean([f1(x[drawn]) - f1(y[drawn]) for x, y in zip(first, second, strict=True)], 0)
    tail = min((moved <= 0).mean(), (moved >= 0).mean())
    return difference, float(min(1, 2 * max(tail, 1 / DRAWS)))


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(head, 'th')}{''.join(row(cells, 'td') for cells in body)}</table>"


def table_of_systems(rows: Rows) -> str:
    """F1 of each system and task; a star where MRC differs beyond chance."""
    by_task = {task: found for task in TASKS if (found := systems(rows, task))}
    body = []
    for name in SYSTEMS:
        cells = [name]
        for found in by_task.values():
            if name not in found:
                cells.append("")
                continue
            mean, spread = summary(found[name])
            cell = f"{mean:.3f} ± {spread:.3f}" if len(found[name]) > 1 else f"{mean:.3f}"
            if name != "SIFT MRC" and "SIFT MRC" in found:
                cell += " *" * (bootstrap(found["SIFT MRC"], found[name])[1] < LIKELY)
            cells.append(cell)
        body.append(cells)
    return table(["system", *by_task], [cells for cells in body if any(cells[1:])])


def table_of_claims(rows: Rows) -> str:
    """What the paper found, and for each task what these rows say of it."""
    tasks = [task for task in TASKS if systems(rows, task)]
    body = []
    for claim, better, worse in CLAIMS:
        cells = [claim]
        for found in (systems(rows, task) for task in tasks):
            if better not in found or worse not in found:
                cells.append("")
                continue
            difference, chance = bootstrap(found[better], found[worse])
            says = "even" if chance >= LIKELY else "yes" if difference > 0 else "no"
            cells.append(f"{says}: {difference:+.3f} (p {chance:.3f})")
        body.append(cells)
    return table(["claim", *tasks], [cells for cells in body if any(cells[1:])])


def table_of_decoding(rows: Rows) -> str:
    """F1 with and without the grammar, and how many free answers are invalid."""
    body = []
    for task in TASKS:
        for run in EXPERIMENTS["decoding"](task):
            if run.constrained and (had := seeds(rows, run)):
                free = seeds(rows, replace(run, constrained=False))
                if not free:
                    continue
                counts = [row["counts"] for row in free]
                invalid = sum(c.get("invalid answers", 0) for c in counts)
                answers = sum(c["answers"] for c in counts)
                cells = [f"{summary(part)[0]:.3f}" for part in (had, free)]
                body.append([task, run.system, *cells, f"{invalid} of {answers}"])
    return table(["task", "system", "grammar", "free", "invalid free answers"], body)


def errors(rows: Rows) -> str:
    """Kinds of errors and the confusion of SIFT MRC under its first seed."""
    parts = []
    for task in TASKS:
        for row in systems(rows, task).get("SIFT MRC", [])[:1]:
            told = row["errors"]
            head, *body = told["confusion"]
            parts.append(f"<h3>{html.escape(TITLES[task])}, seed {row['seed']}</h3>")
            parts.append(table(list(told["counts"]), [[str(n) for n in told["counts"].values()]]))
            parts.append(table(head, body))
            shown = [
                (kind, text) for kind, texts in told.get("examples", {}).items() for text in texts
            ]
            if shown:
                parts.append(table(["kind", "example"], shown))
    return "".join(parts)


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
  color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums;
  display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap }
td:last-child { white-space: normal; min-width: 12rem }
img { max-width: 100% }
figure { margin: 1.5rem 0 }
figcaption { color: #555 }
"""


def counted(values: Iterable[str]) -> str:
    """Values and how many of each, most first."""
    return ", ".join(f"{value} ({count} runs)" for value, count in Counter(values).most_common())


def page(rows: Rows, sizes: dict[str, Any], pictures: dict[str, bytes]) -> str:
    ran = ("device", "engine")
    versions = {
        ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        for row in rows.values()
    }
    hours = sum({run.trained: row["train_seconds"] for run, row in rows.items()}.values())
    hours += sum(row["label_seconds"] for row in rows.values())
    facts = [
        *((SETTINGS[name], str(value)) for name, value in sizes.items()),
        ("runs", str(len(rows))),
        ("hours of all runs, one after another", f"{hours / 3600:.1f}"),
        (
            "most main memory of a process, GB",
            f"{max(row['peak_gb'] for row in rows.values()):.1f}",
        ),
        *((name, counted(str(row.get(name, "not told")) for row in rows.values())) for name in ran),
        *(("versions", one) for one in sorted(versions)),
    ]
    figures = "".join(
        f'<figure><img alt="{name}" src="data:image/png;base64,'
        f'{base64.b64encode(picture).decode()}"><figcaption>{html.escape(PICTURES[name][0])}'
        "</figcaption></figure>"
        for name, picture in pictures.items()
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Supervised in-context fine-tuning, measured</title><style>{STYLE}</style>
<h1>Supervised in-context fine-tuning, measured</h1>
{table(["setting", "value"], facts)}
<h2>Systems</h2>
<p>Span F1, mean and standard deviation over seeds. A star: it differs from SIFT MRC beyond chance
(paired bootstrap over test sentences, p &lt; {LIKELY}).</p>
{table_of_systems(rows)}
<h2>What the paper claims</h2>
<p>Difference of mean F1 over the seeds that both systems have, and how likely chance makes it (the
same bootstrap). "even": chance may explain it.</p>
{table_of_claims(rows)}
<h2>Pictures</h2>
{figures}
<h2>The grammar</h2>
{table_of_decoding(rows)}
<h2>Errors of SIFT MRC</h2>
{errors(rows)}
</html>
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("--output", type=Path, default=Path("recipes/results"))
    given = parser.parse_args()
    rows, sizes = load(given.rows)
    given.output.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name, (_, drawn) in PICTURES.items():
        if not measured(rows, name):
            continue
        figure = drawn(rows)
        for ending in ("png", "svg"):
            figure.savefig(given.output / f"{name}.{ending}", dpi=150)
        pictures[name] = (given.output / f"{name}.png").read_bytes()
    write_whole(given.output / "report.html", page(rows, sizes, pictures).encode())
    print(f"{given.output / 'report.html'}: {len(rows)} runs, {len(pictures)} pictures")


if __name__ == "__main__":
    main()
