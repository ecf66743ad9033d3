"""An environment with infinity, a peer that fits into none of ours, and a checkpoint for it.

`python -m benchmarks.systems.infinity [FOLDER]`: it wants an older transformers. Then
`python -m benchmarks.serving --with-infinity`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path("build/infinity")
PROGRAM = FOLDER / "bin" / "infinity_emb"
_PACKAGES = ("torch==2.13.0+cpu", "infinity-emb[server,torch]==0.0.77", "click<8.2")
"""Its own list lets in a click that its command line does not start with."""
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def write_older_form(checkpoint: Path, folder: Path) -> None:
    """Write a copy of the checkpoint that transformers 4 reads: it names two things otherwise."""
    shutil.copytree(checkpoint, folder)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer.pop("extra_special_tokens", None)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.update(config.pop("rope_parameters", None) or {})
    config.pop("rope_type", None)
    for name, content in (("tokenizer_config.json", tokenizer), ("config.json", config)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.systems.infinity", description=__doc__
    )
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    venv.create(folder, with_pip=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", *_PACKAGES]
    # Where pip is set up with the CPU build of torch, PyTorch's own index is not asked.
    done = subprocess.run(install, check=False)
    if done.returncode:
        done = subprocess.run([*install, "--extra-index-url", _TORCH_INDEX], check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
