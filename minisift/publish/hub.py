"""Labelers on a hub: huggingface_hub brings them here, and keeps what it brought in its cache."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
"""An owner and a name."""
_GGUF = ".gguf"


def local(
    path: str | os.PathLike[str],
    files: Sequence[str],
    revision: str | None,
    token: str | bool | None,
    endpoint: str | None,
) -> Path:
    """A path as it is; for a repository's name, where its labeler lies after it was downloaded.

    files: those of an adapter folder, of which the first tells that it is one. A string is a
    repository's name if it reads owner/name, does not end in .gguf, and nothing lies at that path.
    Raises ValueError for a revision of anything else.
    """
    is_name = isinstance(path, str) and _NAME.fullmatch(path) and not path.endswith(_GGUF)
    if is_name and not os.path.lexists(path):
        if Path(path).parent.is_dir() and revision is None:
            raise FileNotFoundError(
                f"{path}: no such file or folder in {Path(path).parent}; fix: check the path, or, for a "
                "repository of that name on a hub, say revision='main'"
            )
        return _download(os.fspath(path), files, revision, token, endpoint)
    if revision is not None:
        raise ValueError(
            f"revision={revision!r} of {path}, a path on this machine; fix: leave revision out, or "
            "give the name of a repository on a hub"
        )
    return Path(path)


def _download(
    name: str,
    files: Sequence[str],
    revision: str | None,
    token: str | bool | None,
    endpoint: str | None,
) -> Path:
    """The folder of a repository's adapter, or its GGUF file, in the cache of huggingface_hub.

    Without a network, what was downloaded earlier. Raises FileNotFoundError for a repository that
    cannot be had or holds no labeler, ValueError for one that holds several.
    """
    absent = f"{name}: no file or folder here"
    try:
        from huggingface_hub import HfApi, errors, get_cached_repo_tree, try_to_load_from_cache
    except ImportError:
        raise FileNotFoundError(
            f"{absent}, and no huggingface_hub (1.31 or newer) to download it; fix: check the path, "
            "or pip install -U huggingface_hub"
        ) from None
    hub = HfApi(token=token, endpoint=endpoint)
    try:
        commit = hub.resolve_revision(name, revision=revision).resolved
        try:
            there = [file.path for file in get_cached_repo_tree(name, revision=commit)]
        except errors.CachedRepoTreeNotFoundError:
            tree = hub.list_repo_tree(name, revision=commit, recursive=True)
            there = [file.path for file in tree]
        found = _choose(sorted(there), files, name)
        paths: list[Any] = [try_to_load_from_cache(name, file, revision=commit) for file in found]
        if None in paths:
            wanted = [glob.escape(file) for file in found]
            folder = hub.snapshot_download(name, revision=commit, allow_patterns=wanted)
            paths = [Path(folder, file) for file in found]
    except errors.RevisionNotFoundError:
        raise FileNotFoundError(
            f"{name} on {hub.endpoint} has no revision {revision!r}; fix: give a branch, a tag or a "
            "commit of it"
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise FileNotFoundError(
            f"{absent}, and no repository on {hub.endpoint} that you may read; fix: check the path "
            "or the name, and for a private repository give token="
        ) from None
    except (
        errors.HTTPError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        errors.RevisionResolutionError,
    ) as error:
        raise FileNotFoundError(
            f"{absent}, and {hub.endpoint} did not give it ({' '.join(str(error).split())}); fix: "
            "check the path, or the network"
        ) from None
    first = Path(paths[0])
    return first.parent if files[0] in found else first


def _choose(there: Sequence[str], files: Sequence[str], name: str) -> list[str]:
    """Of the files of a repository, those that make its labeler."""
    if files[0] in there:
        return [file for file in files if file in there]
    models = [file for file in there if file.endswith(_GGUF)]
    if not models:
        raise FileNotFoundError(
            f"{name}: a repository without {files[0]} and without a {_GGUF} file; fix: give one "
            "that Labeler.push_to_hub filled"
        )
    if len(models) > 1:
        raise ValueError(
            f"{name}: a repository of {len(models)} {_GGUF} files ({', '.join(models)}); fix: "
            f"download one, as with `hf download {name} {models[0]}`, and load its path"
        )
    return models


def upload(write: Callable[[Path], None], repository: str, private: bool, **options: Any) -> str:
    """Upload a folder, which `write` makes at a path; returns the repository's address.

    options: those of `huggingface_hub.HfApi`.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ImportError(
            "huggingface_hub is not installed; fix: pip install huggingface_hub"
        ) from None
    api = HfApi(**options)
    address = str(api.create_repo(repository, private=private, exist_ok=True))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "labeler"
        write(folder)
        api.upload_folder(repo_id=repository, folder_path=folder)
    return address
