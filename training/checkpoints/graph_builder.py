"""Builds an ONNX graph node by node whose weights stay the bytes of `model.safetensors`."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from contract.manifest import WEIGHTS_NAME
from training.errors import BadInput

_TYPES = {
    "F32": TensorProto.FLOAT,
    "F16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
}
_IR_VERSION = 10
"""Of the file format; the onnx package would write its newest, which runtimes learn later."""
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors format itself."""


class StoredTensor(NamedTuple):
    """Where a tensor lies in `model.safetensors`."""

    dtype: str
    """As safetensors spells it: `BF16`."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the file."""
    length: int
    """Bytes."""


def read_stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Read the header of the weights: name → place; BadInput when it cannot be read."""
    path = folder / WEIGHTS_NAME
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        return {name: _place(entry, 8 + length) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise BadInput(
            f"{path}: is no safetensors file ({error}); only a finished checkpoint has a graph"
        ) from error


def _place(entry: dict[str, Any], data: int) -> StoredTensor:
    start, end = entry["data_offsets"]
    return StoredTensor(entry["dtype"], tuple(entry["shape"]), data + start, end - start)


class GraphBuilder:
    """Collects nodes and initializers; every method that adds a node returns its output's name."""

    def __init__(self, tensors: dict[str, StoredTensor]) -> None:
        self._tensors = tensors
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        name = f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: ArrayLike) -> str:
        """Return the name of a small constant; equal ones are stored once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            name = self._constants[key]
            self._initializers[name] = numpy_helper.from_array(array, name)
        return self._constants[key]

    def integers(self, value: int | list[int]) -> str:
        """Return the name of a constant of int64."""
        return self.constant(np.array(value, np.int64))

    def number(self, value: float) -> str:
        """Return the name of a constant of float32."""
        return self.constant(np.array(value, np.float32))

    def weight(self, name: str) -> str:
        """Return the name of a tensor of the weights, as float32."""
        if self._tensors[name].dtype == "F32":
            return self.stored(name)
        return self.add("Cast", self.stored(name), to=TensorProto.FLOAT)

    def stored(self, name: str) -> str:
        """Return the name of a tensor of the weights, in the type it is stored in."""
        if name not in self._initializers:
            self._initializers[name] = _refer_to(name, self._tensors[name])
        return name

    def linear(self, value: str, name: str) -> str:
        """Add `value @ weight.T + bias`; the bias is added where the weights have one."""
        transposed = self.add("Transpose", self.weight(f"{name}.weight"), perm=[1, 0])
        product = self.add("MatMul", value, transposed)
        if f"{name}.bias" in self._tensors:
            product = self.add("Add", product, self.weight(f"{name}.bias"))
        return product

    def build(
        self,
        *,
        inputs: Sequence[onnx.ValueInfoProto],
        output: onnx.ValueInfoProto,
        result: str,
        opset: int,
    ) -> onnx.ModelProto:
        """Return the model, whose one output is the value named `result`."""
        self._nodes.append(helper.make_node("Identity", [result], [output.name], name=output.name))
        graph = helper.make_graph(
            self._nodes, "ncal", inputs, [output], list(self._initializers.values())
        )
        return helper.make_model(
            graph,
            producer_name="ncal-serve",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", opset)],
        )


def _refer_to(name: str, stored: StoredTensor) -> onnx.TensorProto:
    tensor = TensorProto(
        name=name,
        dims=stored.shape,
        data_type=_TYPES[stored.dtype],
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (
        ("location", WEIGHTS_NAME),
        ("offset", stored.offset),
        ("length", stored.length),
    ):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
