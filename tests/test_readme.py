"""What the README and the guides tell people to type is run, or said to be run elsewhere, and is there at all.

Their blocks run in their order in a folder of their own, on a few sentences and the model of two layers.
"""

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields

import pytest
from support.places import ROOT

import minisift
from minisift.cli import app
from minisift.training.settings import Settings

GUIDES = ("data", "training", "labelling", "paper", "measured")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in GUIDES)]
README = PAGES[0].read_text(encoding="utf-8")
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
INLINE = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", TEXT)]

SMALLER = {"minisift/sample/train.jsonl": 8, "minisift/sample/dev.jsonl": 3}
"""Files that are read, and how many of their lines the blocks get to see."""
RUN = ("import minisift", "from minisift import", "minisift check")
"""How the blocks begin that are run here."""
NOT_RUN = {
    "make demo": "takes minutes, and make test would run itself",
    "pip install -c constraints.txt '.[train,smollm2]'": "installs, which make test has done",
    "pip install -c constraints.txt '.[train,smollm2,gemma]'": "recipes run in test_recipes.py",
}
"""How the others begin, and why they are not run."""


def test_every_block_is_run_or_is_said_not_to_be():
    for _, code in BLOCKS:
        assert sum(code.startswith(start) for start in (*RUN, *NOT_RUN)) == 1, code
    for start in (*RUN, *NOT_RUN):
        assert sum(code.startswith(start) for _, code in BLOCKS) == 1, start


def test_the_blocks_run(small_base, tmp_path):
    sample = tmp_path / "minisift" / "sample"
    sample.mkdir(parents=True)
    for name, count in SMALLER.items():
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / name).write_text("".join(lines[:count]), encoding="utf-8")
    ran = []
    for language, code in BLOCKS:
        if not code.startswith(RUN):
            continue
        assert "smollm2-135m" in code
        code = code.replace("smollm2-135m", str(small_base))
        if language == "python":
            command = [sys.executable, "-c", code]
        else:
            called = f'minisift() {{ {shlex.quote(sys.executable)} -m minisift.cli "$@"; }}\n'
            command = ["bash", "-ec", called + code]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert re.search(r"^micro +\d", done.stdout, re.MULTILINE)
        ran.append(language)
    assert ran == ["python", "python", ""]
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"minisift", "notes", "notes.gguf", "first.gguf"}


def test_the_readme_is_short():
    assert len(README.split()) <= 1200


def heading(title):
    """What a link to a heading ends in."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / "architecture.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(((?!https?:)[^)\s]+)\)", page.read_text(encoding="utf-8"))
    assert links or page.name != "README.md"
    for path, _, place in (link.partition("#") for link in links):
        found = page.parent / path if path else page
        assert found.exists(), path
        if place:
            titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in map(heading, titles), place


def test_what_make_runs_is_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w[\w-]*)", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_what_pip_installs_is_there():
    project = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    for extras in re.findall(r"pip install .*'\.\[(.*?)\]'", TEXT):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    for path in re.findall(r"-[cr] ([\w/.]+\.txt)", TEXT):
        assert (ROOT / path).is_file()


def test_scripts_are_there():
    scripts = set(re.findall(r"python ((?:recipes|benchmarks)/\w+\.py)", TEXT))
    assert len(scripts) > 8
    for script in scripts:
        assert (ROOT / script).is_file(), script


def test_commands_in_the_text_are_understood():
    commands = [code for code in INLINE if code.startswith("minisift ") and "..." not in code]
    commands = [code for code in commands if len(code.split()) > 2]
    assert len(commands) >= 3
    for command in commands:
        app().parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


def calls(code):
    """The calls of a line of Python as (what is called, keywords)."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), [keyword.arg for keyword in node.keywords]


def test_calls_in_the_text_have_the_arguments_that_they_name():
    settings = {field.name for field in fields(Settings)}
    checked = 0
    for code in [*INLINE, *(code for language, code in BLOCKS if language == "python")]:
        for called, keywords in calls(code):
            owner, _, name = called.rpartition(".")
            if owner in ("", "minisift") and name in minisift.__all__:
                function = getattr(minisift, name)
            elif owner in ("", "labeler") and hasattr(minisift.Labeler, name):
                function = getattr(minisift.Labeler, name)
            else:
                assert owner != "minisift", called
                continue
            known = inspect.signature(function).parameters
            options = settings if name in ("fit", "plan") else set()
            if name == "load":
                options = {"threads", "context", "sequences", "n_gpu_layers", "native", "adapter"}
            assert set(keywords) <= set(known) | options, code
            checked += bool(keywords)
    assert checked > 8


def test_the_tree_names_every_file():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.split("## The tree")[1]
    package = tree.split("minisift/\n")[1].split("\n```")[0]
    named = {name.rstrip("/") for name in re.findall(r"^  (\w\S*)  ", package, re.MULTILINE)}
    there = {path.name for path in (ROOT / "minisift").iterdir()}
    assert named == there - {"__init__.py", "__pycache__", "py.typed", "programs"}


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"@[A-Z0-9]+@|TODO|TBD", TEXT)
