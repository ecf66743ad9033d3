"""Makes an environment with infinity, a peer that fits into none of ours.

`python -m benchmarks.infinity [FOLDER]`: it wants an older transformers. Then
`python -m benchmarks.serving --with-infinity`.
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path("build/infinity")
PROGRAM = FOLDER / "bin" / "infinity_emb"
_PACKAGES = ("torch==2.13.0+cpu", "infinity-emb[server,torch]==0.0.77")
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.infinity", description=__doc__)
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
