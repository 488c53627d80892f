"""What a saved labeler's folder and file hold, and what does not load."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")

import minisift
from minisift.exceptions import DescriptionError
from minisift.models.source import resolve


def test_a_folder_is_the_labeler(small, small_folder, dev):
    again = minisift.load(small_folder)
    assert again.predict(dev) == small.predict(dev)
    assert again.description.to_json() == small.description.to_json()


def test_a_file_is_the_labeler(small, small_loaded, dev):
    assert small_loaded.predict(dev) == small.predict(dev)
    assert small_loaded.description.to_json() == small.description.to_json()


def test_without_matplotlib_the_picture_alone_is_missing(small, tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
        small.save(tmp_path / "plain")
    (told,) = caplog.messages
    assert "matplotlib is not installed" in told
    assert "pip install matplotlib" in told
    small.save(tmp_path / "drawn")
    names, drawn = ({file.name for file in (tmp_path / n).iterdir()} for n in ("plain", "drawn"))
    assert names == {
        "README.md",
        "labeler.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert drawn - names == {"learning_curve.png"}
    assert len(caplog.messages) == 1
    for folder, is_drawn in (("plain", False), ("drawn", True)):
        text = (tmp_path / folder / "README.md").read_text()
        assert ("learning_curve.png" in text) == is_drawn
        assert minisift.load(tmp_path / folder).card() == text


def test_a_trained_labeler_does_not_load_without_its_adapter(small, tmp_path):
    small.save(tmp_path / "notes")
    (tmp_path / "notes" / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"without its adapter_model\.safetensors; fix: "):
        minisift.load(tmp_path / "notes")
    content = json.loads((tmp_path / "notes" / "labeler.json").read_text())
    del content["training"]
    (tmp_path / "notes" / "labeler.json").write_text(json.dumps(content))
    (tmp_path / "notes" / "adapter_config.json").unlink()
    assert minisift.load(tmp_path / "notes").labels == small.labels
    (tmp_path / "notes" / "labeler.json").write_text(json.dumps({**content, "start": "sha256:1"}))
    with pytest.raises(FileNotFoundError, match="a labeler without its adapter_config"):
        minisift.load(tmp_path / "notes")


def test_a_folder_with_other_files_is_not_replaced(small, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="fix"):
        small.save(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_tampering_is_noticed(small, tmp_path):
    small.save(tmp_path / "notes")
    path = tmp_path / "notes" / "labeler.json"
    saved = path.read_text()
    for content, told in (
        (saved.replace('"symptom"', '"complaint"'), "checksum"),
        (saved.replace('"format": 1', '"format": 99'), "99"),
        (saved[:100], "fix"),
        (saved.replace("sha256:", "sha256:0"), "fingerprint"),
    ):
        assert content != saved
        path.write_text(content)
        with pytest.raises(DescriptionError, match=told):
            minisift.load(tmp_path / "notes")


def test_nothing_is_no_labeler(tmp_path):
    with pytest.raises(FileNotFoundError):
        minisift.load(tmp_path / "missing.gguf")


def test_a_foreign_gguf_is_refused():
    with pytest.raises(DescriptionError, match="not a minisift labeler"):
        minisift.load(resolve("smollm2-135m").gguf)


def test_without_torch(small_file):
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'peft', 'datasets'): sys.modules[name] = None\n"
        "import minisift\n"
        f"print(minisift.load({str(small_file)!r}).predict('Tom took aspirin.'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[Span(")


def test_what_was_computed_of_a_file_is_kept(trained_as, dev, tmp_path, monkeypatch):
    path = trained_as("f16")["path"]
    monkeypatch.setenv("MINISIFT_CACHE", str(tmp_path))
    answers = []
    for damage in (False, False, True, False):
        labeler = minisift.load(path)
        answers.append(labeler.predict(dev[:4]))
        labeler.close()
        kept = sorted(tmp_path.glob("*/*.state"))
        assert [file.parent.name for file in kept] == ["heads", "pieces", "prefixes"]
        for file in kept if damage else ():
            file.write_bytes(file.read_bytes()[:-9] + b"not so us")
    assert answers == [answers[0]] * 4
