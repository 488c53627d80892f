"""`minisift show`: labelled text as a page to look at."""

from __future__ import annotations

from pathlib import Path

from minisift.cli import flags
from minisift.cli.reading import ReadingFlags, load, read, tell
from minisift.data.html import page


def show(
    data: flags.Data,
    /,
    *,
    output: str,
    labeler: str | None = None,
    wrong: flags.Switch = False,
    reading: ReadingFlags = None,
) -> None:
    """Write labelled text as one HTML page, which needs nothing else.

    Example: `minisift show dev.conll --labeler ner.gguf --output dev.html`

    Parameters
    ----------
    output
        HTML file to write.
    labeler
        GGUF file or adapter folder: what it finds stands below what is labelled, mistakes are marked.
    wrong
        Only texts in which it is wrong.
    """
    if wrong and not labeler:
        raise ValueError(
            "--wrong without --labeler; fix: give the labeler whose mistakes are meant"
        )
    if Path(output).is_dir():
        raise IsADirectoryError(f"{output}: a folder; fix: give a file as --output")
    examples = read(reading, data)
    if not labeler:
        page(data, [(example, None) for example in examples]).save(output)
        return
    report = load(labeler).evaluate(examples)
    tell(report.counts)
    shown = {
        number: (example, found)
        for number, (example, found) in enumerate(report.pairs, 1)
        if not wrong or list(found) != list(example.spans)
    }
    page(f"{data}, labelled by {labeler}", shown.values(), str(report), shown).save(output)
