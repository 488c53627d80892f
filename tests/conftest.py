"""The real data that lies beside the checkout."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data():
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is absent: CI has to run the tests on real data")
        pytest.skip(f"{folder} is absent: the public research data is no part of the project")
    return folder
