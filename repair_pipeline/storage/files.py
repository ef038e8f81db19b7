"""Reads and writes files. A file appears complete or not at all, and no pickle is read or written."""

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from repair_pipeline.datasets.ids import digest
from repair_pipeline.named_tensors import Batch, NamedTensors

_NOTES = b"repair_pipeline"
_ASIDE = ".making-"

Notes = Mapping[str, Any]
"""JSON values that are stored in a file's metadata."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file atomically: readers see the complete file or none.

    Args:
        path: the file.
        write: fills the temporary file that it is given, which is flushed to disk and renamed to ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        write(Path(temporary))
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide results from others who share the folder
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)  # pyarrow deletes what it could not write
        raise


def clear_partial(path: Path) -> None:
    """Remove what processes that were killed in ``write_whole`` have left of a file that nobody else writes now."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-????????"):
        left.unlink(missing_ok=True)


def clear_aside(folder: Path) -> None:
    """Remove what processes that were killed inside ``aside`` have left in a folder."""
    for left in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(left)


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """A temporary folder inside ``folder``, to make what is moved into place when it is whole."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=_ASIDE) as made:
        yield Path(made)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_whole(path, write)


def write_parquet(path: Path, table: pa.Table, notes: Notes) -> None:
    """Write a table with ``notes`` in its schema's metadata."""
    metadata = {**(table.schema.metadata or {}), _NOTES: json.dumps(dict(notes)).encode()}
    write_whole(
        path, lambda temporary: pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
    )


def write_inputs(path: Path, rows: int, parts: Iterable[Batch]) -> None:
    """Write an array part by part, so that only one part is in memory.

    Several named tensors become a structured array: one record an example, with a field for each tensor.

    Args:
        path: the ``.npy`` file.
        rows: of the whole array.
        parts: consecutive rows of the array, at least one part.
    """

    def write(temporary: Path) -> None:
        # Not through a memory map: on a full disk the process would die of SIGBUS.
        with temporary.open("wb") as file:
            for number, part in enumerate(parts):
                array = _array(part)
                if number == 0:
                    kind = np.lib.format.dtype_to_descr(array.dtype)
                    described = {"descr": kind, "fortran_order": False, "shape": (rows, *array.shape[1:])}
                    np.lib.format.write_array_header_1_0(file, described)
                file.write(array.tobytes())

    write_whole(path, write)


def _array(inputs: Batch) -> NDArray[Any]:
    """A tensor as an array; several as one of records."""
    if isinstance(inputs, Tensor):
        return np.ascontiguousarray(inputs.numpy())
    fields = {name: tensor.numpy() for name, tensor in inputs.parts.items()}
    kinds = [(name, field.dtype, field.shape[1:]) for name, field in fields.items()]
    records = np.zeros(len(inputs), dtype=np.dtype(kinds, align=True))  # torch maps fields only where they are aligned
    for name, field in fields.items():
        records[name] = field
    return records


def map_inputs(path: Path) -> Batch:
    """The array as memory-mapped tensors: pages are read on access, and dropped when memory is short."""
    # Copy on write, because torch warns about read-only memory.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.dtype.names is None:
        return torch.from_numpy(array)
    return NamedTensors({name: torch.from_numpy(array[name]) for name in array.dtype.names})


def read_parquet(path: Path) -> tuple[pa.Table, Notes]:
    """The table of one file, without the columns that its path holds, and its notes."""
    table = pq.ParquetFile(path).read()
    return table, json.loads((table.schema.metadata or {}).get(_NOTES, b"{}"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Notes) -> None:
    """Write named tensors with ``notes`` in the header."""
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_whole(path, lambda temporary: save_file(contiguous, temporary, {_NOTES.decode(): json.dumps(dict(notes))}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Notes]:
    """The tensors by name, on the CPU, and the notes."""
    return load_file(path), read_tensor_notes(path)


def tensors_digest(path: Path) -> str:
    """16 hex digits of the tensors. The notes, which hold run times, are left out."""
    return digest(save(load_file(path)))


def read_tensor_notes(path: Path) -> Notes:
    """The notes of a tensor file. Only the header is read."""
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[_NOTES.decode()])
