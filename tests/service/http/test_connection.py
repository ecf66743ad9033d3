"""Clients that are slow to say what they want, against real sockets."""

import asyncio
import json
import socket
from contextlib import suppress

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

HEAD = b"GET /labels HTTP/1.1\r\nHost: here\r\n"
POST = (
    b"POST /classify/problem HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b'Content-Length: 14\r\n\r\n{"text": '
)
TIMEOUT_S = 0.2


async def open_connection(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.partition(":")
    return await asyncio.open_connection(host, int(port))


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return the status line; the whole answer is taken from the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    await reader.readexactly(size)
    return head.partition(b"\r\n")[0]


@pytest.mark.parametrize("sent", [b"", b"G", HEAD, b"\r\n\r\n"])
@pytest.mark.parametrize("is_second", [False, True])
async def test_a_head_that_never_ends_is_closed(sent: bytes, is_second: bool) -> None:
    async with (
        run_fake_service() as service,
        serve(service.app, head_timeout_s=TIMEOUT_S, timeout_keep_alive=1) as address,
    ):
        reader, writer = await open_connection(address)
        if is_second:
            writer.write(HEAD + b"\r\n")
            assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_a_head_that_comes_drop_by_drop_gains_no_time() -> None:
    async with (
        run_fake_service() as service,
        serve(service.app, head_timeout_s=TIMEOUT_S) as address,
    ):
        reader, writer = await open_connection(address)
        writer.write(HEAD)

        async def drip() -> None:
            while True:
                writer.write(b"X-Drop: 1\r\n")
                await asyncio.sleep(TIMEOUT_S / 10)

        dripping = asyncio.create_task(drip())
        with pytest.raises(ConnectionResetError):  # or an end, when no drop was in flight
            assert await asyncio.wait_for(reader.read(), 30) == b""
            raise ConnectionResetError
        dripping.cancel()
        writer.close()


async def test_headers_without_end_are_refused() -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        writer.write(HEAD + b"X-Long: 1\r\n" * 1000 + b"\r\n")
        assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        long = HEAD + b"X-Long: "
        writer.write(long + b"1" * (64 * 1024 + 1 - len(long)))
        assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_the_rest_of_a_refused_body_is_no_head() -> None:
    """A client may still be sending when it is answered."""
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 300000\r\n\r\n")
        assert await read_answer(reader) == b"HTTP/1.1 404 Not Found"
        writer.write(b"x" * 299_000)
        await asyncio.sleep(0.1)
        writer.write(b"x" * 1000 + HEAD + b"\r\n")
        assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        writer.close()


async def test_the_last_part_of_a_body_that_is_refused_on_the_way_is_no_head() -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        body = b"[" * 450_000
        writer.write(POST.replace(b'14\r\n\r\n{"text": ', b"450000\r\n\r\n") + body)
        assert await read_answer(reader) == b"HTTP/1.1 422 Unprocessable Entity"
        await asyncio.sleep(0.1)
        writer.write(HEAD + b"\r\n")
        assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        writer.close()


CHUNKED = (
    b"POST /classify/problem HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
BODY = b'd\r\n{"text": "x"}\r\n'


async def test_what_stands_behind_a_chunked_body_is_no_header() -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        writer.write(CHUNKED + BODY + b"0\r\nX-Request-Timeout: x\r\n\r\n")
        assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        writer.close()


@pytest.mark.parametrize("line", [b"X-Long: 1\r\n", b"1" * 1000, b"X-Long: " + b"1" * 1000])
@pytest.mark.parametrize("begun", [b"0\r\n", b"1;"])
async def test_trailers_without_end_are_refused(begun: bytes, line: bytes) -> None:
    """And words that belong to a chunk: neither is body, and neither has a limit of its own."""
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        writer.write(CHUNKED + BODY + begun)
        answer = asyncio.create_task(reader.readline())
        for _ in range(2_000_000 // len(line)):
            if answer.done():
                break
            writer.write(line)
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(answer, 30)).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_what_is_no_http_is_answered_like_every_error() -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        writer.write(b"NONSENSE\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 30)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/problem+json" in head
        assert json.loads(body)["status"] == 400
        writer.close()


MIB = 2**20


@pytest.mark.parametrize("size", [50_000, 32 * MIB])
async def test_a_client_that_takes_nothing_of_its_answer_is_gone(size: int) -> None:
    """Of one large answer, or of many that it asked for at once."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b"x" * size)(scope, receive, send)

    async with serve(answer, stall_timeout_s=TIMEOUT_S, timeout_keep_alive=1) as address:
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port))) as client:
            client.settimeout(30)
            count = 1 if size > MIB else 640
            client.sendall((HEAD + b"\r\n") * count)
            await asyncio.sleep(5 * TIMEOUT_S)
            taken = 0
            with suppress(ConnectionResetError):
                while part := client.recv(MIB):
                    taken += len(part)
            assert taken < size * count


async def test_slow_bodies_and_slow_answers_are_not_cut() -> None:
    async with (
        run_fake_service() as service,
        serve(service.app, head_timeout_s=TIMEOUT_S) as address,
    ):
        reader, writer = await open_connection(address)
        service.engine.open.clear()
        writer.write(POST)
        await asyncio.sleep(3 * TIMEOUT_S)
        writer.write(b'"x"} ' + HEAD)  # and the next head begins while the answer is awaited
        await asyncio.sleep(3 * TIMEOUT_S)
        service.engine.open.set()
        assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        writer.write(b"\r\n")
        assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        writer.close()


async def test_a_live_dialogue_outlasts_the_limit() -> None:
    async with (
        run_fake_service() as service,
        serve(service.app, head_timeout_s=TIMEOUT_S) as address,
        connect(f"ws://{address}/classify/dialogue/live") as live,
    ):
        await asyncio.sleep(3 * TIMEOUT_S)
        await live.send('{"type": "ping"}')
        assert "ready" in str(await live.recv())
        assert "pong" in str(await live.recv())


@pytest.mark.parametrize(
    "sent",
    [
        (HEAD + b"\r\n") * 100,
        b"GET / HTTP/1.1\r\n\r\n" * 100,
        HEAD + b"a:b\r\n" * 33_000 + b"\r\n",
        b"GET /labels?" + b"a&" * 256 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
    ],
    ids=["requests", "short requests", "one long head", "fields of a query"],
)
async def test_too_much_in_one_piece_is_refused(sent: bytes) -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        writer.write(sent)
        with suppress(ConnectionResetError):  # what was not read is thrown away
            answered = await asyncio.wait_for(reader.read(), 30)
            assert answered.endswith(b'"status":400}') or b'"status":400' in answered
            assert answered.count(b"HTTP/1.1 200 OK") <= 32
        writer.close()
        assert (await service.client.get("/labels")).status_code == 200


async def test_requests_in_a_row_are_answered_in_their_order() -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await open_connection(address)
        writer.write((HEAD + b"\r\n") * 20)
        for _ in range(20):
            assert await read_answer(reader) == b"HTTP/1.1 200 OK"
        writer.close()


async def test_frames_in_one_piece_are_all_taken_in_parts() -> None:
    """More than are taken apart in one go; nothing is lost, and the dialogue goes on."""
    ping = b'{"type": "ping"}'
    frame = bytes((0x81, 0x80 | len(ping))) + b"\0\0\0\0" + ping
    async with (
        run_fake_service() as service,
        serve(service.app, ws_max_size=4096, ws_per_message_deflate=False) as address,
        connect(f"ws://{address}/classify/dialogue/live") as live,
    ):
        await live.recv()
        live.transport.write(frame * 2000)
        heard = [json.loads(await asyncio.wait_for(live.recv(), 30)) for _ in range(2000)]
        assert heard == [{"type": "pong"}] * 2000
        await live.send('{"type": "end"}')
        assert json.loads(await live.recv())["reason"] == "end"
