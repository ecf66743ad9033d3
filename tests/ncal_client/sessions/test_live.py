"""Live dialogues of the clients against the real server around a fake engine."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ncal_client import InvalidInput, LiveLabel, NotReady, Turn, Unauthorized, Unreachable
from service.access.api_keys import ApiKeys, make_key
from tests.labelling.runs import served
from tests.ncal_client.both import KINDS, Kind, open_client
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

TURNS = [
    Turn("teacher", "八分之六怎么约分？"), Turn("student", "同时除以二。"),
    Turn("student", "四分之三。"), Turn("teacher", "没错。"), Turn("student", "好的。"),
]  # fmt: skip


async def read_expected(service: Any) -> dict[str, list[str]]:
    turns = [{"speaker": each.speaker, "text": each.text} for each in TURNS]
    expected = {}
    for mode in ("live", "retrospective"):
        body = {"turns": turns, "mode": mode}
        told = (await service.client.post("/classify/dialogue", json=body)).json()
        expected[mode] = [each["prediction"]["label"] for each in told["turns"]]
    return expected


def check_labels(labels: list[LiveLabel], expected: dict[str, list[str]]) -> None:
    """Each turn has two labels, the first with nothing after it, the last with what was."""
    first = [each for each in labels if not each.is_final]
    final = [each for each in labels if each.is_final]
    assert [each.index for each in first] == [each.index for each in final] == list(range(5))
    assert [each.answer.label for each in first if each.answer] == expected["live"]
    assert [each.answer.label for each in final if each.answer] == expected["retrospective"]


@KINDS
async def test_each_turn_has_its_label_at_once_and_a_final_one(kind: Kind) -> None:
    async with served() as (service, url), open_client(kind, url) as client:
        labels: list[LiveLabel] = []
        async with client.open_live(top_k=2) as live:
            for place, turn in enumerate(TURNS):
                said = await live.say(turn.speaker, turn.text, f"t{place}")
                assert (said[-1].index, said[-1].id, said[-1].is_final) == (
                    place, f"t{place}", False,
                )  # fmt: skip
                assert said[-1].answer is not None and len(said[-1].answer.top or ()) == 2
                labels += said
            labels += await live.end()
            assert str(live.live.model) == "example " + live.live.model.fingerprint
        check_labels(labels, await read_expected(service))


@KINDS
async def test_a_lost_connection_is_made_again_and_nothing_is_told_twice(kind: Kind) -> None:
    async with run_fake_service() as service:
        calls = 0

        async def fragile(scope: Scope, receive: Receive, send: Send) -> None:
            """The first two connections break after some messages."""
            nonlocal calls
            calls += scope["type"] == "websocket"
            sent = 0

            async def count(message: Message) -> None:
                nonlocal sent
                sent += message["type"] == "websocket.send"
                if sent > 4 and calls <= 2:
                    raise ConnectionAbortedError
                await send(message)

            await service.app(scope, receive, count)

        async with serve(fragile) as address, open_client(kind, f"http://{address}") as client:
            labels: list[LiveLabel] = []
            async with client.open_live() as live:
                for turn in TURNS:
                    labels += await live.say(turn.speaker, turn.text)
                labels += await live.end()
        check_labels(labels, await read_expected(service))
    assert calls == 3


@KINDS
async def test_a_silent_dialogue_goes_on_and_another_service_can_end_it(kind: Kind) -> None:
    async with run_fake_service(live_idle_timeout_s=0.3) as old, run_fake_service() as new:
        calls = 0

        async def rollout(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal calls
            calls += scope["type"] == "websocket"
            await (old if calls == 1 else new).app(scope, receive, send)

        async with (
            serve(rollout) as address,
            open_client(kind, f"http://{address}") as client,
            client.open_live() as live,
        ):
            labels: list[LiveLabel] = []
            for place, turn in enumerate(TURNS):
                if place == 3:
                    await asyncio.sleep(0.8)
                labels += await live.say(turn.speaker, turn.text)
            labels += await live.end()
        check_labels(labels, await read_expected(new))
    assert calls == 2


@KINDS
async def test_a_turn_that_is_refused_counts_for_nothing(kind: Kind) -> None:
    async with served(max_text_characters=20) as (service, url), open_client(kind, url) as client:
        labels: list[LiveLabel] = []
        async with client.open_live() as live:
            for turn in TURNS:
                with pytest.raises(InvalidInput, match="more than 20"):
                    await live.say("teacher", "长" * 30)
                labels += await live.say(turn.speaker, turn.text)
            labels += await live.end()
        check_labels(labels, await read_expected(service))


@KINDS
async def test_a_handshake_that_is_refused_says_why(kind: Kind) -> None:
    _, digest = make_key()
    keys = ApiKeys.read(f"school:{digest}", None)
    async with served(keys=keys) as (_, url), open_client(kind, url) as client:
        with pytest.raises(Unauthorized):
            async with client.open_live():
                pass
    async with run_fake_service() as service, serve(service.app) as address:
        service.core.readiness.classifier = None
        async with open_client(kind, f"http://{address}", patience_s=0) as client:
            with pytest.raises(NotReady):
                async with client.open_live():
                    pass
    async with open_client(kind, "http://127.0.0.1:9", patience_s=0) as client:
        with pytest.raises(Unreachable):
            async with client.open_live():
                pass
