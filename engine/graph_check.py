"""Refuses a `model.onnx` that reads anything but the weights beside it.

A runtime follows the places a graph names: other files, other folders, bytes beyond the
end. So the few fields of ONNX (a protocol buffer) that can name one are read here first,
without the onnx package, which serving does not need. Only what `training export` writes is let
through: weights as external data in `model.safetensors`, small constants inside the graph.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from contract.manifest import GRAPH_NAME, WEIGHTS_NAME, CheckpointError

_MAX_BYTES = 1_000_000
_REMEDY = "write it again with `ncal export --onnx-only"
# Field numbers of onnx.proto, by message.
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_HOLDERS = {5, 6, 10, 11, 22, 23}
"""Tensors, graphs and sparse tensors inside an attribute, one or several."""
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_EXTERNAL = 1


class GraphError(ValueError):
    """What is wrong with the graph, in a few words."""


class _Field(NamedTuple):
    number: int
    value: int | bytes


def check_graph(directory: Path) -> None:
    """Raise CheckpointError unless the graph's weights lie in the checkpoint's own weights."""
    path = directory / GRAPH_NAME
    try:
        weights = (directory / WEIGHTS_NAME).stat().st_size
        if path.stat().st_size > _MAX_BYTES:
            raise GraphError(f"is larger than {_MAX_BYTES:,} bytes")
        check_places(path.read_bytes(), weights)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{directory} has no {Path(error.filename).name}, which the embedded engine needs; "
            f"{_REMEDY} {directory}`, or serve it with --engine vllm"
        ) from error
    except (GraphError, OSError) as error:
        raise CheckpointError(f"{path}: {error}; {_REMEDY} {directory}`") from error


def check_places(graph: bytes, weights_bytes: int) -> None:
    """Raise GraphError when a tensor's data lie outside of a weights file of that size."""
    for tensor in _find_tensors(graph):
        fields = list(_read_fields(tensor))
        external = [field for field in fields if field.number == _TENSOR_EXTERNAL]
        if not external and _Field(_TENSOR_LOCATION, _EXTERNAL) not in fields:
            continue
        entries = dict(_read_entry(field.value) for field in external)
        if entries.keys() != {"location", "offset", "length"} or len(external) != 3:
            raise GraphError("a tensor does not say where its data lie")
        if entries["location"] != WEIGHTS_NAME:
            raise GraphError(f"a tensor's data lie in another file than {WEIGHTS_NAME}")
        if not (entries["offset"].isdecimal() and entries["length"].isdecimal()):
            raise GraphError("a tensor's place is no number")
        if int(entries["offset"]) + int(entries["length"]) > weights_bytes:
            raise GraphError(f"a tensor's data lie beyond the end of {WEIGHTS_NAME}")


def _find_tensors(model: bytes) -> Iterator[bytes]:
    for graph in _read_fields(model):
        if graph.number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise GraphError("has functions or training steps")
        if graph.number != _MODEL_GRAPH:
            continue
        for field in _read_fields(graph.value):
            if field.number == _GRAPH_SPARSE:
                raise GraphError("has sparse tensors")
            if field.number == _GRAPH_INITIALIZER:
                yield _as_bytes(field.value)
            if field.number == _GRAPH_NODE:
                _check_node(field.value)


def _check_node(node: int | bytes) -> None:
    for field in _read_fields(node):
        if field.number == _NODE_ATTRIBUTE:
            inner = {each.number for each in _read_fields(field.value)}
            if inner & _ATTRIBUTE_HOLDERS:
                raise GraphError("has tensors or graphs inside a node")


def _read_entry(value: int | bytes) -> tuple[str, str]:
    texts = {field.number: _as_bytes(field.value) for field in _read_fields(value)}
    try:
        return texts[1].decode("ascii"), texts[2].decode("ascii")
    except (KeyError, UnicodeDecodeError):
        raise GraphError("a tensor does not say where its data lie") from None


def _read_fields(message: int | bytes) -> Iterator[_Field]:
    """Fields of a protocol buffer message; those of fixed size are passed over."""
    data = _as_bytes(message)
    place = 0
    while place < len(data):
        key, place = _read_number(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _read_number(data, place)
            yield _Field(number, value)
        elif kind == 2:
            length, place = _read_number(data, place)
            yield _Field(number, data[place : place + length])
            place += length
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise GraphError("is no ONNX graph")
    if place != len(data):
        raise GraphError("is cut short")


def _read_number(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
    raise GraphError("is cut short")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise GraphError("is no ONNX graph")
    return value
