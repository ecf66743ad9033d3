"""Triton's CUDA module, compiled when the GPU image is built, so that it needs no compiler.

Triton (3.7.1, as locked) compiles one C file, its own `backends/nvidia/driver.c`, where it
first meets a GPU; its kernels it makes without a C compiler. As a program, in the build, this
has Triton compile that file and puts the module beside itself. At run time the image says
TRITON_CACHE_MANAGER=prebuilt_triton:PrebuiltCache, and Triton finds the module there. What
it compiles for the GPU lies where TRITON_CACHE_DIR says, as ever.
"""

# Triton comes with the GPU's packages alone, and without types.
# mypy: disable-error-code="import-not-found, import-untyped"

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from triton.runtime.cache import FileCacheManager

HERE = Path(__file__).resolve().parent
DRIVER = "libcuda.so.1"
MODULE = "cuda_utils"


class PrebuiltCache(FileCacheManager):  # type: ignore[misc]
    """Triton's cache of files, in which the module beside this file is always found."""

    def get_file(self, filename: str) -> str | None:
        """Return where a cached file lies, or None if it has to be made.

        The module is known by its name: an image holds one Triton, and the keys of newer ones
        depend on where the driver lies, which only the machine knows.
        """
        prebuilt = HERE / filename
        if filename.startswith(f"{MODULE}.") and prebuilt.exists():
            return str(prebuilt)
        found: str | None = super().get_file(filename)
        return found


def stand_in_for_driver(folder: Path) -> None:
    """Load an empty library of the driver's name, as a machine that builds has no driver.

    Its functions are looked up when they are called, which nothing here does.
    """
    library = folder / DRIVER
    link = ["gcc", "-shared", f"-Wl,-soname,{DRIVER}", "-o", str(library), "-x", "c", os.devnull]
    subprocess.run(link, check=True)
    ctypes.CDLL(str(library))
    sys.setdlopenflags(os.RTLD_LAZY)
    os.environ["TRITON_LIBCUDA_PATH"] = str(folder)


def compile_module(folder: Path) -> Path:
    """Have Triton compile its module into a folder; return where it lies."""
    stand_in_for_driver(folder)
    # Debian's gcc leaves out a library that gives no symbol, as the empty one does.
    compiler = folder / "compiler"
    compiler.write_text('#!/bin/sh\nexec gcc -Wl,--no-as-needed "$@"\n', encoding="utf-8")
    compiler.chmod(0o755)
    os.environ |= {"CC": str(compiler), "TRITON_CACHE_DIR": str(folder)}
    from triton.backends.nvidia.driver import CudaUtils

    CudaUtils()
    [module] = folder.glob(f"*/{MODULE}.*.so")
    return module


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(compile_module(Path(name)), HERE)
