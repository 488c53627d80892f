"""What is wrong is told in a line that says how to mend it, before anything costly begins."""

import re

import pytest
from support.commands import ERRORS, WITH_A_MODEL, Run, errors_of


@pytest.mark.parametrize(("line", "told"), ERRORS.items())
def test_errors_are_a_line_and_come_first(line, told, here):
    done = Run(line, here, status=2)
    assert done.out == ""
    assert re.fullmatch(r"minisift: [^\n]*; fix: [^\n]*\n", done.err)
    assert told in done.err
    assert not (here / "new").exists()


@pytest.fixture(scope="module")
def errors(here, export_run):
    (here / "broken").mkdir()
    for file in (here / "labeler").iterdir():
        (here / "broken" / file.name).write_bytes(file.read_bytes()[:30_000])
    return errors_of(list(WITH_A_MODEL), here)


@pytest.mark.parametrize(("line", "told"), WITH_A_MODEL.items())
def test_errors_with_a_model(line, told, errors):
    *before, last = errors[line].splitlines()
    assert last.startswith("minisift: ")
    assert told in last
    assert "; fix: " in last
    assert all(line.startswith(("loading ", "Merging ")) for line in before)
