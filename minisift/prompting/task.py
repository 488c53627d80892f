"""What is to be labelled: the labels, how the prompt names them, and an optional instruction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from minisift.data.examples import Example

# Names that a language model knows better than the data's short labels.
_KNOWN_NAMES = {
    "PER": "person",
    "LOC": "location",
    "ORG": "organization",
    "MISC": "miscellaneous",
    "GPE": "place",
    "FAC": "facility",
    "NORP": "group",
    "NP": "noun phrase",
    "VP": "verb phrase",
    "PP": "prepositional phrase",
    "ADVP": "adverb phrase",
    "ADJP": "adjective phrase",
    "SBAR": "subordinate clause",
    "PRT": "particle",
    "CONJP": "conjunction phrase",
    "INTJ": "interjection",
    "LST": "list marker",
    "UCP": "unlike coordinated phrase",
}
_OCCURRENCE = re.compile(r" #[0-9]+$")


@dataclass(frozen=True)
class Task:
    """Labels with the names that stand for them in prompts.

    names: label -> display name, in a fixed order; each name is unique, free of line ends and
    of ``": "``, and does not end in ``#`` and a number (see response.py).
    descriptions: label -> what it means; used by the standard instruction only.
    instruction: text at the head of the prompt; empty for none.

    Raises ValueError for names that would make answers ambiguous.
    """

    names: Mapping[str, str]
    descriptions: Mapping[str, str]
    instruction: str = ""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("no labels; fix: give training examples that hold labelled spans")
        seen: dict[str, str] = {}
        for label, name in self.names.items():
            wrong = (
                "is empty or begins or ends with white space" * (not name or name != name.strip())
                or "holds a line end" * any(c.isspace() and c != " " for c in name)
                or "holds ': '" * (": " in name)
                or "ends in ' #' and a number" * bool(_OCCURRENCE.search(" " + name))
                or f"is also the name of {seen.get(name)!r}" * (name in seen)
            )
            if wrong:
                raise ValueError(
                    f"name {name!r} of label {label!r} {wrong}; fix: choose another display name, "
                    f"as in names={{{label!r}: 'some name'}}"
                )
            seen[name] = label
        for label in self.descriptions:
            if label not in self.names:
                raise ValueError(
                    f"description for label {label!r}, which is not in the data; fix: use one of "
                    f"{', '.join(self.names)}"
                )

    @cached_property
    def labels_by_name(self) -> dict[str, str]:
        return {name: label for label, name in self.names.items()}

    def standard_instruction(self) -> str:
        """An instruction that lists the labels, with their descriptions where there are any."""
        lines = [
            f"- {name}: {self.descriptions[label]}" if label in self.descriptions else f"- {name}"
            for label, name in self.names.items()
        ]
        return (
            "List the spans of the text that belong to these categories, in the order of the "
            "text, one a line, as 'words: category'. End with an empty line.\n" + "\n".join(lines)
        )


def make_task(
    examples: Iterable[Example],
    *,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
) -> Task:
    """The task that a labelled data set poses.

    names: display names for some or all labels; the rest get known names ("PER" -> "person")
    or their label in lower case, underscores as spaces.
    instruction: a text, True for the standard one, None or False for none.
    """
    labels = sorted({span.label for example in examples for span in example.spans})
    names = dict(names or {})
    if unknown := sorted(set(names) - set(labels)):
        raise ValueError(
            f"names for labels that are not in the data: {', '.join(unknown)}; fix: use some of "
            f"{', '.join(labels)}"
        )
    task = Task(
        _unique({label: names.get(label) or _name(label) for label in labels}, names),
        dict(descriptions or {}),
    )
    text = task.standard_instruction() if instruction is True else (instruction or "")
    return Task(task.names, task.descriptions, text.strip())


def _name(label: str) -> str:
    spoken = " ".join(label.replace("_", " ").split())
    return _KNOWN_NAMES.get(label) or (spoken.lower() if spoken else label)


def _unique(proposed: dict[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Proposed names, or the label itself where two labels would share a name."""
    values = list(proposed.values())
    return {
        label: name if label in given or values.count(name) == 1 else label
        for label, name in proposed.items()
    }
