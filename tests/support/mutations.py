"""Answers that are wrong in some way, or by chance right."""


def mutate(response, rng):
    """A word changed, cut, reordered, a foreign label, an overlap, or any other edit."""
    lines = response[:-1].split("\n")[:-1]
    kind = rng.randrange(7)
    at = rng.randrange(len(response))
    if kind == 0:
        return response[:at] + rng.choice("ab: #2\nz") + response[at + 1 :]
    if kind == 1:
        return response[:at] + response[at + 1 :]
    if kind == 2:
        return response[:at] + rng.choice(["a", " ", ":", "\n", " #2", ": person"]) + response[at:]
    if kind == 3 and lines:
        rng.shuffle(lines)
    elif kind == 4 and lines:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    elif kind == 5 and lines:
        words, _, _ = lines[0].rpartition(": ")
        lines[0] = f"{words}: {rng.choice(['foreign', 'person #2', 'é#2', 'PER'])}"
    elif lines:
        words, _, name = lines[0].rpartition(": ")
        lines[0] = f"{words[: max(1, len(words) - 1)]}: {name}"
    return "".join(line + "\n" for line in lines) + "\n"
