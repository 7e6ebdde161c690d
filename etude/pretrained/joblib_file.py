"""k-means centres from files: joblib's .bin as we-sharp's HuBERT k-means has it, .npy, safetensors.

joblib writes a pickle in whose middle the bytes of arrays lie. Here it is read without joblib and
scikit-learn, and without running anything: every class but numpy's own is replaced by an empty one.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from etude.errors import UserError

CENTRES = "cluster_centers_"
BROKEN = (OSError, ValueError, EOFError, IndexError, KeyError, AttributeError, TypeError)
NUMPY = {"dtype", "ndarray", "scalar", "_reconstruct"}


class UnknownClass:
    """Stands for a class that is not looked up."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class ArrayReader(pickle._Unpickler):  # noqa: SLF001
    """Unpickles plain values; arrays are read from the bytes after their wrappers.

    The C unpickler cannot be told where an array begins, hence Python's own.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # noqa: SLF001

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> Any:  # noqa: D102
        if module.split(".", maxsplit=1)[0] == "numpy" and name in NUMPY:
            return super().find_class(module, name)
        return type(name, (UnknownClass,), {})

    def load_build(self) -> None:
        """As Python's; then a wrapper gives way to its array."""
        super().load_build()  # type: ignore[misc]
        wrapper = self.stack[-1]  # type: ignore[attr-defined]
        if type(wrapper).__name__ == "NumpyArrayWrapper":
            self.stack[-1] = self._array(wrapper)  # type: ignore[attr-defined]

    dispatch[pickle.BUILD[0]] = load_build

    def _array(self, wrapper: Any) -> np.ndarray:
        if wrapper.dtype.hasobject:
            raise ValueError("it holds an array of Python objects")
        if getattr(wrapper, "numpy_array_alignment_bytes", None) is not None:
            padding = self.file.read(1)[0]
            self.file.read(padding)
        count = int(np.prod(wrapper.shape, dtype=np.int64))
        data = self.file.read(count * wrapper.dtype.itemsize)
        flat = np.frombuffer(data, wrapper.dtype, count)
        return flat.reshape(wrapper.shape, order=wrapper.order)


def read_centres(path: Path) -> np.ndarray:
    """Centres of a k-means: float32 [clusters, dim].

    Raises:
        UserError: the file cannot be read, or holds no centres.
    """
    try:
        found = _read(path)
    except BROKEN as error:
        raise _unreadable(path, str(error)) from None
    except pickle.UnpicklingError as error:
        raise _unreadable(path, f"{error}; compressed joblib files are not read") from None
    if found is None or found.ndim != 2 or not np.isfinite(found).all():
        raise UserError(
            "the file holds no centres of a k-means",
            code="unreadable-centres",
            where=str(path),
            why=f"there is no finite two-dimensional {CENTRES} in it",
            do="give scikit-learn's k-means as joblib saved it, or a .npy of its centres",
        )
    return np.array(found, dtype=np.float32)


def _read(path: Path) -> np.ndarray | None:
    if path.suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return next(iter(load_file(path).values()), None)
    with path.open("rb") as file:
        return getattr(ArrayReader(file).load(), CENTRES, None)


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(
        "the centres cannot be read",
        code="unreadable-centres",
        where=str(path),
        why=why or "it ends too early",
        do="get the file again; or save the centres with numpy.save and give the .npy",
    )
