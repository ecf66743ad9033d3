"""Whatever eight MiB say: the event loop is free again in a moment, and little memory is taken."""

import http.client
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import pytest

from tests.e2e.hostile_bodies import Hostile, make_largest
from tests.e2e.hostile_connections import Hurtful, make_hurtful
from tests.e2e.service_process import PATIENT, start_service, wait_until
from tests.e2e.watch import Harm, Watch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="reads clocks and memory from /proc"),
]
MIB = 2**20
MOST_BYTES = 8 * MIB
MOST_GROWTH_MIB = 64.0
LONGEST_HOLD_S = 0.050
"""By processor time."""
WORST = (
    "zeros in .*previous", "names in .*x", "towers in @ for /classify/problem",
    "texts of one character in .*items", "wide turn in .*turns", "escaped pairs in .*text",
    "long texts in .*turns", "long turns in .*turns", "2,000 .* in .*(items|turns).:@",
    "texts in .*input", "long text in .*instructions",
)  # fmt: skip
ALL_FROM = 100_000
"""So many `--bodies` want each shape in each place."""
TRIES = 6
QUIET_S = 0.3
DOCUMENTED = (200, 400, 413, 422, 429, 503, 504)


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """No longer than it is needed: watching takes processor time from all others."""
    folder = tmp_path_factory.mktemp("watched-service")
    file = folder / "holds"
    program = ("tests.e2e.watched_service", str(file))
    with start_service(folder, *PATIENT, program=program) as process:
        yield Watch(process, file)


def test_what_holds_the_loop_is_seen(watch: Watch) -> None:
    watch.begin()
    watch.service.process.send_signal(signal.SIGUSR1)
    assert wait_until(lambda: watch.end().held_s > LONGEST_HOLD_S)


def test_the_largest_bodies(watch: Watch, pytestconfig: pytest.Config) -> None:
    patterns = (".",) if pytestconfig.getoption("--bodies") >= ALL_FROM else WORST
    harms: dict[str, Harm] = {}
    for request in make_largest(MOST_BYTES - 1024, patterns):
        harms[request.name] = measure(watch, partial(send, watch.service.url, request))
    check(harms)


def test_heads_chunks_and_frames(watch: Watch) -> None:
    harms: dict[str, Harm] = {}
    for connection in make_hurtful():
        harms[connection.name] = measure(watch, partial(write, watch.service.url, connection))
    check(harms)


def measure(watch: Watch, act: Callable[[], None]) -> Harm:
    """The least of some tries: another machine on the same processor takes its time too."""
    for _ in range(TRIES):
        watch.begin()
        act()
        harm = watch.end()
        if not is_too_much(harm):
            break
    return harm


def is_too_much(harm: Harm) -> bool:
    return harm.held_s > LONGEST_HOLD_S or harm.grown_mib > MOST_GROWTH_MIB


def check(harms: dict[str, Harm]) -> None:
    assert harms
    too_much = [
        f"{name}: {harm.held_s * 1000:.0f} ms, {harm.grown_mib:.0f} MiB"
        for name, harm in harms.items()
        if is_too_much(harm)
    ]
    assert not too_much, "\n".join(too_much)


def send(url: str, request: Hostile) -> None:
    """What can be classified is waited for no longer than it takes to read it."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    headers = {"Content-Type": request.media_type, "X-Request-Timeout": "2"}
    connection.request("POST", request.path, request.body, headers)
    response = connection.getresponse()
    response.read()
    assert response.status in DOCUMENTED, f"{response.status} for {request.name}"
    connection.close()


def write(url: str, connection: Hurtful) -> None:
    """Write what is taken, and read what is answered, until one side has had enough."""
    host, _, port = urlsplit(url).netloc.partition(":")
    with socket.create_connection((host, int(port))) as client, suppress(OSError):
        client.settimeout(QUIET_S)
        push(client, connection.first)
        if connection.then:
            client.recv(MIB)
            push(client, connection.then)
        while client.recv(MIB):
            pass


def push(client: socket.socket, content: bytes) -> None:
    with suppress(TimeoutError):  # the service reads no more: it waits for its answers to be taken
        client.sendall(content)
