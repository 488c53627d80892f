"""Where things lie that tests read."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "minisift" / "sample"
SHARED = ROOT.parent / "shared"
DATA = SHARED / "data"
CASES = SHARED / "cases"


def need_shared(folder, **options):
    """Skips where a folder beside the checkout is absent, as in a stranger's clone.

    Under `.ci/run` that is an error. options: those of `pytest.skip`.
    """
    if folder.is_dir():
        return
    if os.environ.get("MINISIFT_REQUIRE_DATA"):
        raise FileNotFoundError(f"{folder} is absent: CI has to run the tests on real data")
    pytest.skip(f"{folder} is absent: the public data is no part of the project", **options)
