"""What the README tells people to type is what there is."""

import ast
import re
import shlex
from pathlib import Path

import minisift
from minisift.cli import parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_commands_parse():
    commands = re.findall(r"^minisift .*$", README, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        parser().parse_args(shlex.split(command)[1:])


def test_python_uses_public_names():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "minisift"
    }
    assert names == {"read", "fit", "load"}
    assert names <= set(minisift.__all__)
    methods = set(re.findall(r"labeler\.(\w+)\(", code))
    assert all(callable(getattr(minisift.Labeler, name)) for name in methods)


def test_the_tree_names_every_file():
    tree = README.split("## The tree")[1]
    for path in (ROOT / "minisift").iterdir():
        if path.name not in ("__init__.py", "__pycache__", "py.typed"):
            assert path.name in tree, f"{path.name} is missing in the README's tree"


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"@[A-Z0-9]+@|TODO|TBD", README)
