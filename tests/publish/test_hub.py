"""What was pushed to a hub is loaded from there; names that are none, and hubs that are away."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")

from huggingface_hub import constants
from support.hub import TOKEN, serving

import minisift
from minisift.exceptions import DescriptionError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    # it would send large files to a server of another kind
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    (tmp_path / "kept").mkdir()
    with serving(tmp_path / "kept") as hub:
        yield hub


def test_an_adapter_folder_comes_back(small, dev, hub):
    at = {"token": TOKEN, "endpoint": hub.endpoint}
    assert small.push_to_hub("me/notes", **at) == f"{hub.endpoint}/me/notes"
    adapter = {"labeler.json", "adapter_config.json", "adapter_model.safetensors"}
    files = hub.files("me/notes")
    assert set(files) == {*adapter, "README.md", "learning_curve.png"}
    assert 'minisift.load("me/notes")' in files["README.md"].decode()
    again = minisift.load("me/notes", **at)
    assert hub.downloaded() == adapter
    assert again.predict(dev[:8]) == small.predict(dev[:8]) != []


def test_a_gguf_file_comes_back_without_torch(small_loaded, dev, hub, tmp_path):
    small_loaded.push_to_hub("me/notes-gguf", token=TOKEN, endpoint=hub.endpoint)
    assert set(hub.files("me/notes-gguf")) == {"small-f16.gguf", "README.md"}
    told = hub.files("me/notes-gguf")["README.md"].decode()
    assert 'minisift.load("me/notes-gguf")' in told
    code = (
        "import json, sys, minisift\n"
        "labeler = minisift.load('me/notes-gguf')\n"
        "print(json.dumps([[*map(str, s)] for s in labeler.predict(json.load(sys.stdin))]))\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )
    texts = [example.text for example in dev[:8]]
    at = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env={**os.environ, **at},
    )
    assert done.returncode == 0, done.stderr
    found, loaded = done.stdout.splitlines()
    assert json.loads(found) == [[*map(str, spans)] for spans in small_loaded.predict(texts)]
    assert loaded == "[]"
    assert hub.downloaded() == {"small-f16.gguf"}


def test_an_adapter_on_a_base_model_comes_back(small_base_file, small_adapter, dev, hub):
    base = small_base_file
    labeler = minisift.load(base, adapter=small_adapter)
    assert f'load("{base.name}", adapter="small-lora.gguf")' in labeler.card()
    at = {"token": TOKEN, "endpoint": hub.endpoint}
    labeler.push_to_hub("me/lora", **at)
    assert set(hub.files("me/lora")) == {"small-lora.gguf", "README.md"}
    told = hub.files("me/lora")["README.md"].decode()
    assert f'minisift.load("{base.name}", adapter="me/lora")' in told
    again = minisift.load(base, adapter="me/lora", revision="main", **at)
    assert again.predict(dev[:4]) == labeler.predict(dev[:4])


def described(version):
    return {"labeler.json": json.dumps({"format": version}).encode()}


def test_a_revision_is_a_branch_or_a_commit(hub):
    first = hub.put("me/notes", described(71))
    hub.put("me/notes", described(72))
    hub.put("me/notes", described(73), branch="next")
    for revision, version in ((None, 72), ("main", 72), (first, 71), ("next", 73)):
        with pytest.raises(DescriptionError, match=f"version {version}"):
            minisift.load("me/notes", revision=revision, endpoint=hub.endpoint)
    for revision in ("other", "0" * 40):
        with pytest.raises(FileNotFoundError, match=rf"no revision '{revision}'.*; fix: .*branch"):
            minisift.load("me/notes", revision=revision, endpoint=hub.endpoint)


def test_other_files_of_a_repository_stay_there(hub):
    hub.put("me/notes", {"more/labeler.json": b"{}", "[1].gguf": b"none", "1.bin": b"weights"})
    with pytest.raises(ValueError, match=r"\[1\]\.gguf: llama\.cpp cannot load it"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    assert hub.downloaded() == {"[1].gguf"}
    hub.put("me/notes", {**described(7), "adapter_config.json": b"{}"})
    with pytest.raises(DescriptionError, match="version 7"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    assert hub.downloaded() == {"[1].gguf", "labeler.json", "adapter_config.json"}


def test_what_was_downloaded_loads_without_a_network(hub, tmp_path, caplog):
    commit = hub.put("me/notes", described(71))
    hub.put("me/models", {"one.gguf": b"none"})
    for _ in range(2):
        with pytest.raises(DescriptionError, match="version 71"):
            minisift.load("me/notes", endpoint=hub.endpoint)
    with pytest.raises(ValueError, match="cannot load it"):
        minisift.load("me/models", endpoint=hub.endpoint)
    assert len([line for line in hub.asked if "labeler.json" in line]) == 2  # HEAD and GET
    hub.shutdown()
    hub.server_close()
    for revision in (None, "main", commit):
        with pytest.raises(DescriptionError, match="version 71"):
            minisift.load("me/notes", revision=revision, endpoint=hub.endpoint)
    with pytest.raises(ValueError, match="cannot load it"):
        minisift.load("me/models", endpoint=hub.endpoint)
    with pytest.raises(FileNotFoundError, match=r"no file or folder here, and .* did not give it"):
        minisift.load("me/others", endpoint=hub.endpoint)


def test_a_name_of_nothing_is_said_to_be_that(hub):
    hub.put("me/hidden", described(7))
    hub.repositories["me/hidden"].private = True
    for name in ("notes/missing", "me/hidden", "a--b/c"):
        with pytest.raises(FileNotFoundError, match="no file or folder here, and no repo") as told:
            minisift.load(name, endpoint=hub.endpoint)
        assert str(told.value).startswith(f"{name}: ")
        assert "; fix: " in str(told.value)
        assert "\n" not in str(told.value)
    with pytest.raises(DescriptionError, match="version 7"):
        minisift.load("me/hidden", endpoint=hub.endpoint, token=TOKEN)


def test_paths_stay_here(hub, tmp_path):
    paths = ["missing.gguf", "me/missing.gguf", "a/b/c", "./a/b", "../b", "/a/b", "~/b", "missing"]
    for path in [*paths, tmp_path / "a"]:
        with pytest.raises(FileNotFoundError, match="no such file"):
            minisift.load(path, endpoint=hub.endpoint)
    hub.put("me/notes", described(7))
    (tmp_path / "me" / "notes").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"me/notes: holds no labeler\.json"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    for path in ("me/notes", "missing.gguf"):
        with pytest.raises(ValueError, match=f"revision='main' of {path}.*; fix: leave"):
            minisift.load(path, revision="main")
    # a slip in a path goes over no network
    with pytest.raises(FileNotFoundError, match=r"me/nots: no such file .*; fix: .*revision="):
        minisift.load("me/nots", endpoint=hub.endpoint)
    assert hub.asked == []


def test_a_repository_has_to_hold_one_labeler(hub):
    hub.put("me/notes", {"README.md": b"", "model.safetensors": b""})
    with pytest.raises(FileNotFoundError, match=r"without labeler\.json.*; fix: .*push_to_hub"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    hub.put("me/notes", {"q4.gguf": b"none", "q8.gguf": b"none"})
    with pytest.raises(ValueError, match=r"2 \.gguf files \(q4\.gguf, q8\.gguf\); fix: download"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    assert hub.downloaded() == set()
    hub.put("me/folder", described(7))
    with pytest.raises(ValueError, match=r"adapter='me/folder': a folder.*; fix: "):
        minisift.load("base.gguf", adapter="me/folder", endpoint=hub.endpoint)


def test_a_foreign_folder_is_checked_like_any_other(hub, small_base, train):
    made = json.loads(minisift.prompt(small_base, train, shots=1).description.to_json())

    def put(**changes):
        hub.put("me/notes", {"labeler.json": json.dumps({**made, **changes}).encode()})

    put(base={**made["base"], "fingerprint": "sha256:other"})
    with pytest.raises(DescriptionError, match="fingerprint sha256:other"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    put(prefix="0" * 64)
    with pytest.raises(DescriptionError, match="checksum"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    put(training={})
    with pytest.raises(FileNotFoundError, match=r"without its adapter_config\.json and adapter_m"):
        minisift.load("me/notes", endpoint=hub.endpoint)
    put()
    assert minisift.load("me/notes", endpoint=hub.endpoint).labels == made["labels"]


def test_without_huggingface_hub(monkeypatch, tmp_path, hub):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"me/notes: no file.*; fix: .*-U hugging"):
        minisift.load("me/notes")
    with pytest.raises(FileNotFoundError, match="no such file"):
        minisift.load("missing.gguf")
