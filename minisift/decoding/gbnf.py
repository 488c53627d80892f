"""The language of valid responses to one text as a GBNF grammar, for any runtime of llama.cpp.

The same language as grammar.py's, of characters instead of tokens: minisift itself needs no
GBNF, whose sampler checks the whole vocabulary for each token.
"""

from __future__ import annotations

from collections.abc import Mapping

from minisift.prompting.response import END, LEAD, Target, closing, label_part


def gbnf(target: Target, names: Mapping[str, str], root: str = "line-0") -> str:
    """A grammar whose rules grow with the text, and with what is repeated in it.

    Rules: ``line-i``, a line that begins at word i or later, or the end; ``from-i``, words that
    begin there; ``to-i``, what follows words that end before word i. Words that stand
    further left too lead through rules of their own, which know their occurrence.

    root: where the grammar begins. Where an answer has passed i words, "line-i" goes on from there.
    """
    words = list(zip(target.starts, target.ends, strict=True))
    count = len(words)
    rules = [
        f"root ::= {root}",
        f"label ::= {' | '.join(_literal(label_part(name)) for name in names.values())}",
    ]

    def follow(end: int, occurrence: int, longer: str) -> str:
        """What may follow words that end before word `end`."""
        label = f"label {_literal(closing(occurrence))} line-{end}"
        if end == count:
            return label
        step = target.text[words[end - 1][1] : words[end][1]]
        return f"{label} | {_literal(step)} {longer}"

    for end in range(1, count + 1):
        rules.append(f"to-{end} ::= {follow(end, 1, f'to-{end + 1}')}")
    for first in range(count):
        begun, last = words[first]
        rules.append(f"line-{first} ::= {_literal(END)} | {_literal(LEAD)} from-{first}")
        # ends up to which the words stand further left too, be they cut into words otherwise
        repeated = first
        while (
            repeated < count and target.text.find(target.text[begun : words[repeated][1]]) < begun
        ):
            repeated += 1

        def rest(end: int, first: int = first, repeated: int = repeated) -> str:
            return f"again-{first}-{end}" if end <= repeated else f"to-{end}"

        later = f" | from-{first + 1}" if first + 1 < count else ""
        text = target.text[begun:last]
        rules.append(f"from-{first} ::= {_literal(text)} {rest(first + 1)}{later}")
        for end in range(first + 1, repeated + 1):
            occurrence = _occurrence(target, begun, words[end - 1][1])
            rules.append(f"{rest(end)} ::= {follow(end, occurrence, rest(end + 1))}")
    rules.append(f"line-{count} ::= {_literal(END)}")
    return "\n".join(rules) + "\n"


def gbnf_of_labels(names: Mapping[str, str]) -> str:
    """A grammar of what is valid for some text: lines and labels, whatever the words."""
    labels = " | ".join(_literal(label_part(name)) for name in names.values())
    return (
        f"root ::= line* {_literal(END)}\n"
        f"line ::= {_literal(LEAD)} [^\\n]+ ({labels}) ("
        f'{_literal(closing(1))} | " #" ([2-9] | [1-9] [0-9]+) {_literal(closing(1))})\n'
    )


def _occurrence(target: Target, start: int, end: int) -> int:
    words = target.text[start:end]
    return next(k for k, at in enumerate(target.occurrences(words), 1) if at == start)


def _literal(text: str) -> str:
    return '"' + "".join(_escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 256 else f"\\U{code:08X}"
