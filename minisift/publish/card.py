"""Model cards: what a labeler is, how it was made and how well it does, as Markdown for a hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minisift.models.bundled import BUNDLED
from minisift.publish.description import Description

CURVE = "learning_curve.png"
"""The picture in an adapter folder."""


def card(
    description: Description,
    files: Sequence[str] = (),
    verification: Mapping[str, Any] | None = None,
    repository: str | None = None,
    *,
    has_curve: bool = False,
) -> str:
    """The model card of an adapter folder, or of a GGUF file with the verification in it.

    files: names of the GGUF file, or of a base model's and its adapter's. repository: the name on
    a hub, where it is loaded from there. has_curve: whether the learning curve lies beside it.
    """
    made = description.made
    sections = [
        _front_matter(description, files),
        "# A span labeler",
        f"Labels {', '.join(f'`{label}`' for label in description.task.names)} in text, with exact "
        "offsets, by [minisift](https://pypi.org/project/minisift/). It can only answer with words "
        "of the text and these labels.",
        _usage(files, repository),
        _labels(description),
    ]
    if "scores" in made:
        runs = made.get("settings", {}).get("runs") or 1
        of_runs = runs > 1 and made.get("held_out", 0) > 0
        sections.append(_scores(made["scores"]["dev"], of_runs))
    sections.append(_training(description, has_curve))
    if verification:
        sections.append(_verification(verification))
    return "\n\n".join(sections) + "\n"


def _front_matter(description: Description, files: Sequence[str]) -> str:
    base = description.base["model"]
    bundled = BUNDLED.get(base)
    origin = bundled.origin if bundled else base
    is_hub_id = origin.count("/") == 1 and not Path(origin).is_absolute()
    lines = ["library_name: minisift", "pipeline_tag: token-classification"]
    if is_hub_id:
        relation = "quantized" if len(files) == 1 else "adapter"
        lines += [f"base_model: {origin}", f"base_model_relation: {relation}"]
    if bundled:
        lines.append(f"license: {bundled.license}")
    tags = ["minisift", "named-entity-recognition", "span-labelling", *(["gguf"] if files else [])]
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *lines, "---"])


def _usage(files: Sequence[str], repository: str | None) -> str:
    at = repository or (files[-1] if files else "folder")
    given = f'"{files[0]}", adapter="{at}"' if len(files) > 1 else f'"{at}"'
    return (
        f"```python\nimport minisift\n\nlabeler = minisift.load({given})\n"
        'for span in labeler.predict("..."):\n'
        "    print(span.start, span.end, span.label, span.text, span.score)\n```"
    )


def _labels(description: Description) -> str:
    task = description.task
    rows = [[label, name, task.descriptions.get(label, "")] for label, name in task.names.items()]
    return "## Labels\n\n" + _table(["label", "in the prompt", "meaning"], rows)


def _scores(report: Mapping[str, Any], of_runs: bool) -> str:
    """of_runs: whether each sentence was labelled by one of the runs that were averaged."""
    scored = [*report["per_label"].items(), ("micro", report["micro"])]
    rows = [
        [label, *(f"{row[name]:.3f}" for name in ("precision", "recall", "f1")), row["gold"]]
        for label, row in scored
    ]
    head = ["label", "precision", "recall", "F1", "spans"]
    which = "that were left out of training and prompt"
    if of_runs:
        which = "that one of the averaged runs had left out, which labelled them"
    return (
        f"## Scores\n\nOn {report['sentences']} sentences {which} (exact "
        f"range and label; calibration error {report['calibration_error']:.3f}):\n\n{_table(head, rows)}"
    )


def _training(description: Description, has_curve: bool) -> str:
    made = description.made
    base = description.base["model"]
    # a path on somebody's disk says nothing to others
    told: list[list[Any]] = [["base model", Path(base).name if Path(base).is_absolute() else base]]
    told.append(["weights", description.base["quantize"] or "bf16"])
    if "sentences" in made:
        told.append(["training sentences", made["sentences"]])
        told.append(["training prompts", made["prompts"]])
    told.append(["demonstrations in each prompt", len(description.demonstrations)])
    if start := made.get("start"):
        told.append(["adapter that it started from", start])
    settings = made.get("settings", {})
    told += [
        [name.replace("_", " "), value] for name, value in settings.items() if value is not None
    ]
    told += [[f"version of {name}", version] for name, version in made.get("versions", {}).items()]
    how = (
        "Supervised in-context fine-tuning (arXiv 2509.00921)."
        if settings
        else "By demonstrations alone."
    )
    if has_curve:
        how += f"\n\n![Loss and dev F1 over the steps]({CURVE})"
    return f"## How it was made\n\n{how}\n\n{_table(['setting', 'value'], told)}"


def _verification(found: Mapping[str, Any]) -> str:
    head = ["quantization", "MB", "F1", "points lost", "same spans", "texts a second"]
    rows = [
        [
            row["quantization"],
            f"{row['bytes'] / 1e6:.0f}",
            f"{row['f1']:.1f}",
            f"{row['lost']:.1f}",
            f"{row['same_spans']} of {found['texts']}",
            f"{row['rate']:.1f}",
        ]
        for row in found["tried"]
    ]
    return (
        f"## Verification\n\nAgainst the adapter under transformers, on {found['texts']} texts "
        f"(F1 of the adapter {found['reference']:.1f}). Token ids are equal. Logits before "
        f"quantization differ by {found['logit_difference']} at most, of {found['largest_logit']}. "
        f"Quantizing moved no tensor by more than {100 * found['weight_error']:.1f}% of it."
        f"\n\n{_table(head, rows)}"
    )


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def lines() -> Iterator[str]:
        for row in (head, ["---"] * len(head), *rows):
            yield "| " + " | ".join(_cell(value) for value in row) + " |"

    return "\n".join(lines())


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
