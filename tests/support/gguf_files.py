"""GGUF files of a matrix or two, and files with other metadata."""

import gguf
import numpy as np

F32 = gguf.GGMLQuantizationType.F32
ZEROS = np.zeros((8, 32), np.float32)


def written(path, architecture, keys=(), tensors=("token_embd.weight",), rows=ZEROS, kind=F32):
    """A file whose second tensor's rows are of ones, or what is given and one more."""
    writer = gguf.GGUFWriter(path, architecture)
    for key in keys:
        writer.add_float32(key, 30.0)
    for number, name in enumerate(tensors):
        writer.add_tensor(name, rows + rows.dtype.type(number), raw_dtype=kind)
    _write(writer)
    return path


def renamed(source, target, architecture, **more):
    """A file's model as another architecture's, with more keys (of floats) of it; returns `target`."""
    reader = gguf.GGUFReader(source)
    before = reader.get_field("general.architecture").contents()
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
        key = name.replace(f"{before}.", f"{architecture}.", 1)
        writer.add_key_value(key, field.contents(), kind, sub_type=inner)
    for key, value in more.items():
        writer.add_float32(f"{architecture}.{key}", value)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    _write(writer)
    return target


def _write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
