"""A hub of one's own on loopback: data sets that are files, and repositories to push into."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_stand_in"


class StandInHub:
    """What the hub holds, and what came in."""

    def __init__(self) -> None:
        self.data_sets: dict[str, dict[str, bytes]] = {}
        """`owner/name`, or `owner/name@revision` → path → content."""
        self.cards: dict[str, dict[str, Any]] = {}
        self.gated: set[str] = set()
        self.repositories: dict[str, dict[str, bytes]] = {}
        """What was pushed."""
        self.private: dict[str, bool] = {}
        self.is_ill = False
        self.address = ""

    def find(self, name: str, revision: str) -> dict[str, bytes] | None:
        if revision == "main":
            return self.data_sets.get(name)
        if revision == COMMIT:  # both branches have it here
            held = [files for key, files in self.data_sets.items() if key.startswith(name)]
            return {path: content for files in held for path, content in files.items()}
        return self.data_sets.get(f"{name}@{revision}")


@contextmanager
def run_hub() -> Iterator[StandInHub]:
    """Serve a hub on a free port until the block ends."""
    hub = StandInHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self._answer_get()

    def do_GET(self) -> None:
        self._answer_get()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts == ["api", "validate-yaml"]:
            self._send(200, {"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[4:5] == ["preupload"]:
            files = json.loads(body)["files"]
            modes = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in files
            ]
            self._send(200, {"files": modes})
        elif parts[4:5] == ["commit"]:
            self._commit("/".join(parts[2:4]), body)
        else:
            self._send(404, {"error": "Not Found"})

    def _create(self, asked: dict[str, Any]) -> None:
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        self.hub.repositories.setdefault(name, {})
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.private.setdefault(name, bool(private))
        self._send(200, {"url": f"{self.hub.address}/{name}", "name": name})

    def _commit(self, name: str, body: bytes) -> None:
        if self.hub.is_ill:
            self._send(403, {"error": "Storage is full"})
            return
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                self.hub.repositories[name][entry["value"]["path"]] = content
        address = f"{self.hub.address}/{name}/commit/{COMMIT}"
        self._send(200, {"success": True, "commitOid": COMMIT, "commitUrl": address})

    def _answer_get(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts == ["api", "whoami-v2"]:
            is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            orgs = [{"name": "school"}]
            who = {"type": "user", "name": "stranger", "orgs": orgs}
            self._send(200 if is_known else 401, who if is_known else {"error": "Unauthorized"})
        elif parts[:2] == ["api", "datasets"]:
            revision = "/".join(parts[5:]) if parts[4:5] == ["revision"] else "main"
            self._tell_data_set("/".join(parts[2:4]), revision)
        elif parts[:1] == ["datasets"] and parts[3:4] == ["resolve"]:
            self._send_file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        else:
            self._send(404, {"error": "Not Found"}, {"X-Error-Code": "RepoNotFound"})

    def _tell_data_set(self, name: str, revision: str) -> None:
        files = self.hub.find(name, revision)
        if name in self.hub.gated:
            self._send(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        elif self.hub.is_ill:
            self._send(500, {"error": "Internal error"})
        elif files is None:
            is_known = any(each.partition("@")[0] == name for each in self.hub.data_sets)
            code = "RevisionNotFound" if is_known else "RepoNotFound"
            self._send(404, {"error": code}, {"X-Error-Code": code})
        else:
            told = {
                "id": name,
                "sha": COMMIT,
                "siblings": [{"rfilename": path} for path in files],
                "cardData": self.hub.cards.get(name),
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "private": False,
            }
            self._send(200, told)

    def _send_file(self, name: str, revision: str, path: str) -> None:
        files = self.hub.find(name, revision) or {}
        if path not in files:
            self._send(404, {"error": "none"}, {"X-Error-Code": "EntryNotFound"})
            return
        content = files[path]
        tag = hashlib.sha1(content).hexdigest()
        self._send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def _send(
        self, status: int, content: bytes | dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
