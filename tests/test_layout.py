"""The tests themselves: they mirror the package, import no other test and know no private names."""

import ast

import pytest
from support.places import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))
OTHERS = {"_attn_implementation", "_fields_", "_repr_html_"}
"""Names of transformers, ctypes and IPython that they tell people to use."""


def test_folders_mirror_the_package():
    for folder in {file.parent.relative_to(ROOT / "tests") for file in FILES}:
        assert folder.parts[:1] == ("support",) or (ROOT / "minisift" / folder).is_dir(), folder


def used(node):
    """The names that a piece of syntax takes from elsewhere."""
    if isinstance(node, ast.ImportFrom):
        return [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    if isinstance(node, ast.Import):
        return [part for alias in node.names for part in alias.name.split(".")]
    if isinstance(node, ast.Attribute):
        is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        return [] if is_own else [node.attr]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
        given = [part.value for part in node.args if isinstance(part, ast.Constant)]
        return [text.split(".")[-1] for text in given if isinstance(text, str)]
    return []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "tests")))
def test_no_private_names_and_no_other_tests(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        for name in used(node):
            is_private = name.startswith("_") and not name.startswith("__")
            assert not is_private or name in OTHERS, f"{file}:{node.lineno}: {name}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not name.startswith("test_"), f"{file}:{node.lineno}: {name}"
