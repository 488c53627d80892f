"""GGUF files, written tensor by tensor: no more than one of them is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from minisift.export.merge import Weight
from minisift.models.gguf_file import Tensor, open_gguf, tensors_of, value_of


def own_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a GGUF file, typed as it is there, without what each writer sets itself."""
    own = ("general.architecture", "general.quantization_version", "general.file_type")
    found = {}
    for field in open_gguf(path).fields.values():
        if not field.name.startswith("GGUF.") and field.name not in own:
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            found[field.name] = gguf.GGUFValue(field.contents(), kind, inner)
    return found


def write_gguf(
    path: Path,
    arch: gguf.MODEL_ARCH,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Weight] | None = None,
    matrices: type[np.floating[Any]] = np.float16,
) -> None:
    """Write metadata (plain or `gguf.GGUFValue`) and tensors: matrices as given, the rest in F32."""
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    for key, value in metadata.items():
        if not isinstance(value, gguf.GGUFValue):
            # numbers of this kind count something: llama.cpp wants them unsigned
            counts = type(value) is int
            kind = gguf.GGUFValueType.UINT32 if counts else gguf.GGUFValueType.get_type(value)
            value = gguf.GGUFValue(value, kind)
        writer.add_key_value(key, value.value, value.type, value.sub_type)
    tensors = tensors or {}
    dtypes: dict[str, type[np.floating[Any]]] = {}
    for name, weight in tensors.items():
        is_matrix = len(weight.shape) > 1 and not name.endswith("norm.weight")
        dtypes[name] = matrices if is_matrix else np.float32
        dtype = np.dtype(dtypes[name])
        size = int(np.prod(weight.shape)) * dtype.itemsize
        writer.add_tensor_info(name, weight.shape, dtype, size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, weight in tensors.items():
        writer.write_tensor_data(weight.read().contiguous().numpy().astype(dtypes[name]))
    writer.close()


def copy_with(source: Path, target: Path, metadata: Mapping[str, Any]) -> None:
    """Write a GGUF file of F32 and F16 tensors again, with more metadata."""
    name = value_of(source, "general.architecture")
    (arch,) = (arch for arch, known in gguf.MODEL_ARCH_NAMES.items() if known == name)
    tensors = {tensor.name: _in_file(tensor) for tensor in tensors_of(source)}
    write_gguf(target, arch, {**own_metadata(source), **metadata}, tensors)


def _in_file(tensor: Tensor) -> Weight:
    return Weight(tensor.shape, lambda: torch.from_numpy(np.array(tensor.data)))
