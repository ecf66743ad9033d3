"""API keys: kept as sha256 hashes, compared in constant time, made with one command.

`ncal key [NAME]` makes a key and the entry for the key file.
"""

import hashlib
import hmac
import re
import secrets
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class KeyFormatError(ValueError):
    """A list of key hashes that cannot be used; the message never quotes an entry."""


class ApiKeys:
    """The keys that may use the service: client name by sha256 of its key.

    A key holds 256 random bits, so its plain sha256 cannot be guessed back.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names` maps the sha256 of a key, in hex, to the name of its client."""
        self._hashes = tuple((digest.encode(), name) for digest, name in names.items())

    def __len__(self) -> int:
        return len(self._hashes)

    @classmethod
    def read(cls, text: str, file: Path | None) -> Self:
        """Read the entries of a setting and of a file; either may be empty.

        An entry is `name:sha256` or `sha256` alone; commas or line ends part them, and
        `#` begins a comment. Raises KeyFormatError.
        """
        names = _parse(text, "api_key_hashes")
        if file is not None:
            try:
                content = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise KeyFormatError(
                    f"api_key_file {file} cannot be read ({type(error).__name__}); it must be a "
                    "text file that the user of the service may read (`chown`, `chmod 400`)"
                ) from error
            names |= _parse(content, str(file))
            if not names:
                raise KeyFormatError(f"api_key_file {file} holds no key hash")
        return cls(names)

    def find_client(self, key: bytes) -> str | None:
        """Return the name of the client whose key it is, None if nobody's.

        Every hash is compared, whichever matches, so the time taken tells nothing.
        """
        digest = hashlib.sha256(key).hexdigest().encode()
        found: str | None = None
        for known, name in self._hashes:
            if hmac.compare_digest(known, digest):
                found = name
        return found


def make_key() -> tuple[str, str]:
    """Return a new key, 256 random bits, and its sha256 in hex."""
    key = "ncal_" + secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


def _parse(text: str, source: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        for entry in line.partition("#")[0].split(","):
            if not (entry := entry.strip()):
                continue
            name, _, digest = entry.rpartition(":")
            digest = digest.strip().lower()
            name = name.strip() or digest[:8]
            if not _HASH.fullmatch(digest) or not _NAME.fullmatch(name):
                raise KeyFormatError(
                    f"{source}, line {number}: not `name:sha256`; "
                    "make a key and its hash with `ncal key`"
                )
            if digest in names or name in names.values():
                raise KeyFormatError(f"{source}, line {number}: this key or name appears twice")
            names[digest] = name
    return names


def parse_name(arguments: Sequence[str]) -> str | None:
    """The client's name, None if it has none; what is no name ends the process with status 2."""
    parser = ArgumentParser(
        prog="ncal key", description="Make an API key and the entry that lets the service know it."
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="of the client, for logs and metrics"
    )
    name: str | None = parser.parse_args(arguments).name
    if name is not None and not _NAME.fullmatch(name):
        parser.error("a name has up to 64 letters, digits and the signs - _ .")
    return name


def main(arguments: Sequence[str]) -> int:
    """Print a new key and the entry for its client."""
    name = parse_name(arguments)
    key, digest = make_key()
    print(f"key (show it to the client once): {key}")
    print(f"entry (--api-key-hashes, or a line of --api-key-file): {name or digest[:8]}:{digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
