"""Run a backbone: images in, feature maps out, with the same numbers in every process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from defectory.archives import ArchiveError, read_bounded
from defectory.errors import shorten
from defectory.inspection.backbone.session import BackboneError, open_session
from defectory.inspection.backbone.weights import (
    EFFICIENTNET_LITE0,
    MOBILENET_V2,
    WeightsSource,
    find_weights,
    load_weights,
)

_SOURCES = {source.name: source for source in (EFFICIENTNET_LITE0, MOBILENET_V2)}
BackboneName = Literal["efficientnet_lite0", "mobilenet_v2"]
EMBEDDED: tuple[BackboneName, ...] = get_args(BackboneName)
"""Backbones that are known by name, the default first."""

LARGEST_MODEL = 512 * 1024 * 1024
"""Bytes of an ONNX file, as many as a bundle may have in all."""

_IMAGENET_MEAN, _IMAGENET_STD = "0.485,0.456,0.406", "0.229,0.224,0.225"


class Backbone:
    """A network of named feature outputs, on one thread.

    Any ONNX model will do that has one float32 NCHW image input and at least one float32 NCHW output.  Optional
    metadata of the model: ``name``; ``mean`` and ``std``, three numbers each, of RGB in 0..1 (ImageNet's by default);
    ``features``, the names of the outputs to use, finest first (all by default); ``multiple``, what height and width
    must be divisible by (32 by default); ``license`` of its weights, an SPDX identifier ("" by default).  A model of
    fixed input size is only fed that size.

    Args:
        content: the serialised ONNX model; it must be self-contained.

    Raises:
        BackboneError: it is not such a model.
    """

    def __init__(self, content: bytes) -> None:
        self._session = open_session(content)
        self.content = content
        self.digest = hashlib.sha256(content).hexdigest()
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            raise BackboneError("backbone", "a model of one float32 NCHW input", [tensor.name for tensor in inputs])
        self._input = inputs[0].name
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.name = metadata.get("name", "onnx")
        self.license = metadata.get("license", "")
        self.mean = _three_numbers(metadata.get("mean", _IMAGENET_MEAN), "mean")
        self.std = _three_numbers(metadata.get("std", _IMAGENET_STD), "std")
        outputs = {tensor.name: tensor for tensor in self._session.get_outputs()}
        features = metadata.get("features", ",".join(outputs)).split(",")
        for feature in features:
            if feature not in outputs or outputs[feature].type != "tensor(float)" or len(outputs[feature].shape) != 4:
                raise BackboneError("backbone", "a model whose feature outputs are float32 NCHW", feature)
        self.feature_names = tuple(features)
        height, width = inputs[0].shape[2:]
        self.fixed_size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        multiple = metadata.get("multiple", "32")
        if not multiple.isdecimal() or int(multiple) < 1:
            raise BackboneError("backbone", "a model whose metadata 'multiple' is a whole number >= 1", multiple)
        self.multiple = int(multiple)

    @classmethod
    def from_file(cls, path: Path) -> Backbone:
        """Read a backbone from an ONNX file.

        Raises:
            BackboneError: the file cannot be read, or is no backbone.
        """
        try:
            with path.open("rb") as file:
                return cls(read_bounded(file, LARGEST_MODEL))
        except ArchiveError as error:
            raise BackboneError("backbone", error.rule, str(path)) from None
        except OSError as error:
            raise BackboneError("backbone", f"an ONNX file that can be read ({error.strerror})", str(path)) from None

    def features(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Feature maps of images of one size.

        Args:
            images: uint8 RGB of shape ``(height, width, 3)``, all of one shape.

        Returns:
            for each of ``feature_names``, float32 of shape ``(len(images), channels, h, w)``.

        Raises:
            BackboneError: the network cannot digest that size.
        """
        scale, shift = 1 / (255 * self.std), self.mean / self.std
        batch = (np.stack(images).astype(np.float32) * scale - shift).transpose(0, 3, 1, 2)
        # One image at a time: a batch changes the order of sums, and gains nothing on one thread.
        results = [self._run(np.ascontiguousarray(image[None])) for image in batch]
        return [np.concatenate(maps) for maps in zip(*results, strict=True)]

    def _run(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        try:
            maps: list[NDArray[np.float32]] = self._session.run(list(self.feature_names), {self._input: image})
        except Exception as error:
            size = "x".join(map(str, image.shape[2:]))
            raise BackboneError("backbone", f"a model that takes {size} images ({shorten(str(error))})") from None
        return maps


def embedded_backbone(name: str = EMBEDDED[0], *, features: Sequence[str] = (), cache: Path | None = None) -> Backbone:
    """A backbone by name, built from its weights once and then cached in ``cache``.

    Args:
        name: one of ``EMBEDDED``.
        features: its outputs, as its module names them; by default those that inspection compares.
        cache: the folder to keep it in; by default ``defectory`` in the user's cache folder.

    Raises:
        BackboneError: there is none of that name.
        WeightsError: its weights are missing or altered; the message has the command that mends it.
    """
    if name not in _SOURCES:
        raise BackboneError("backbone", f"one of {', '.join(EMBEDDED)}", name)
    source = _SOURCES[name]
    weights = find_weights(source)
    cached = (cache or _cache_folder()) / f"{name}-{_recipe(source, features)[:16]}.onnx"
    with contextlib.suppress(OSError):
        content, _, digest = cached.read_bytes().rpartition(b"#")
        if hashlib.sha256(content).hexdigest().encode() == digest:
            return Backbone(content)
    from defectory.inspection.backbone import efficientnet, mobilenet  # only here is the onnx package needed

    module = {EFFICIENTNET_LITE0: efficientnet, MOBILENET_V2: mobilenet}[source]
    content = module.build_backbone(load_weights(source, weights), features or module.FEATURES)
    # A cache that cannot be written costs time, not the result.
    with contextlib.suppress(OSError):
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cached.parent, delete=False) as file:
            file.write(content + b"#" + hashlib.sha256(content).hexdigest().encode())
        Path(file.name).replace(cached)
    return Backbone(content)


def _recipe(source: WeightsSource, features: Sequence[str]) -> str:
    """SHA-256 of all that a built network follows from."""
    digest = hashlib.sha256(repr(source).encode() + ",".join(features).encode())
    for module in ("graph.py", "efficientnet.py", "mobilenet.py"):
        digest.update(Path(__file__).with_name(module).read_bytes())
    return digest.hexdigest()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "defectory"


def _three_numbers(text: str, field: str) -> NDArray[np.float32]:
    try:
        values = np.array([float(number) for number in text.split(",")], np.float32)
    except ValueError:
        values = np.empty(0, np.float32)
    if values.shape != (3,) or not np.isfinite(values).all() or (field == "std" and (values <= 0).any()):
        raise BackboneError("backbone", f"a model whose metadata '{field}' is three numbers", text)
    return values
