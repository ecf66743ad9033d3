"""`ncal`: one word finds its program, and what cannot run says what to do."""

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from ncal.command import describe_programs, main
from ncal.programs import PROGRAMS
from service import __version__
from tests.test_layout import ROOT
from tests.unmeasured import make_unmeasured_environment
from training.commands.parser import parse_command
from training.summaries import SUMMARIES


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for name, program in PROGRAMS.items():
        (line,) = [line for line in said.splitlines() if line.split()[:1] == [name]]
        assert line.endswith(program.summary) and len(line) <= 100


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.strip() == describe_programs()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ncal-serve {__version__}\n"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("servee", "serve"), ("lable", "label"), ("trian", "train"), ("keys", "key")],
)
def test_the_nearest_command_is_suggested(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"did you mean `ncal {meant}`?" in line


def test_what_is_like_no_command_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean" not in line and "`ncal --help`" in line


def test_every_command_of_training_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_command(ArgumentParser(), ["none"])
    listed = capsys.readouterr().err.rpartition("choose from")[2]
    assert set(SUMMARIES) == set(re.findall(r"[a-z]+", listed)) <= set(PROGRAMS)


def test_help_imports_none_of_the_programs() -> None:
    done = run_python(
        "import sys; from ncal.command import main; main(['--help']);"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in "
        "('service', 'labelling', 'training', 'pydantic', 'yaml', 'openvino', 'torch')))"
    )
    assert done.stdout.splitlines()[-1] == "['training', 'training.summaries']"


@pytest.mark.parametrize(
    ("missing", "arguments", "remedy"),
    [
        ("yaml", ["train", "--recipe", "training/recipes/bundled.yaml"], ".[training]"),
        ("uvicorn", ["serve"], "install the application again"),
    ],
)
def test_what_is_not_installed_is_one_line(missing: str, arguments: list[str], remedy: str) -> None:
    done = run_python(
        "import sys, importlib.abc\n"
        "class Missing(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.partition('.')[0] == '{missing}':\n"
        f"            raise ModuleNotFoundError('No module named {missing}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        f"from ncal.command import main; sys.exit(main({arguments!r}))"
    )
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert f"`ncal {arguments[0]}` needs {missing}" in line and remedy in line


def test_a_runtime_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    """It is there, as its wheel is on a system that is too old for it."""
    broken = tmp_path / "openvino"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libtbb.so.12: no such file')\n")
    done = subprocess.run(
        [sys.executable, "-m", "ncal", "serve", "--port", "0"],
        cwd=ROOT,
        env=make_unmeasured_environment() | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("service: ")]
    assert "openvino cannot be imported (libtbb.so.12: no such file); install" in line
    assert "Traceback" not in done.stderr


def test_what_vllm_spawns_prepares_itself_as_ever() -> None:
    """A spawned process runs the main module again: it must be the one that knows how."""
    done = run_python(
        "import multiprocessing.spawn, service.settings\n"
        "def show(arguments):\n"
        "    print(multiprocessing.spawn.get_preparation_data('child')['init_main_from_name'])\n"
        "    raise SystemExit(0)\n"
        "service.settings.read_settings = show\n"
        "from ncal.command import main; main(['serve'])"
    )
    assert done.stdout.split() == ["service.command"], done.stderr


def test_who_reads_no_further_sees_no_fault() -> None:
    """As `ncal --help | head -1`: the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "ncal", "--help"],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
