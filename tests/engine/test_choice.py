"""Which engine runs where."""

from pathlib import Path

import pytest

from engine import choice
from engine.choice import choose_engine
from engine.errors import EngineRefused


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with both runtimes and no GPU; a file in the folder is a device."""
    monkeypatch.setattr(choice, "_DEVICES", tmp_path)
    monkeypatch.setattr(choice, "_is_installed", lambda name: True)
    return tmp_path


def test_without_a_gpu_the_embedded_engine_runs(machine: Path) -> None:
    assert choose_engine("auto")[::2] == ("openvino", "no GPU in sight")


@pytest.mark.parametrize("device", ["nvidia0", "nvidia12", "dxg", "kfd"])
def test_with_a_gpu_vllm_runs(machine: Path, device: str) -> None:
    (machine / device).touch()
    assert choose_engine("auto").name == "vllm"


def test_a_driver_s_control_file_is_no_gpu(machine: Path) -> None:
    (machine / "nvidiactl").touch()
    assert choose_engine("auto").name == "openvino"


def test_without_vllm_the_embedded_engine_runs(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "nvidia0").touch()
    monkeypatch.setattr(choice, "_is_installed", lambda name: name == "openvino")
    assert choose_engine("auto")[::2] == ("openvino", "vLLM is not installed")


@pytest.mark.parametrize("name", ["vllm", "openvino"])
def test_what_is_asked_for_runs(machine: Path, name: choice.EngineName) -> None:
    found = choose_engine(name)
    assert (found.name, found.reason) == (name, "asked for")
    assert found.version[0].isdigit()


@pytest.mark.parametrize("name", ["vllm", "openvino"])
def test_a_missing_runtime_is_one_line_with_its_remedy(
    machine: Path, monkeypatch: pytest.MonkeyPatch, name: choice.EngineName
) -> None:
    monkeypatch.setattr(choice, "_is_installed", lambda name: False)
    with pytest.raises(EngineRefused, match=rf"{name} is not installed; install .*--engine"):
        choose_engine(name)
