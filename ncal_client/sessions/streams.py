"""Streams for blocking programs: one thread takes items and one sends, while the caller reads."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from ncal_client.address import Target
from ncal_client.errors import NcalError, Unreachable
from ncal_client.forms.answers import Result
from ncal_client.forms.items import Item
from ncal_client.sessions.line_exchange import SILENCE_S, LineExchange
from ncal_client.sessions.stream_state import StreamState
from ncal_client.waiting import CONNECT_S, Budget

_RECEIVED_BYTES = 1 << 16


class _Connection:
    """A socket and what is framed on it."""

    def __init__(self, target: Target) -> None:
        self.exchange = LineExchange(target)
        try:
            self._socket = socket.create_connection((target.host, target.port), CONNECT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if target.context is not None:
                self._socket = target.context.wrap_socket(self._socket, server_hostname=target.host)
            self._socket.settimeout(SILENCE_S)
            self.send(self.exchange.begin())
        except OSError as error:
            raise Unreachable(f"{target.url} cannot be reached: {error}") from error

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        try:
            return self._socket.recv(_RECEIVED_BYTES)
        except OSError as error:
            raise Unreachable(f"the connection broke: {error}") from error

    def close(self) -> None:
        """Close it; who is sending or receiving in another thread gets an OSError."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class BlockingStream:
    """One stream of items."""

    def __init__(self, target: Target, items: Iterable[Item], budget: Budget) -> None:
        self._target = target
        self._items = iter(items)
        self._budget = budget
        self._state = StreamState()
        self._changed = threading.Condition()
        """Guards what follows, and the state."""
        self._connection: _Connection | None = None
        self._is_finished = False
        """Whether the connection has got its last line."""
        self._failure: BaseException | None = None
        """Of the iterable."""
        self._is_closed = False

    def run(self, wait: Callable[[float], bool]) -> Iterator[Result]:
        """Yield the results in the order of the items; `wait` sleeps, and says whether the client
        was stopped."""
        for work in (self._pull, self._send):
            threading.Thread(target=work, name="ncal-stream", daemon=True).start()
        try:
            while self._await_work():
                try:
                    yield from self._run_connection()
                except NcalError as error:
                    self._raise_failure()
                    if wait(self._budget.spend(error)):
                        raise
        finally:
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()

    def _await_work(self) -> bool:
        """Wait until a connection is needed; False when all is answered."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure or self._state.is_exhausted or self._state.has_open
            )
            self._raise_failure()
            return not self._state.is_done

    def _run_connection(self) -> Iterator[Result]:
        connection = _Connection(self._target)
        with self._changed:
            self._state.begin()
            self._connection, self._is_finished = connection, False
            self._changed.notify_all()
        try:
            while not connection.exchange.is_over:
                for line in connection.exchange.receive(connection.receive()):
                    yield from self._take(line)
                self._raise_failure()
            self._state.check_over()
        finally:
            with self._changed:
                self._connection = None
            connection.close()

    def _take(self, line: bytes) -> list[Result]:
        with self._changed:
            due = self._state.take_answer(line)
            self._changed.notify_all()
        if due:
            self._budget.renew()
        return due

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _pull(self) -> None:
        """Take items while there is room; the caller gets what is raised meanwhile."""
        try:
            for item in self._items:
                with self._changed:
                    self._state.add(item)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._is_closed or self._state.has_room)
                    if self._is_closed:
                        return
            with self._changed:
                self._state.is_exhausted = True
                self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
                if self._connection is not None:
                    self._connection.close()  # who reads from it wakes up

    def _send(self) -> None:
        """Send what is to be sent, until the caller wants no more."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._can_send())
                connection = self._connection
                if self._is_closed or connection is None:
                    return
                lines = self._state.take_outgoing()
            exchange = connection.exchange
            try:
                connection.send(exchange.frame(lines) if lines else exchange.finish())
            except (OSError, Unreachable):  # whoever reads from it finds out why
                with self._changed:
                    if self._connection is connection:
                        self._connection = None
            else:
                with self._changed:
                    self._is_finished |= not lines and self._connection is connection

    def _can_send(self) -> bool:
        if self._connection is None:
            return False
        return self._state.has_outgoing or (self._state.is_exhausted and not self._is_finished)
