"""API keys: kept as sha256 hashes, compared in constant time, made with one command.

`ncal key [NAME]` makes a key and the entry for the key file. The file is read again when it
changes: a key comes and goes without a restart.
"""

import datetime
import hashlib
import hmac
import logging
import os
import re
import secrets
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from service.observability.logs import log

KeyScope = Literal["classify", "metrics", "admin"]
"""What a key may do: have items classified, read `/metrics`, or all there is."""
_USUAL_SCOPES: frozenset[KeyScope] = frozenset(("classify", "metrics"))
_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LOOK_INTERVAL_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientKey:
    """Whose a key is, and what it may do."""

    name: str
    scopes: frozenset[KeyScope] = _USUAL_SCOPES
    expires: datetime.date | None = None
    """Its last day, in UTC."""
    items_per_day: int | None = None

    def may(self, scope: KeyScope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class KeyFormatError(ValueError):
    """A list of key hashes that cannot be used; the message never quotes an entry."""


class ApiKeys:
    """The keys that may use the service, by the sha256 of each.

    A key holds 256 random bits, so its plain sha256 cannot be guessed back.
    """

    def __init__(self, names: Mapping[str, str | ClientKey]) -> None:
        """`names` maps the sha256 of a key, in hex, to its client, or the name of that."""
        self._keys = _list_keys(names)
        self._read_again: Callable[[], Mapping[str, ClientKey]] | None = None
        self._file = Path()
        self._state: tuple[int, ...] | None = None
        self._looked_at = 0.0

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def read(cls, text: str, file: Path | None) -> Self:
        """Read the entries of a setting and of a file; either may be empty.

        An entry is `name:sha256` or `sha256` alone, and behind it, parted by spaces,
        `scopes=classify+metrics`, `expires=2027-01-31` and `items_per_day=100000`. Commas or line
        ends part entries, and `#` begins a comment. Raises KeyFormatError.
        """
        if file is None:
            return cls(_parse(text, "api_key_hashes"))
        state = _find_state(file)
        keys = cls(_read(text, file))
        keys._file, keys._state = file, state
        keys._read_again = lambda: _read(text, file)
        return keys

    def find_client(self, key: bytes) -> ClientKey | None:
        """Return the client whose key it is, None if nobody's, or no longer.

        Every hash is compared, whichever matches, so the time taken tells nothing.
        """
        self._look_for_changes()
        digest = hashlib.sha256(key).hexdigest().encode()
        found: ClientKey | None = None
        for known, client in self._keys:
            if hmac.compare_digest(known, digest):
                found = client
        if found is None or (found.expires is not None and found.expires < _today()):
            return None
        return found

    def _look_for_changes(self) -> None:
        """Read the file again when it has changed; one that cannot be used changes nothing."""
        now = time.monotonic()
        if self._read_again is None or now - self._looked_at < _LOOK_INTERVAL_S:
            return
        self._looked_at = now
        state = _find_state(self._file)
        if state == self._state:
            return
        self._state = state
        try:
            self._keys = _list_keys(self._read_again())
        except KeyFormatError as error:
            log("keys stay as they were", level=logging.ERROR, reason=str(error))
        else:
            log("keys read again", keys=len(self._keys))


def make_key() -> tuple[str, str]:
    """Return a new key, 256 random bits, and its sha256 in hex."""
    key = "ncal_" + secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def _list_keys(names: Mapping[str, str | ClientKey]) -> tuple[tuple[bytes, ClientKey], ...]:
    return tuple(
        (digest.encode(), ClientKey(name=each) if isinstance(each, str) else each)
        for digest, each in names.items()
    )


def _find_state(file: Path) -> tuple[int, ...] | None:
    """What changes when a file is written, or another put in its place."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(text: str, file: Path) -> dict[str, ClientKey]:
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFormatError(
            f"api_key_file {file} cannot be read ({type(error).__name__}); it must be a "
            "text file that the user of the service may read (`chown`, `chmod 400`)"
        ) from error
    keys = _parse(text, "api_key_hashes") | _parse(content, str(file))
    if not keys:
        raise KeyFormatError(f"api_key_file {file} holds no key hash")
    return keys


def _parse(text: str, source: str) -> dict[str, ClientKey]:
    keys: dict[str, ClientKey] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        for entry in line.partition("#")[0].split(","):
            if not entry.strip():
                continue
            place = f"{source}, line {number}"
            digest, key = _parse_entry(entry, place)
            if digest in keys or key.name in {each.name for each in keys.values()}:
                raise KeyFormatError(f"{place}: this key or name appears twice")
            keys[digest] = key
    return keys


def _parse_entry(entry: str, place: str) -> tuple[str, ClientKey]:
    name, _, rest = entry.strip().rpartition(":")
    digest, *options = rest.split() or [""]
    digest = digest.lower()
    name = name.strip() or digest[:8]
    if not _HASH.fullmatch(digest) or not _NAME.fullmatch(name):
        raise KeyFormatError(f"{place}: not `name:sha256`; make a key and its hash with `ncal key`")
    try:
        return digest, _read_options(name, options)
    except ValueError:
        raise KeyFormatError(
            f"{place}: behind the hash may stand `scopes=` with {' + '.join(get_args(KeyScope))}, "
            "`expires=` with a date as in 2027-01-31, and `items_per_day=` with a number"
        ) from None


def _read_options(name: str, options: Sequence[str]) -> ClientKey:
    """Return the client; ValueError when an option is none, or says nothing that it may."""
    given = dict(option.split("=") for option in options)
    scopes = frozenset(given.pop("scopes", "classify+metrics").split("+"))
    expires = given.pop("expires", None)
    items = given.pop("items_per_day", None)
    if given or not scopes <= set(get_args(KeyScope)) or (items and int(items) < 1):
        raise ValueError
    return ClientKey(
        name=name,
        scopes=frozenset(scope for scope in get_args(KeyScope) if scope in scopes),
        expires=None if expires is None else datetime.date.fromisoformat(expires),
        items_per_day=None if items is None else int(items),
    )


def parse_entry(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the client's name, None if it has none, and the options of its entry.

    What cannot be used ends the process with status 2.
    """
    parser = ArgumentParser(
        prog="ncal key", description="Make an API key and the entry that lets the service know it."
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="of the client, for logs and metrics"
    )
    parser.add_argument(
        "--scopes", metavar="SCOPES", help="classify, metrics or admin, parted by +"
    )
    parser.add_argument("--expires", metavar="DATE", help="its last day in UTC, as in 2027-01-31")
    parser.add_argument("--items-per-day", metavar="COUNT", help="items that it may send a day")
    parsed = parser.parse_args(arguments)
    name: str | None = parsed.name
    if name is not None and not _NAME.fullmatch(name):
        parser.error("a name has up to 64 letters, digits and the signs - _ .")
    given = {each: getattr(parsed, each) for each in ("scopes", "expires", "items_per_day")}
    options = [f"{option}={value}" for option, value in given.items() if value is not None]
    try:
        _read_options("name", options)
    except ValueError:
        parser.error(
            "scopes are classify, metrics and admin, parted by +; dates look like 2027-01-31; "
            "a count is at least 1"
        )
    return name, options


def main(arguments: Sequence[str]) -> int:
    """Print a new key and the entry for its client."""
    name, options = parse_entry(arguments)
    key, digest = make_key()
    entry = " ".join([f"{name or digest[:8]}:{digest}", *options])
    print(f"key (show it to the client once): {key}")
    print(f"entry (--api-key-hashes, or a line of --api-key-file): {entry}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
