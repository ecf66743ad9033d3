"""Streams and live dialogues with the real engine, and what signals do to them."""

import asyncio
import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.e2e.service_process import ServiceProcess, start_service
from tests.e2e.streams import (
    PROBLEMS,
    begin_endless_stream,
    get_address,
    hear_out,
    make_problems,
)
from tests.service.duplex_client import open_stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPOKEN = [
    ("teacher", "三角形的内角和是多少度？"),
    ("student", "一百八十度。"),
    ("teacher", "对，那我们用这个来求第三个角。"),
    ("student", "好的，我试试。"),
]


def make_turns() -> list[dict[str, Any]]:
    return [{"speaker": speaker, "text": text} for speaker, text in SPOKEN]


async def stream_all(service: ServiceProcess, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    async with open_stream(get_address(service), PROBLEMS) as client:
        sending = asyncio.create_task(client.send_items(*items))
        await client.read_head()
        await sending
        await client.finish()
        return await client.read_all()


async def speak(service: ServiceProcess, *, then_end: bool) -> list[dict[str, Any]]:
    """Say all turns; return everything heard."""
    url = f"ws://{get_address(service)}/classify/dialogue/live"
    async with websockets.connect(url) as connection:
        with suppress(websockets.ConnectionClosed):  # the end is still to be heard
            for turn in make_turns():
                await connection.send(json.dumps({"type": "turn", **turn}))
            if then_end:
                await connection.send(json.dumps({"type": "end"}))
        return [json.loads(message) async for message in connection]


def pick(results: list[dict[str, Any]], final: bool) -> dict[int, dict[str, float]]:
    return {
        result["index"]: result["prediction"]["probabilities"]
        for result in results
        if result["type"] == "label" and result["final"] is final
    }


def check_answers(service: ServiceProcess) -> None:
    """A stream says what a batch says, and a live dialogue what a whole one says."""
    problems = make_problems(600)
    *results, end = asyncio.run(stream_all(service, problems))
    assert (end["reason"], end["ok"], end["failed"]) == ("complete", 600, 0)
    with httpx.Client(base_url=service.url, timeout=120) as client:
        batch = client.post("/classify/problem/batch", json={"items": problems}).json()
        modes = {
            mode: client.post("/classify/dialogue", json={"turns": make_turns(), "mode": mode})
            for mode in ("live", "retrospective")
        }
    results.sort(key=lambda result: result["index"])
    for ours, theirs in zip(results, batch["results"], strict=True):
        assert ours["id"] == theirs["id"]
        expected = pytest.approx(theirs["prediction"]["probabilities"], abs=1e-4)
        assert ours["prediction"]["probabilities"] == expected
    heard = asyncio.run(speak(service, then_end=True))
    assert heard[-1] == {"type": "end", "reason": "end", "turns": 4}
    for final, mode in ((False, "live"), (True, "retrospective")):
        for turn in modes[mode].json()["turns"]:
            expected = pytest.approx(turn["prediction"]["probabilities"], abs=1e-4)
            assert pick(heard, final)[turn["index"]] == expected


async def stop_while_streaming(service: ServiceProcess) -> list[dict[str, Any]]:
    """Send SIGTERM in the middle of a stream and of a dialogue; return the stream's rest."""
    async with open_stream(get_address(service), PROBLEMS) as client:
        talking = asyncio.create_task(speak(service, then_end=False))
        sending = await begin_endless_stream(client)
        service.process.send_signal(signal.SIGTERM)
        rest = await hear_out(client, sending)
        heard = await talking
        assert heard[-1]["reason"] == "draining"
        return rest


def test_answers_and_a_last_line_on_sigterm(tmp_path: Path) -> None:
    with start_service(tmp_path) as service:
        check_answers(service)
        *results, end = asyncio.run(stop_while_streaming(service))
        assert service.process.wait(60) == 0
    assert end["reason"] == "draining"
    # An item read in the very moment of the signal may be refused, and says so.
    failed = [result["error"]["type"] for result in results if result["status"] == "error"]
    assert set(failed) <= {"urn:ncal-serve:error:draining"}
    assert end["items"] == len(results) + 100
    assert end["failed"] == len(failed) <= 64
    assert "加" not in service.read_log()
