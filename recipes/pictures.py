"""Pictures of the experiments' rows: a panel a task, bands and bars for the deviation over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from study import EXPERIMENTS, SHOTS, TASKS, Run

TITLES = {
    "ner": "Named entities (CoNLL-2003)",
    "absa": "Aspects (SemEval-2014)",
    "chunking": "Chunks (CoNLL-2000)",
    "triggers": "Event triggers",
}
SYSTEMS: dict[str, tuple[str, Callable[[Run], bool]]] = {
    "zero-shot": ("tab:gray", lambda r: r.system == "icl" and not r.shots),
    "ICL": ("tab:gray", lambda r: r.system == "icl" and r.shots == SHOTS),
    "SFT": ("tab:olive", lambda r: r.system == "sft"),
    "SIFT vanilla": ("tab:purple", lambda r: r.system == "vanilla"),
    "SIFT SRC": ("tab:orange", lambda r: r.system == "src"),
    "SIFT MRC": ("tab:blue", lambda r: r.system == "mrc" and not r.instruction),
    "SIFT MRC, instruction": ("tab:cyan", lambda r: r.system == "mrc" and r.instruction),
    "decoder as encoder, causal": ("tab:brown", lambda r: r.system == "tags causal"),
    "decoder as encoder, text twice": ("tab:brown", lambda r: r.system == "tags twice"),
    "decoder as encoder, half unmasked": ("tab:brown", lambda r: r.system == "tags half"),
    "decoder as encoder, unmasked": ("tab:brown", lambda r: r.system == "tags none"),
    "encoder (MiniLM)": ("tab:green", lambda r: r.system == "encoder"),
}
"""Systems of the table, each with a colour and what tells its runs among `baselines`."""
Rows = dict[Run, dict[str, Any]]


def seeds(rows: Rows, like: Run) -> list[dict[str, Any]]:
    """The rows of a run under every seed, in order."""
    found = {run.seed: row for run, row in rows.items() if replace(run, seed=like.seed) == like}
    return [found[seed] for seed in sorted(found)]


def comparable(points: Sequence[tuple[Any, list[dict[str, Any]]]]) -> list[tuple[Any, Any, Any]]:
    """Places with mean and deviation of their rows, under the seeds that all places have, if any."""
    points = [(at, rows) for at, rows in points if rows]
    common = [row["seed"] for _, rows in points[:1] for row in rows]
    for _, rows in points:
        common = [row["seed"] for row in rows if row["seed"] in common]
    return [
        (at, *summary([row for row in rows if row["seed"] in common or not common]))
        for at, rows in points
    ]


def summary(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Mean and standard deviation of F1 over the seeds."""
    scores = [row["f1"] for row in rows]
    return float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0


def systems(rows: Rows, task: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each system of the table."""
    found = {}
    for run in EXPERIMENTS["baselines"](task):
        name = next(name for name, (_, fits) in SYSTEMS.items() if fits(run))
        if had := seeds(rows, run):
            found[name] = had
    return found


def measured(rows: Rows, experiment: str) -> list[str]:
    """The tasks that have rows of an experiment, not only those that all experiments share."""
    shared = set(EXPERIMENTS["baselines"](""))
    return [
        task
        for task in TASKS
        if any(
            seeds(rows, run)
            for run in EXPERIMENTS[experiment](task)
            if experiment == "baselines" or replace(run, task="") not in shared
        )
    ]


def panels(rows: Rows, experiment: str) -> tuple[Figure, list[tuple[str, Any]]]:
    """A figure with an empty panel for each task that an experiment has measured."""
    tasks = measured(rows, experiment)
    columns = min(2, len(tasks))
    lines = -(-len(tasks) // max(1, columns))
    figure = Figure(figsize=(4.6 * max(1, columns), 3.2 * lines + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat) if tasks else []
    found = list(zip(tasks, axes, strict=False))
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    for task, axis in found:
        axis.set_title(TITLES[task], fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    return figure, found


def line(
    axis: Any, rows: Rows, runs: Iterable[tuple[int, Run]], label: str, style: str, color: str
) -> None:
    """A line through the means of runs at places of the x axis, a band for the deviation."""
    points = comparable([(at, seeds(rows, run)) for at, run in runs])
    if not points:
        return
    at, means, spread = (np.array(column) for column in zip(*points, strict=True))
    axis.plot(at, means, style, color=color, label=label, markersize=4)
    axis.fill_between(at, means - spread, means + spread, color=color, alpha=0.15, linewidth=0)


def legend(figure: Figure, found: Sequence[tuple[str, Any]], columns: int) -> None:
    """One legend below all panels."""
    handles: dict[str, Any] = {}
    for _, axis in found:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        ncol=max(1, columns * min(2, len(found)) // 2),
        frameon=False,
        fontsize=9,
    )


def scale(axis: Any, ticks: Sequence[Any], label: str) -> None:
    """An ordinal x axis; F1 from 0 to 1."""
    axis.set_xticks(range(len(ticks)), map(str, ticks))
    axis.set_xlabel(label)
    axis.set_ylabel("span F1")
    axis.set_ylim(0, 1)


def draw_shots(rows: Rows) -> Figure:
    counts = [0, 1, 2, 4, 8, 16]
    figure, found = panels(rows, "shots")
    for task, axis in found:
        drawn = [run for run in EXPERIMENTS["shots"](task) if run.system != "sft"]
        for label, style, color, fits in (
            ("ICL, instruct model", "o--", "tab:gray", ("icl", "instruct", "plain", False)),
            ("ICL, instruct model, chat", "^--", "tab:pink", ("icl", "instruct", "chat", False)),
            ("ICL, base model", "s--", "tab:red", ("icl", "base", "plain", False)),
            ("ICL, warm start", "o:", "tab:gray", ("icl", "instruct", "plain", True)),
            ("SIFT vanilla", "v-", "tab:purple", ("vanilla", "instruct", "plain", False)),
            ("SIFT SRC", "D-", "tab:orange", ("src", "instruct", "plain", False)),
            ("SIFT MRC", "o-", "tab:blue", ("mrc", "instruct", "plain", False)),
            ("SIFT MRC, warm start", "o:", "tab:blue", ("mrc", "instruct", "plain", True)),
        ):
            runs = [r for r in drawn if (r.system, r.model, r.template, r.warm) == fits]
            line(axis, rows, [(counts.index(r.shots), r) for r in runs], label, style, color)
        for warm, label, marker in ((False, "SFT", "*"), (True, "SFT, warm start", "P")):
            if plain := seeds(rows, Run(task, "sft", shots=0, warm=warm)):
                mean, spread = summary(plain)
                color = SYSTEMS["SFT"][0]
                axis.errorbar([0], [mean], [spread], fmt=marker, color=color, label=label)
        scale(axis, counts, "demonstrations, in training and in labelling")
    legend(figure, found, 4)
    return figure


def draw_baselines(rows: Rows) -> Figure:
    figure, found = panels(rows, "baselines")
    for task, axis in found:
        runs = systems(rows, task)
        order = [name for name in reversed(SYSTEMS) if name in runs]
        for at, name in enumerate(order):
            mean, spread = summary(runs[name])
            axis.errorbar([mean], [at], xerr=[spread], fmt="o", color=SYSTEMS[name][0], capsize=3)
            scores = [row["f1"] for row in runs[name]]
            axis.plot(scores, [at] * len(scores), "|", color=SYSTEMS[name][0], alpha=0.6)
        axis.set_yticks(range(len(order)), order, fontsize=8)
        axis.grid(axis="y", visible=False)
        axis.grid(axis="x", alpha=0.3)
        axis.set_xlim(0, 1)
        axis.set_xlabel("span F1")
    return figure


def draw_instructions(rows: Rows) -> Figure:
    figure, found = panels(rows, "instructions")
    for task, axis in found:
        runs = list(EXPERIMENTS["instructions"](task))
        order = list(dict.fromkeys(run.shown_instruction for run in runs))
        for trained, shift, name in ((False, -0.1, "without"), (True, 0.1, "with")):
            color = SYSTEMS["SIFT MRC, instruction" if trained else "SIFT MRC"][0]
            points = comparable(
                [
                    (order.index(run.shown_instruction) + shift, seeds(rows, run))
                    for run in runs
                    if run.instruction == trained
                ]
            )
            if points:
                at, means, spread = zip(*points, strict=True)
                label = f"trained {name} instruction"
                axis.errorbar(at, means, spread, fmt="o", color=color, capsize=3, label=label)
        scale(axis, order, "instruction in labelling")
    legend(figure, found, 2)
    return figure


def draw_length(rows: Rows) -> Figure:
    counts = [0, 2, 4, 8, 16, 32, 64]
    figure, found = panels(rows, "length")
    for task, axis in found:
        for trained, name in ((False, "without"), (True, "with")):
            color = SYSTEMS["SIFT MRC, instruction" if trained else "SIFT MRC"][0]
            runs = [r for r in EXPERIMENTS["length"](task) if r.instruction == trained]
            places = [(counts.index(r.shown_shots), r) for r in runs]
            line(axis, rows, places, f"trained and asked {name} instruction", "o-", color)
        axis.axvline(
            counts.index(SHOTS), color="black", alpha=0.3, linestyle=":", label="as in training"
        )
        scale(axis, counts, "demonstrations in labelling")
    legend(figure, found, 3)
    return figure


PICTURES: dict[str, tuple[str, Callable[[Rows], Figure]]] = {
    "baselines": (
        "All systems. Dots are means, bars the deviation, strokes the seeds.",
        draw_baselines,
    ),
    "shots": (
        "F1 over the number of demonstrations. Bands are the deviation, where there are several seeds.",
        draw_shots,
    ),
    "instructions": (
        "Models trained without and with an instruction, asked with others.",
        draw_instructions,
    ),
    "length": ("More demonstrations in labelling than in training.", draw_length),
}
