"""A graph that reads anything but the weights beside it is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from contract.manifest import GRAPH_NAME, WEIGHTS_NAME, CheckpointError
from engine.checkpoint import BUNDLED_CHECKPOINT
from engine.graph_check import GraphError, check_graph, check_places

GRAPH = (BUNDLED_CHECKPOINT / GRAPH_NAME).read_bytes()
WEIGHTS_BYTES = (BUNDLED_CHECKPOINT / WEIGHTS_NAME).stat().st_size


def find_stored(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(each for each in model.graph.initializer if each.external_data)


def set_place(model: onnx.ModelProto, key: str, value: str) -> None:
    for entry in find_stored(model).external_data:
        if entry.key == key:
            entry.value = value


def add_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(
        helper.make_attribute("value", helper.make_tensor("x", onnx.TensorProto.FLOAT, [1], [1.0]))
    )


def add_function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function("own", "f", [], [], [], [helper.make_opsetid("", 20)])
    )


CHANGES: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "absolute path": (lambda model: set_place(model, "location", "/etc/passwd"), "another file"),
    "folder above": (lambda model: set_place(model, "location", "../x"), "another file"),
    "other file": (lambda model: set_place(model, "location", "config.json"), "another file"),
    "beyond the end": (lambda model: set_place(model, "offset", str(WEIGHTS_BYTES)), "beyond"),
    "too long": (lambda model: set_place(model, "length", str(WEIGHTS_BYTES + 1)), "beyond"),
    "negative": (lambda model: set_place(model, "offset", "-4"), "no number"),
    "no offset": (
        lambda model: find_stored(model).external_data.pop() and None,
        "does not say where",
    ),
    "tensor in a node": (add_attribute, "inside a node"),
    "function": (add_function, "functions"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_graph_that_reads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    change, reason = CHANGES[name]
    model = onnx.load_from_string(GRAPH)
    change(model)
    folder = tmp_path / "checkpoint"
    shutil.copytree(BUNDLED_CHECKPOINT, folder, copy_function=os.link)
    (folder / GRAPH_NAME).unlink()
    (folder / GRAPH_NAME).write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=reason) as error:
        check_graph(folder)
    assert "--onnx-only" in str(error.value) and "\n" not in str(error.value)


def test_the_bundled_graph_is_small_and_whole() -> None:
    check_graph(BUNDLED_CHECKPOINT)
    assert len(GRAPH) < 100_000


def test_a_missing_graph_names_both_remedies(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"--onnx-only .* --engine vllm"):
        check_graph(tmp_path)


def test_a_huge_graph_is_not_read(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(b"")
    (tmp_path / GRAPH_NAME).write_bytes(bytes(1_000_001))
    with pytest.raises(CheckpointError, match="larger than"):
        check_graph(tmp_path)


@given(st.integers(0, len(GRAPH) - 1), st.binary(min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_damage_is_refused_or_harmless_and_never_a_fault(place: int, damage: bytes) -> None:
    changed = GRAPH[:place] + damage + GRAPH[place + len(damage) :]
    try:
        check_places(changed, WEIGHTS_BYTES)
    except GraphError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_an_end(data: bytes) -> None:
    try:
        check_places(data, 0)
    except GraphError:
        return
