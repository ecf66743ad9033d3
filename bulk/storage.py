"""Folders where the data lies: of this machine, or of an object store, all alike.

`s3://`, `gs://`, `hdfs://` and the other addresses that Arrow knows, with their credentials where
their own clients look for them (for S3 the variables of AWS). What is written appears whole or
not at all: an object store shows an object when all of it is there, elsewhere a file is renamed.
"""

import json
import shutil
import uuid
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from tables.errors import FileError

_OBJECT_STORES = ("s3", "gcs", "abfs")
_WRITING = ".writing"


class StoredFile(NamedTuple):
    """A file of a folder."""

    name: str
    """Below the folder."""
    size: int


class Place:
    """A folder, or a single file, at an address."""

    def __init__(self, uri: str) -> None:
        """FileError for an address that Arrow does not know, or whose store cannot be used."""
        self.uri = uri
        try:
            if "://" in uri:
                self.fs, self.path = fs.FileSystem.from_uri(uri)
            else:
                self.fs, self.path = fs.LocalFileSystem(), Path(uri).resolve().as_posix()
            self.path = self.path.rstrip("/")
            own = self.fs.get_file_info(self.path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FileError(f"{hide_query(uri)}: {_shorten(error)}") from error
        self._single: StoredFile | None = None
        if own.type == fs.FileType.File:
            self.path, _, name = self.path.rpartition("/")
            self._single = StoredFile(name, own.size)
        self._is_object_store = self.fs.type_name in _OBJECT_STORES

    def list_files(self) -> list[StoredFile]:
        """All files in it, folders within folders too, by name; of a single file that one.

        What begins with a dot or an underscore is no data, by the custom of the field.
        """
        if self._single:
            return [self._single]
        try:
            found = self.fs.get_file_info(
                fs.FileSelector(self.path, recursive=True, allow_not_found=True)
            )
        except (pa.ArrowException, OSError) as error:
            raise self._explain(error) from error
        below = len(self.path) + 1
        files = [
            StoredFile(info.path[below:], info.size)
            for info in found
            if info.type == fs.FileType.File
        ]
        return sorted(each for each in files if not _is_hidden(each.name))

    def open(self, name: str) -> Any:
        """A file of it for reading, unpacked if its name says that it is packed."""
        return self.fs.open_input_stream(self.join(name), compression="detect")

    def open_at_random(self, name: str) -> Any:
        """A file of it for reading any part."""
        return self.fs.open_input_file(self.join(name))

    def read_json(self, name: str) -> Any:
        """The content of a small file; None if there is none."""
        try:
            if self.fs.get_file_info(self.join(name)).type != fs.FileType.File:
                return None
            with self.open_at_random(name) as file:
                return json.loads(file.read())
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._explain(error) from error

    def write_json(self, name: str, content: Any) -> None:
        """Write a small file, whole or not at all."""
        text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
        with self._open_whole(name) as sink:
            sink.write(text.encode())

    def put(self, name: str, local: Path) -> None:
        """Bring a file of this machine there, whole or not at all."""
        with self._open_whole(name) as sink, local.open("rb") as source:
            shutil.copyfileobj(source, sink, 1 << 20)

    def delete(self, name: str) -> None:
        """Remove a folder of it with all that it holds, if it is there."""
        try:
            if self.fs.get_file_info(self.join(name)).type == fs.FileType.Directory:
                self.fs.delete_dir(self.join(name))
        except (pa.ArrowException, OSError) as error:
            raise self._explain(error) from error

    def join(self, name: str) -> str:
        """The path of a file of it within its file system."""
        return f"{self.path}/{name}"

    def contains(self, other: "Place") -> bool:
        """Whether the other place is this one or lies below it."""
        return self.fs.type_name == other.fs.type_name and f"{other.path}/".startswith(
            f"{self.path}/"
        )

    def _open_whole(self, name: str) -> "_WholeFile":
        return _WholeFile(self, name, renames=not self._is_object_store)

    def _explain(self, error: Exception) -> FileError:
        return FileError(f"{hide_query(self.uri)}: {_shorten(error)}")


class _WholeFile:
    """A file that is there once the block has ended well."""

    def __init__(self, place: Place, name: str, *, renames: bool) -> None:
        self._fs, self._target, self._renames = place.fs, place.join(name), renames
        path = PurePosixPath(self._target)
        self._folder = path.parent.as_posix()
        hidden = f".{path.name}.{uuid.uuid4().hex}{_WRITING}"
        self._path = f"{self._folder}/{hidden}" if renames else self._target
        self._place = place

    def __enter__(self) -> Any:
        try:
            if self._renames:
                self._fs.create_dir(self._folder, recursive=True)
            self._sink = self._fs.open_output_stream(self._path)
        except (pa.ArrowException, OSError) as error:
            raise self._place._explain(error) from error
        return self._sink

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._sink.close()
            if error is not None:  # an object store shows now what there is of it
                self._fs.delete_file(self._path)
            elif self._renames:
                self._fs.move(self._path, self._target)
        except (pa.ArrowException, OSError) as failure:
            raise self._place._explain(failure) from failure


def name_below(uri: str, name: str) -> str:
    """The address of a folder below another."""
    head, mark, query = uri.partition("?")
    return f"{head.rstrip('/')}/{name}{mark}{query}"


def hide_query(uri: str) -> str:
    """An address without what may hold keys, for messages and records."""
    parts = urlsplit(uri)
    if not parts.scheme or "://" not in uri:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
