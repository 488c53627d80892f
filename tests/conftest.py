"""The real data that lies beside the checkout; a small labeler for all tests."""

import os
from pathlib import Path

import pytest

import minisift


@pytest.fixture(scope="session")
def shared_data():
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is absent: CI has to run the tests on real data")
        pytest.skip(f"{folder} is absent: the public research data is no part of the project")
    return folder


@pytest.fixture(scope="session")
def train():
    return minisift.read("minisift/sample/train.jsonl")


@pytest.fixture(scope="session")
def dev():
    return minisift.read("minisift/sample/dev.jsonl")[:24]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cycle")


@pytest.fixture(scope="session")
def fitted(train, dev, folder):
    """A labeler of 40 training prompts: it has learned something, and has many near ties."""
    pytest.importorskip("torch")
    return minisift.fit(
        "smollm2-135m",
        train,
        dev_set=dev,
        shots=3,
        max_prompts=40,
        evaluations=1,
        output_dir=folder / "notes",
    )


@pytest.fixture(scope="session")
def exported(fitted, dev, folder):
    # F16, where only the order of additions differs: quantizing moves near ties
    report = fitted.export(folder / "notes.gguf", quantization="f16", verify_on=dev)
    return report, minisift.load(folder / "notes.gguf")


@pytest.fixture
def put(tmp_path):
    """Writes a file of text or bytes and returns its path."""

    def write_file(content, name="data.conll"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file
