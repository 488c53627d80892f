"""Labelers, files and data that tests share: each is made once a session, when it is first asked for.

`small` and what comes of it is for plumbing: two layers of a real model with its real tokenizer.
It labels, but what it labels means nothing. `fitted` and what comes of it is the real thing.
"""

import functools
import os
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings
from support.places import DATA, SAMPLE, need_shared
from support.small_model import cut_to_two_layers, fit_small

import minisift
from minisift.models.source import resolve

settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
settings.register_profile("slow", max_examples=1500, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
LONGEST = (
    "test_cycle",
    "test_artifacts",
    "test_recipes",
    "test_plan",
    "test_readme",
    "test_commands",
)
"""Files whose tests begin first, so that processes of pytest-xdist end together."""


def pytest_configure(config):
    """Gives each process of pytest-xdist cores of its own: threads of two that wait for each other on the
    same cores take many times as long."""
    if hasattr(config, "workerinput") and CORES:
        worker, count = int(config.workerinput["workerid"][2:]), config.workerinput["workercount"]
        own = set(sorted(CORES)[worker::count])
        os.sched_setaffinity(0, own or CORES)


@pytest.fixture
def all_cores():
    """Lets a test have the cores of all processes: labelers have a lane for each."""
    if not CORES:  # macOS and Windows
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield
    os.sched_setaffinity(0, own)


def pytest_collection_modifyitems(items):
    """Marks what hypothesis draws for as `property`, and what reads the shared data as `data`."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("property")
        if "shared_data" in item.fixturenames:
            item.add_marker("data")


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA GPU here")


@pytest.fixture(scope="session")
def shared_data():
    """The folder of public research data that lies beside the checkout."""
    need_shared(DATA)
    return DATA


@pytest.fixture(scope="session")
def train():
    return minisift.read(SAMPLE / "train.jsonl")


@pytest.fixture(scope="session")
def dev():
    return minisift.read(SAMPLE / "dev.jsonl")[:24]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where the session's labelers and files lie."""
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="session")
def small_base(folder):
    """The folder of a base model of two layers."""
    pytest.importorskip("torch")
    return cut_to_two_layers(folder / "small-base")


@pytest.fixture(scope="session")
def small(small_base, train, dev, folder):
    """A labeler of that model after 4 steps; it lies in `small_folder`."""
    return fit_small(small_base, train, dev, folder / "small")


@pytest.fixture(scope="session")
def small_folder(small, folder):
    return folder / "small"


@pytest.fixture(scope="session")
def small_as(small, dev, folder):
    """`small` as a GGUF file: `small_as("q8_0")` is the report of its export, made once."""
    return functools.cache(functools.partial(_exported, small, dev, folder / "small-{}.gguf"))


@pytest.fixture(scope="session")
def small_file(small_as):
    """The path of `small` as a GGUF file, in F16."""
    return Path(small_as("f16")["path"])


@pytest.fixture(scope="session")
def small_loaded(small_file):
    """A labeler of that file, for who neither closes it nor leaves it in the middle of a stream."""
    return minisift.load(small_file)


@pytest.fixture(scope="session")
def small_adapter(small, folder):
    """The path of its adapter as a GGUF file, to load on `small_base_file`."""
    return Path(small.export(folder / "small-lora.gguf", format="lora")["path"])


@pytest.fixture(scope="session")
def small_base_file(small_base, folder):
    """The path of the base model of two layers as a GGUF file, which is no labeler."""
    from minisift.export.convert import Converter

    path = folder / "small-base.gguf"
    Converter(resolve(small_base), None, quantized=False).write(path, {})
    return path


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
def fitted_as(fitted, dev, folder):
    """`fitted` as a GGUF file: `fitted_as("q8_0")` is the report of its export, made once."""
    return functools.cache(functools.partial(_exported, fitted, dev, folder / "notes-{}.gguf"))


@pytest.fixture(scope="session")
def fitted_loaded(fitted_as):
    """A labeler of `fitted` in F16, where only the order of additions differs: as `small_loaded`."""
    return minisift.load(fitted_as("f16")["path"])


@pytest.fixture(scope="session")
def exported(fitted_as, fitted_loaded):
    """The report on that file, and its labeler."""
    return fitted_as("f16"), fitted_loaded


@pytest.fixture(params=["small", pytest.param("fitted", marks=pytest.mark.slow)])
def size(request):
    """What is checked on the small model at each push, and on the real one in the slow run."""
    return request.param


@pytest.fixture
def trained(size, request):
    """`small`, and in the slow run `fitted`."""
    return request.getfixturevalue(size)


@pytest.fixture
def trained_as(size, request):
    """`small_as`, and in the slow run `fitted_as`."""
    return request.getfixturevalue(f"{size}_as")


@pytest.fixture
def loaded(size, request):
    """`small_loaded`, and in the slow run `fitted_loaded`."""
    return request.getfixturevalue(f"{size}_loaded")


def _exported(labeler, dev, path, quantization):
    # a model that learned little has many near ties, of which quantizing moves some
    path = path.with_name(path.name.format(quantization))
    return labeler.export(path, quantization=quantization, verify_on=dev, tolerance=100)


@pytest.fixture
def put(tmp_path):
    """Writes a file of text or bytes and returns its path."""

    def write_file(content, name="data.conll"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file
