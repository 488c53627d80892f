"""Event triggers: ACE 2005, 33 types of events; or any triggers in JSONL, such as CASIE's.

    python recipes/triggers_ace2005.py --data FOLDER

FOLDER holds train, dev and test as .json or .jsonl. Read are the usual preprocessed forms of ACE:
lists of `{"words", "golden-event-mentions": [{"event_type", "trigger": {"start", "end"}}]}`, and lines
of `{"tokens", "event_mentions": ...}`, offsets in words; and lines of `{"text", "spans"}` in characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import Parts, arguments, run

import minisift
from minisift import Example

ACE = """
    Life:Be-Born Life:Marry Life:Divorce Life:Injure Life:Die Movement:Transport
    Transaction:Transfer-Ownership Transaction:Transfer-Money Business:Start-Org Business:Merge-Org
    Business:Declare-Bankruptcy Business:End-Org Conflict:Attack Conflict:Demonstrate Contact:Meet
    Contact:Phone-Write Personnel:Start-Position Personnel:End-Position Personnel:Nominate
    Personnel:Elect Justice:Arrest-Jail Justice:Release-Parole Justice:Trial-Hearing
    Justice:Charge-Indict Justice:Sue Justice:Convict Justice:Sentence Justice:Fine Justice:Execute
    Justice:Extradite Justice:Acquit Justice:Appeal Justice:Pardon
""".split()
NAMES = {label: label.partition(":")[2].replace("-", " ").lower() for label in ACE} | {
    "Databreach": "data breach",
    "DiscoverVulnerability": "vulnerability discovered",
    "PatchVulnerability": "vulnerability patched",
    "Phishing": "phishing",
    "Ransom": "ransom",
}
DESCRIPTIONS = {
    "Databreach": "words that tell of data being stolen or exposed",
    "DiscoverVulnerability": "words that tell of a security hole being found",
    "PatchVulnerability": "words that tell of a security hole being closed",
    "Phishing": "words that tell of somebody being tricked by a false identity",
    "Ransom": "words that tell of money being demanded for data",
}


def read(data: Path) -> Parts:
    return tuple(read_part(data, part) for part in ("train", "dev", "test"))


def read_part(data: Path, part: str) -> list[Example]:
    files = [path for end in ("json", "jsonl") if (path := data / f"{part}.{end}").is_file()]
    if not files:
        raise FileNotFoundError(f"{data}: no {part}.json or {part}.jsonl; fix: give their folder")
    content = files[0].read_text(encoding="utf-8")
    records = json.loads(content) if content[:1] == "[" else map(json.loads, content.splitlines())
    records = list(records)
    if "spans" in records[0]:
        return minisift.read(files[0], on_error="skip", on_misaligned="snap")
    return [sentence(record) for record in records]


def sentence(record: Mapping[str, Any]) -> Example:
    """A sentence of preprocessed ACE; of triggers that overlap the first is kept."""
    words = record.get("words") or record["tokens"]
    spans: list[tuple[int, int, str]] = []
    for event in record.get("golden-event-mentions", record.get("event_mentions", [])):
        start, end = event["trigger"]["start"], event["trigger"]["end"]
        if all(end <= first or after <= start for first, after, _ in spans):
            spans.append((start, end, event["event_type"]))
    return Example.from_words(words, spans)


if __name__ == "__main__":
    given = arguments(__doc__, "triggers")
    run(given, read(given.data), NAMES, DESCRIPTIONS)
