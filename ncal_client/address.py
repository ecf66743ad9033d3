"""Where a service is, and what every request to it carries."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection that lasts goes."""

    url: httpx2.URL
    headers: Mapping[str, str]
    context: ssl.SSLContext | None
    """For https and wss."""
    uses_proxy: bool
    """Whether a proxy that the environment names is asked."""

    @property
    def host(self) -> str:
        return self.url.host

    @property
    def port(self) -> int:
        return self.url.port or (80 if self.context is None else 443)


class Address:
    """The address of a service and the key to it."""

    def __init__(self, url: str, key: str | None, context: ssl.SSLContext | None) -> None:
        """ValueError for what is no address."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url}: must begin with http:// or https://")
        self.url = url.rstrip("/")
        self.headers = {"user-agent": f"ncal-client/{VERSION}", "accept": "application/json"}
        if key:
            self.headers["authorization"] = f"Bearer {key}"
        host = httpx2.URL(url).host
        self.uses_proxy = host not in _LOOPBACK
        """A proxy of the environment cannot see this machine's own addresses."""
        is_secure = url.startswith("https://")
        self.context = (context or httpx2.create_ssl_context()) if is_secure else None

    def make_target(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Target:
        """Return where a stream goes."""
        url = httpx2.URL(self.url + path, params=dict(query))
        return Target(url, {**self.headers, **headers}, self.context, self.uses_proxy)

    def make_live_target(self, path: str, query: Mapping[str, str]) -> Target:
        """Return where a live dialogue is."""
        url = httpx2.URL("ws" + self.url.removeprefix("http") + path, params=dict(query))
        headers = {name: value for name, value in self.headers.items() if name == "authorization"}
        return Target(url, headers, self.context, self.uses_proxy)
