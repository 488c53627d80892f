"""GGUF files of a small labeler, for tests that run without torch.

python tests/support/engine_files.py FOLDER
"""

import sys
import tempfile
from pathlib import Path

KINDS = ("f16", "q8_0", "q4_0", "q4_k_m")


def write_files(labeler, train, folder):
    """Writes a labeler in some file types, its adapter, and its base model in F16; returns the folder."""
    import minisift

    folder.mkdir()
    for kind in KINDS:
        labeler.export(folder / f"{kind}.gguf", quantization=kind, verify=False)
    labeler.export(folder / "adapter.gguf", format="lora")
    base = minisift.prompt(labeler.description.base["model"], train)
    base.export(folder / "base.gguf", quantization="f16", verify=False)
    return folder


def main(folder):
    """The labeler is the `small` of tests/conftest.py."""
    import minisift
    from support.places import SAMPLE
    from support.small_model import cut_to_two_layers, fit_small

    train = minisift.read(SAMPLE / "train.jsonl")
    dev = minisift.read(SAMPLE / "dev.jsonl")[:24]
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        base = cut_to_two_layers(Path(made) / "base")
        small = fit_small(base, train, dev, Path(made) / "small")
        write_files(small, train, Path(made) / "files").rename(folder)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(Path(sys.argv[1]))
