"""Files that appear whole, at the end, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tables.errors import FileError


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` that takes its place when the block ends well.

    FileError if it cannot be written.
    """
    temporary = path.with_name(path.name + ".writing")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise FileError(
            f"{path}: cannot be written: {error.strerror or error}; free space or choose another "
            "name, and run it again: the answers are kept"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def open_whole(path: Path, *, encoding: str = "utf-8") -> Iterator[IO[str]]:
    """Open a text file for writing that appears whole, line breaks as they are written."""
    with (
        replace_whole(path) as temporary,
        temporary.open("w", encoding=encoding, newline="") as file,
    ):
        yield file
