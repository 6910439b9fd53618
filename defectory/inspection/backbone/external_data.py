"""Whether an ONNX model keeps tensors in other files, told from its bytes: the containers have no onnx package.

onnxruntime would read those files from the working directory, or from an address in memory.  The numbers are those of
onnx.proto's fields, in the encoding of Protocol Buffers (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

_Message = Literal["model", "graph", "node", "attribute", "tensor", "sparse", "function", "training"]

# The messages in which tensors can be, by the number of the field they are in.
_FIELDS: dict[_Message, dict[int, _Message]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Far more than a network has; a tensor's numbers are one field.
_MOST_FIELDS = 1_000_000


def has_external_data(content: bytes) -> bool:
    """Whether any tensor of a serialised ONNX model is said to be elsewhere.

    Raises:
        ValueError: the bytes are no such model.
    """
    messages: list[tuple[_Message, memoryview]] = [("model", memoryview(content))]
    fields = 0
    while messages:
        kind, message = messages.pop()
        for number, value in _fields(message):
            fields += 1
            if fields > _MOST_FIELDS:
                raise ValueError(f"more than {_MOST_FIELDS} fields")
            if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
                return True
            if (inner := _FIELDS[kind].get(number)) is not None:
                if not isinstance(value, memoryview):
                    raise ValueError(f"field {number} of a {kind} is no message")
                messages.append((inner, value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        if tag >> 32:
            # Protocol Buffers' own reader would drop the upper bits, and see another field.
            raise ValueError("a field number that is too large")
        wire, length = tag & 7, 0
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"an unknown kind of field ({wire})")
        if length > len(message) - position:
            raise ValueError("a field ends too late")
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position == len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number without an end")
