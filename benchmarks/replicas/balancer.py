"""HAProxy with the configuration of deploy/haproxy, in front of replicas on this machine."""

import csv
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load.connection import Address
from benchmarks.systems.processes import run

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy/haproxy/haproxy.cfg"
_START_TIMEOUT_S = 10.0
_SBIN = "/usr/sbin/haproxy"


def find_haproxy() -> str | None:
    """The program, which Debian puts where only root looks; None without one."""
    return shutil.which("haproxy") or (_SBIN if os.access(_SBIN, os.X_OK) else None)


class Balancer:
    """A running HAProxy: where it listens, and its socket for orders."""

    def __init__(self, address: Address, orders: Path) -> None:
        self.address = address
        self._orders = orders

    def tell(self, order: str) -> str:
        """Give an order of HAProxy's runtime API; return what it says, nothing if it agrees."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._orders))
            connection.sendall(order.encode() + b"\n")
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode().strip()

    def set_state(self, replica: str, state: str) -> None:
        """`drain` gives a replica nothing new, `ready` takes it back; RuntimeError if refused."""
        if said := self.tell(f"set server replicas/{replica} state {state}"):
            raise RuntimeError(f"HAProxy refuses the order for {replica}: {said}")

    def read_states(self) -> dict[str, str]:
        """What HAProxy thinks of each replica: UP, DOWN, NOLB, DRAIN or on the way there."""
        table = csv.DictReader(self.tell("show stat").removeprefix("# ").splitlines())
        return {
            row["svname"]: row["status"]
            for row in table
            if row["pxname"] == "replicas" and row["svname"] != "BACKEND"
        }


@contextmanager
def start_balancer(replicas: Mapping[str, Address], folder: Path) -> Iterator[Balancer]:
    """Start HAProxy before these replicas, whether they run or not; by their names.

    RuntimeError when there is no HAProxy, or it does not start.
    """
    program = find_haproxy()
    if program is None:
        raise RuntimeError("there is no HAProxy; install it (Debian, Ubuntu: apt install haproxy)")
    servers = folder / "replicas.cfg"
    lines = [f"    server {name} {each.host}:{each.port}\n" for name, each in replicas.items()]
    servers.write_text("backend replicas\n" + "".join(lines), encoding="utf-8")
    address = Address("127.0.0.1", find_free_port())
    orders = folder / "orders.sock"
    environment = os.environ | make_environment(f"{address.host}:{address.port}", orders)
    command = [program, "-db", "-f", str(CONFIGURATION), "-f", str(servers)]
    with run(command, folder / "haproxy.log", environment=environment) as process:
        end = time.monotonic() + _START_TIMEOUT_S
        while not orders.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"HAProxy did not start; see {folder / 'haproxy.log'}")
            time.sleep(0.02)
        yield Balancer(address, orders)


def make_environment(bind: str, orders: Path) -> dict[str, str]:
    """Return the variables that the configuration reads."""
    return {"BALANCER_BIND": bind, "BALANCER_SOCKET": str(orders)}


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
