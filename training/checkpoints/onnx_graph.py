"""`model.onnx` of a finished checkpoint: its network as a graph without weights.

The graph takes `ids` (batch, length) of right-padded prompts and their `lengths` (batch,),
and gives `logits` (batch, rows) in float32 at the last token of each. There is no padding
mask: in causal attention the last real token sees only what stands to its left. The last
layer is computed for that token alone. Operations are written in the forms that OpenVINO
joins: RMSNorm, rotary embedding and attention become one operation each, and SiLU, biases
and their like become part of the products (636 nodes of this graph become 152 for the
bundled checkpoint, 85 % of whose time is then spent in matrix products).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from contract.manifest import (
    GRAPH_NAME,
    WEIGHTS_NAME,
    CheckpointError,
    hash_file,
    read_manifest,
    write_manifest,
)
from training.checkpoints.decoder_shape import DecoderShape, read_decoder_shape
from training.checkpoints.graph_builder import GraphBuilder, StoredTensor, read_stored_tensors
from training.errors import BadInput

_OPSET = 20
_MAX_BYTES = 1_000_000
_LOWEST = float(np.finfo(np.float32).min)


class _Positions(NamedTuple):
    """Names of what attention knows of the positions of its queries."""

    cosine: str
    """(1 or batch, 1, queries, head_size)"""
    sine: str
    """(1 or batch, 1, queries, head_size)"""
    masks: dict[int | None, str]
    """Window → (1 or batch, 1, queries, length): 0 where a query sees a key, else the lowest."""


def write_graph(folder: Path) -> None:
    """Write `model.onnx` of the checkpoint in `folder` in one step.

    Raises BadInput when the model is of a kind that cannot become a graph, or when its files
    do not belong together.
    """
    model = make_graph(folder)
    temporary = folder / (GRAPH_NAME + ".tmp")
    temporary.write_bytes(model.SerializeToString(deterministic=True))
    temporary.replace(folder / GRAPH_NAME)


def add_graph(folder: Path) -> None:
    """Write `model.onnx` of a finished checkpoint, and its sha256 into the manifest.

    Raises BadInput as `write_graph` does, and when the folder is no checkpoint or its weights are
    not those of its manifest.
    """
    try:
        manifest = read_manifest(folder, verify_weights=False)
        if hash_file(folder / WEIGHTS_NAME) != manifest.weights_sha256:
            raise BadInput(f"{folder}: its weights are not those of its manifest; restore them")
        write_graph(folder)
        digest = hash_file(folder / GRAPH_NAME)
        write_manifest(manifest.model_copy(update={"graph_sha256": digest}), folder)
    except CheckpointError as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written: {error}") from error


def make_graph(folder: Path) -> onnx.ModelProto:
    """Return the graph of the checkpoint in `folder`; raises BadInput as `write_graph` does."""
    shape, tensors = read_decoder_shape(folder), read_stored_tensors(folder)
    _check_tensors(folder, shape, tensors)
    model = _Network(shape, tensors).build(rows=tensors["score.weight"].shape[0])
    if model.ByteSize() > _MAX_BYTES:
        raise BadInput(f"{folder}: its graph would be larger than {_MAX_BYTES:,} bytes")
    return model


def _check_tensors(folder: Path, shape: DecoderShape, tensors: dict[str, StoredTensor]) -> None:
    if differing := shape.tensor_names ^ tensors.keys():
        first = min(differing)
        fault = "has no" if first in shape.tensor_names else "has an unknown"
        raise BadInput(
            f"{folder}: model.safetensors {fault} tensor {first}; it does not fit config.json: "
            "export the checkpoint again"
        )
    types = {stored.dtype for stored in tensors.values()} - {"F32", "BF16", "F16"}
    if types:
        raise BadInput(f"{folder}: weights of type {min(types)}; supported: F32, BF16, F16")


class _Network:
    """Writes the nodes of one decoder."""

    def __init__(self, shape: DecoderShape, tensors: dict[str, StoredTensor]) -> None:
        self._shape = shape
        self._graph = GraphBuilder(tensors)

    def build(self, *, rows: int) -> onnx.ModelProto:
        add, integers = self._graph.add, self._graph.integers
        every = self._add_positions()
        last = add("Sub", "lengths", integers(1))
        here = self._pick_positions(every, last)
        embedding = self._graph.stored("model.embed_tokens.weight")
        # Cast after the look-up: a table of float32 would double the memory it takes.
        hidden = add("Cast", add("Gather", embedding, "ids", axis=0), to=TensorProto.FLOAT)
        for layer in range(self._shape.layers - 1):
            hidden = self._add_layer(layer, hidden, every, every, None)
        hidden = self._add_layer(self._shape.layers - 1, hidden, every, here, last)
        hidden = self._norm(add("Squeeze", hidden, integers([1])), "model.norm")
        value = helper.make_tensor_value_info
        return self._graph.build(
            inputs=[
                value("ids", TensorProto.INT64, ["batch", "length"]),
                value("lengths", TensorProto.INT64, ["batch"]),
            ],
            output=value("logits", TensorProto.FLOAT, ["batch", rows]),
            result=self._graph.linear(hidden, "score"),
            opset=_OPSET,
        )

    def _add_positions(self) -> _Positions:
        """Rotary angles and masks of all positions, for all items alike."""
        add, integers = self._graph.add, self._graph.integers
        length = add("Gather", add("Shape", "ids"), integers(1), axis=0)
        position = add("Range", integers(0), length, integers(1))
        column = add("Unsqueeze", position, integers([1]))
        row = add("Unsqueeze", position, integers([0]))
        frequencies = self._graph.constant(self._shape.frequencies[None])
        angle = add("Mul", add("Cast", column, to=TensorProto.FLOAT), frequencies)

        def widen(half: str) -> str:
            return add("Unsqueeze", add("Concat", half, half, axis=-1), integers([0, 1]))

        masks: dict[int | None, str] = {}
        for window in dict.fromkeys(self._shape.windows):
            seen = add("LessOrEqual", row, column)
            if window is not None:
                oldest = add("Sub", column, integers(window))
                seen = add("And", seen, add("Greater", row, oldest))
            mask = add("Where", seen, self._graph.number(0.0), self._graph.number(_LOWEST))
            masks[window] = add("Unsqueeze", mask, integers([0, 1]))
        return _Positions(widen(add("Cos", angle)), widen(add("Sin", angle)), masks)

    def _pick_positions(self, every: _Positions, last: str) -> _Positions:
        """The same for one query an item, its last token."""

        def pick(value: str) -> str:  # (1, 1, length, n) → (batch, 1, 1, n)
            picked = self._graph.add("Gather", value, last, axis=2)
            return self._graph.add("Transpose", picked, perm=[2, 0, 1, 3])

        masks = {window: pick(mask) for window, mask in every.masks.items()}
        return _Positions(pick(every.cosine), pick(every.sine), masks)

    def _add_layer(
        self, layer: int, hidden: str, keys: _Positions, queries: _Positions, last: str | None
    ) -> str:
        """One decoder layer over `hidden` (batch, length, width); with `last` it gives
        (batch, 1, width), that token's alone."""
        add, linear = self._graph.add, self._graph.linear
        prefix = f"model.layers.{layer}"
        normed = self._norm(hidden, f"{prefix}.input_layernorm")
        key = self._heads(normed, f"{prefix}.self_attn.k_proj", self._shape.key_value_heads)
        value = self._heads(normed, f"{prefix}.self_attn.v_proj", self._shape.key_value_heads)
        if last is not None:
            hidden, normed = self._pick_token(hidden, last), self._pick_token(normed, last)
        query = self._heads(normed, f"{prefix}.self_attn.q_proj", self._shape.heads)
        mixed = self._attend(
            self._rotate(query, queries),
            self._repeat(self._rotate(key, keys)),
            self._repeat(value),
            queries.masks[self._shape.windows[layer]],
        )
        hidden = add("Add", hidden, linear(mixed, f"{prefix}.self_attn.o_proj"))
        normed = self._norm(hidden, f"{prefix}.post_attention_layernorm")
        gate = linear(normed, f"{prefix}.mlp.gate_proj")
        gate = add("Mul", gate, add("Sigmoid", gate))
        gated = add("Mul", gate, linear(normed, f"{prefix}.mlp.up_proj"))
        return add("Add", hidden, linear(gated, f"{prefix}.mlp.down_proj"))

    def _attend(self, query: str, key: str, value: str, mask: str) -> str:
        """(batch, heads, queries, head_size) → (batch, queries, heads × head_size)."""
        add, shape = self._graph.add, self._shape
        query = add("Mul", query, self._graph.number(shape.head_size**-0.5))
        scores = add("MatMul", query, add("Transpose", key, perm=[0, 1, 3, 2]))
        weights = add("Softmax", add("Add", scores, mask), axis=-1)
        mixed = add("Transpose", add("MatMul", weights, value), perm=[0, 2, 1, 3])
        return add("Reshape", mixed, self._graph.integers([0, 0, shape.heads * shape.head_size]))

    def _heads(self, hidden: str, name: str, heads: int) -> str:
        """Project to (batch, heads, tokens, head_size)."""
        sizes = self._graph.integers([0, 0, heads, self._shape.head_size])
        parts = self._graph.add("Reshape", self._graph.linear(hidden, name), sizes)
        return self._graph.add("Transpose", parts, perm=[0, 2, 1, 3])

    def _rotate(self, heads: str, positions: _Positions) -> str:
        """Rotary embedding; cut by Slice, because OpenVINO does not join what a Split cut."""
        add, integers = self._graph.add, self._graph.integers
        half = integers([self._shape.head_size // 2])
        first = add("Slice", heads, integers([0]), half, integers([-1]))
        second = add("Slice", heads, half, integers([2**62]), integers([-1]))
        turned = add("Concat", add("Neg", second), first, axis=-1)
        straight = add("Mul", heads, positions.cosine)
        return add("Add", straight, add("Mul", turned, positions.sine))

    def _repeat(self, heads: str) -> str:
        """Give every query head its key or value head."""
        shape, add = self._shape, self._graph.add
        if shape.key_value_heads == shape.heads:
            return heads
        groups = shape.heads // shape.key_value_heads
        copies = add("Unsqueeze", heads, self._graph.integers([2]))
        copies = add("Expand", copies, self._graph.integers([1, 1, groups, 1, 1]))
        return add("Reshape", copies, self._graph.integers([0, shape.heads, -1, shape.head_size]))

    def _norm(self, hidden: str, name: str) -> str:
        """RMSNorm over the width."""
        add, number = self._graph.add, self._graph.number
        square = add("Pow", hidden, number(2.0))
        mean = add("ReduceMean", square, self._graph.integers([-1]), keepdims=1)
        root = add("Sqrt", add("Add", mean, number(self._shape.epsilon)))
        return add("Mul", add("Div", hidden, root), self._graph.weight(f"{name}.weight"))

    def _pick_token(self, hidden: str, last: str) -> str:
        """(batch, length, width) → (batch, 1, width)."""
        place = self._graph.add("Unsqueeze", last, self._graph.integers([1]))
        picked = self._graph.add("GatherND", hidden, place, batch_dims=1)
        return self._graph.add("Unsqueeze", picked, self._graph.integers([1]))
