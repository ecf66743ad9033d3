"""Live dialogues over the real server: labels, resuming, misuse, leaving, draining, dying."""

import asyncio
import json
import logging
import socket
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from contract.inputs import Turn
from contract.labels import IRF
from contract.prompts import ContextWindow
from service.access.api_keys import ApiKeys, make_key
from service.errors import EngineFailed
from service.live.context import LiveContext
from service.live.session import MOST_MISTAKES
from service.observability.logs import JsonFormatter
from tests.contract.examples import make_manifest, make_task
from tests.service.fake_service import FakeService, HeldEncoder, run_fake_service
from tests.service.uvicorn_server import serve

SPOKEN = [
    ("teacher", "三加四等于几？"),
    ("student", "七。"),
    ("teacher", "对。"),
    ("student", "嗯。"),
]
PATH = "/classify/dialogue/live"


class Dialogue:
    """A client's side of a live dialogue."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def say_turn(self, number: int, **more: Any) -> None:
        speaker, text = SPOKEN[number]
        await self.say(type="turn", speaker=speaker, text=text, **more)

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.connection.recv(), 30))
        return message

    async def hear_all(self) -> list[dict[str, Any]]:
        """Hear everything to the close."""
        messages: list[dict[str, Any]] = []
        with suppress(websockets.ConnectionClosedError):
            async for message in self.connection:
                messages.append(json.loads(message))
        return messages

    @property
    def close_code(self) -> int | None:
        return self.connection.close_code


class Stage:
    """A running service and its address."""

    def __init__(self, service: FakeService, address: str) -> None:
        self.service = service
        self.address = address
        self.engine = service.engine
        self.admission = service.classifier.models[0].admission

    @asynccontextmanager
    async def join(self, query: str = "") -> AsyncIterator[Dialogue]:
        async with websockets.connect(f"ws://{self.address}{PATH}{query}") as connection:
            dialogue = Dialogue(connection)
            assert (await dialogue.hear())["type"] == "ready"
            yield dialogue

    @property
    def sessions(self) -> int:
        taken: int = self.service.app.state.live_slots.taken
        return taken

    async def label_alone(self, number: int, *, live: bool) -> Any:
        turns = [{"speaker": speaker, "text": text} for speaker, text in SPOKEN]
        item = turns[number] | {
            "previous": turns[max(0, number - 1) : number],
            "following": [] if live else turns[number + 1 : number + 2],
        }
        response = await self.service.client.post("/classify/dialogue-turn", json=item)
        return response.json()


@asynccontextmanager
async def run_stage(*manifests: Any, **settings: Any) -> AsyncIterator[Stage]:
    async with (
        run_fake_service(*manifests, **settings) as service,
        serve(service.app, ws_max_size=4096, ws_per_message_deflate=False) as address,
    ):
        yield Stage(service, address)


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_turn_that_is_tokenized_too_late_is_told_so() -> None:
    async with run_stage(request_timeout_s=0.2) as stage, stage.join() as dialogue:
        encoder = HeldEncoder(stage.service, "irf")
        await dialogue.say(type="turn", speaker="teacher", text="why? " * 500)
        late = await dialogue.hear()
        encoder.open.set()
        await dialogue.say(type="end")
        final, _ = await dialogue.hear_all()
    assert (late["type"], late["index"], late["error"]["status"]) == ("error", 0, 504)
    assert (final["type"], final["index"], final["final"]) == ("label", 0, True)


async def test_the_session_begins_with_what_a_client_must_know() -> None:
    async with (
        run_stage(max_live_turns=7) as stage,
        websockets.connect(f"ws://{stage.address}{PATH}") as connection,
    ):
        ready = await Dialogue(connection).hear()
    assert (ready["type"], ready["task"]) == ("ready", "irf")
    assert ready["window"] == {"previous": 1, "following": 1}
    assert ready["limits"]["max_turns"] == 7
    assert ready["model"]["name"] == "example"


async def test_each_turn_is_labelled_at_once_and_again_when_the_next_is_spoken() -> None:
    async with run_stage() as stage, stage.join("?raw_logits=true&top_k=1") as dialogue:
        heard = []
        for number in range(4):
            await dialogue.say_turn(number, id=f"t{number}")
            heard += [await dialogue.hear() for _ in range(1 + (number > 0))]
        await dialogue.say(type="end")
        heard += await dialogue.hear_all()
        places = [(message.get("index"), message.get("final")) for message in heard]
        assert places == [
            (0, False), (0, True), (1, False), (1, True), (2, False), (2, True), (3, False),
            (3, True), (None, None),
        ]  # fmt: skip
        assert heard[-1] == {"type": "end", "reason": "end", "turns": 4}
        assert dialogue.close_code == 1000
        for message in heard[:-1]:
            number = message["index"]
            assert message["id"] == f"t{number}"
            live = not message["final"] or number == 3
            alone = await stage.label_alone(number, live=live)
            prediction = message["prediction"]
            assert prediction.pop("logits") and len(prediction.pop("top")) == 1
            assert prediction == alone


async def test_the_last_turn_is_not_computed_twice() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        await dialogue.say_turn(0)
        await dialogue.hear()
        await dialogue.say(type="end")
        final, end = await dialogue.hear_all()
        assert (final["final"], end["turns"]) == (True, 1)
        assert len(stage.engine.scored) == 1


async def test_a_dialogue_without_turns_can_end() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        await dialogue.say(type="end")
        assert [message["type"] for message in await dialogue.hear_all()] == ["end"]


async def test_a_model_without_following_context_is_final_at_once() -> None:
    window = ContextWindow(previous=2, following=0)
    manifest = make_manifest(tasks=[make_task(IRF, 0, window=window)])
    async with run_stage(manifest) as stage, stage.join() as dialogue:
        for number in range(3):
            await dialogue.say_turn(number)
            heard = await dialogue.hear()
            assert (heard["index"], heard["final"]) == (number, True)
        await dialogue.say(type="end")
        assert len(await dialogue.hear_all()) == 1


async def test_a_broken_session_goes_on_where_it_was() -> None:
    async with run_stage() as stage:
        async with stage.join() as first:
            for number in range(3):
                await first.say_turn(number)
                await first.hear()
            await first.hear()
            first.connection.transport.abort()
        async with stage.join() as second:  # turn 2 has no final label: it is sent again
            speaker, text = SPOKEN[1]
            await second.say(type="resume", index=2, previous=[{"speaker": speaker, "text": text}])
            await second.say_turn(2)
            again = await second.hear()
            assert (again["index"], again["final"]) == (2, False)
            assert again["prediction"] == await stage.label_alone(2, live=True)
            await second.say_turn(3)
            final = await second.hear()
            assert (final["index"], final["final"]) == (2, True)
            assert final["prediction"] == await stage.label_alone(2, live=False)


async def test_ping_is_answered_and_keeps_the_session_open() -> None:
    async with run_stage(live_idle_timeout_s=2.0) as stage, stage.join() as dialogue:
        for _ in range(5):
            await asyncio.sleep(0.5)
            await dialogue.say(type="ping")
            assert await dialogue.hear() == {"type": "pong"}
        assert [message["reason"] for message in await dialogue.hear_all()] == ["idle"]
        assert dialogue.close_code == 4408


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("no json", 1007, "not-json"),
        ("[" * 50 + "]" * 50, 1007, "not-json"),
        (b'{"type": "ping"}', 1003, "binary-message"),
        ('{"type": "shout"}', 1008, "unknown-message"),
        ('{"type": ["turn"]}', 1008, "unknown-message"),
        ("[]", 1008, "unknown-message"),
        ('{"type": "ping", "x": "' + "好" * 400 + '"}', 1009, "message-too-large"),
    ],
)
async def test_misuse_gets_an_error_and_a_close_code(
    message: str | bytes, code: int, reason: str
) -> None:
    async with (
        run_stage(max_live_message_bytes=1024) as stage,
        stage.join() as dialogue,
    ):
        await dialogue.connection.send(message)
        error, end = await dialogue.hear_all()
        assert error["error"]["type"] == "urn:ncal-serve:error:invalid-input"
        assert "shout" not in str(error)
        assert end == {"type": "end", "reason": reason, "turns": 0}
        assert dialogue.close_code == code


async def test_a_message_beyond_all_bounds_is_cut_off_while_it_arrives() -> None:
    async with run_stage(max_live_message_bytes=1024) as stage, stage.join() as dialogue:
        await dialogue.connection.send("x" * 5000)
        await dialogue.hear_all()
        assert dialogue.close_code == 1009
        await wait_until(lambda: stage.sessions == 0)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"speaker": "parent", "text": "x"}, "speaker"),
        ({"speaker": "teacher", "text": " "}, "text"),
        ({"speaker": "teacher", "text": "密" * 101}, "text"),
        ({"speaker": "teacher"}, "text"),
        ({"speaker": "teacher", "text": "x", "index": 3}, "body"),
        ({"speaker": "teacher", "text": "x", "id": ["a"]}, "id"),
    ],
)
async def test_a_wrong_turn_is_not_taken_and_the_session_goes_on(
    fields: dict[str, Any], field: str
) -> None:
    async with run_stage(max_text_characters=100) as stage, stage.join() as dialogue:
        await dialogue.say(type="turn", **fields)
        error = await dialogue.hear()
        assert (error["type"], error["index"], error["taken"]) == ("error", 0, False)
        assert error["error"]["errors"][0]["field"].startswith(field)
        assert "密" not in str(error) and "parent" not in str(error)
        await dialogue.say_turn(0)
        assert (await dialogue.hear())["index"] == 0


async def test_an_error_says_which_turn_it_is_about() -> None:
    async with run_stage(max_text_characters=100) as stage, stage.join() as dialogue:
        await dialogue.say_turn(0)
        await dialogue.hear()
        await dialogue.say(type="turn", id="second", speaker="teacher", text="x" * 101)
        error = await dialogue.hear()
        assert (error["index"], error["id"], error["taken"]) == (1, "second", False)
        await dialogue.say_turn(1)
        heard = [await dialogue.hear(), await dialogue.hear()]
        assert [(each["index"], each["final"]) for each in heard] == [(0, True), (1, False)]
        assert heard[0]["prediction"] == await stage.label_alone(0, live=False)
        await dialogue.say(type="resume", index=1, previous="none")
        error = await dialogue.hear()
        assert "index" not in error and "taken" not in error


async def test_any_task_of_turns_is_served() -> None:
    talk = IRF.model_copy(update={"task": "talk"})
    manifest = make_manifest(tasks=[make_task(), make_task(IRF, 7), make_task(talk, 15)])
    async with run_stage(manifest) as stage:
        for path, query, task in (
            (PATH, "?task=talk", "talk"), (PATH, "", "irf"), (f"/v1{PATH}", "?task=talk", "talk"),
        ):  # fmt: skip
            async with websockets.connect(f"ws://{stage.address}{path}{query}") as connection:
                dialogue = Dialogue(connection)
                assert (await dialogue.hear())["task"] == task
                await dialogue.say_turn(0)
                assert (await dialogue.hear())["prediction"]["task"] == task
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://{stage.address}{PATH}?task=timss")
    assert refused.value.response.status_code == 422


async def test_whoever_only_errs_is_sent_away() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        for _ in range(MOST_MISTAKES):
            await dialogue.say(type="turn")
        *errors, end = await dialogue.hear_all()
        assert [error["index"] for error in errors] == [0] * MOST_MISTAKES
        assert (end["reason"], dialogue.close_code) == ("too-many-mistakes", 1008)


async def test_resume_comes_first_or_not_at_all() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        await dialogue.say_turn(0)
        await dialogue.hear()
        await dialogue.say(type="resume", index=5)
        end = (await dialogue.hear_all())[-1]
        assert (end["reason"], dialogue.close_code) == ("late-resume", 1008)


async def test_a_session_has_a_longest_length() -> None:
    async with run_stage(max_live_turns=2) as stage, stage.join() as dialogue:
        for number in range(3):
            await dialogue.say_turn(number)
        assert (await dialogue.hear_all())[-1] == {
            "type": "end",
            "reason": "too-many-turns",
            "turns": 2,
        }


async def test_a_turn_that_fails_says_so_and_stays_context() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        stage.engine.fail = lambda ids: EngineFailed("not now")
        await dialogue.say_turn(0)
        error = await dialogue.hear()
        assert (error["type"], error["index"], error["final"]) == ("error", 0, False)
        assert error["error"]["status"] == 500
        stage.engine.fail = lambda ids: None
        await dialogue.say_turn(1)
        final, provisional = await dialogue.hear(), await dialogue.hear()
        assert final["prediction"] == await stage.label_alone(0, live=False)
        assert provisional["prediction"] == await stage.label_alone(1, live=True)


async def test_an_overloaded_service_says_so_in_time() -> None:
    async with (
        run_stage(max_batched_items=1, max_waiting_items=1) as stage,
        stage.join() as dialogue,
    ):
        stage.engine.open.clear()
        others = [asyncio.create_task(stage.label_alone(0, live=True)) for _ in range(3)]
        await wait_until(lambda: stage.admission.waiting_items == 1)
        await dialogue.say_turn(1)
        error = await dialogue.hear()
        assert error["error"]["status"] == 503 and error["error"]["retry_after_s"] > 0
        stage.engine.open.set()
        await asyncio.gather(*others)


async def test_a_rate_limited_turn_is_not_taken() -> None:
    limits = {"rate_limit_items_per_s": 0.1, "rate_limit_burst_items": 1}
    async with run_stage(**limits) as stage, stage.join() as dialogue:
        await dialogue.say_turn(0)
        await dialogue.hear()
        await dialogue.say_turn(1, id="again")
        error = await dialogue.hear()
        assert error["error"]["status"] == 429 and error["error"]["retry_after_s"] > 1
        assert (error["index"], error["id"], error["taken"]) == (1, "again", False)
        await dialogue.say(type="end")
        assert (await dialogue.hear_all())[-1]["turns"] == 1


async def test_haste_is_no_mistake() -> None:
    limits = {"rate_limit_items_per_s": 0.01, "rate_limit_burst_items": 1}
    async with run_stage(**limits) as stage, stage.join() as dialogue:
        await dialogue.say_turn(0)
        await dialogue.hear()
        for _ in range(MOST_MISTAKES + 1):
            await dialogue.say_turn(1)
            assert (await dialogue.hear())["error"]["status"] == 429
        await dialogue.say(type="end")
        assert (await dialogue.hear_all())[-1]["reason"] == "end"


async def test_a_client_that_no_longer_answers_pings_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """uvicorn closes the connection, and for a moment refuses a label in its own words."""
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    speaker, text = SPOKEN[0]
    turn = json.dumps({"type": "turn", "speaker": speaker, "text": text})
    for message in ({"type": "websocket.connect"}, {"type": "websocket.receive", "text": turn}):
        heard.put_nowait(message)

    async def send(message: Any) -> None:
        if '"label"' in message.get("text", ""):
            raise RuntimeError("Unexpected ASGI message, after sending 'websocket.close'.")

    scope = {
        "type": "websocket", "path": PATH, "raw_path": PATH.encode(), "query_string": b"",
        "headers": [], "client": ("127.0.0.1", 1), "subprotocols": [],
    }  # fmt: skip
    with caplog.at_level(logging.INFO, "ncal"):
        async with run_fake_service() as service:
            await asyncio.wait_for(service.app(scope, heard.get, send), 30)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [(line["event"], line["outcome"]) for line in lines] == [("live session", "client-gone")]


async def test_a_fault_of_ours_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        stage.engine.fail = lambda ids: RuntimeError("".join(map(chr, ids)))
        with caplog.at_level(logging.DEBUG):
            await dialogue.say(type="turn", speaker="student", text="我的秘密")
            error, end = await dialogue.hear_all()
            await wait_until(lambda: stage.sessions == 0)
    assert (error["error"]["status"], dialogue.close_code) == (500, 1011)
    logged = str([record.__dict__ for record in caplog.records])
    assert "RuntimeError" in logged
    assert "秘密" not in logged and "秘密" not in str([error, end])


async def test_the_work_of_a_client_that_leaves_is_cancelled() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        await dialogue.say_turn(0)
        await dialogue.hear()
        stage.engine.open.clear()
        await dialogue.say_turn(1)
        await wait_until(lambda: stage.engine.running == 2)
        dialogue.connection.transport.abort()
        await wait_until(lambda: stage.sessions == 0)
        assert stage.engine.cancelled == 2
        assert stage.admission.running_items == 0


async def test_a_client_that_says_much_and_hears_nothing_is_held_back() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        stage.engine.open.clear()
        for _ in range(50):
            await dialogue.say_turn(0)
        await wait_until(lambda: stage.engine.running == 1)
        assert stage.admission.waiting_items == 0
        stage.engine.open.set()
        await dialogue.say(type="end")
        assert (await dialogue.hear_all())[-1]["turns"] == 50


async def test_a_client_that_takes_no_answers_is_let_go() -> None:
    async with run_stage(stall_timeout_s=1.0) as stage:
        host, _, port = stage.address.partition(":")
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect((host, int(port)))
        url = f"ws://{stage.address}{PATH}?raw_logits=true"
        async with websockets.connect(url, sock=narrow, max_queue=1) as connection:
            dialogue = Dialogue(connection)

            async def talk() -> None:
                while True:
                    await dialogue.say_turn(0, id="好" * 256)

            talking = asyncio.create_task(talk())
            await wait_until(lambda: len(stage.engine.scored) > 10)
            await wait_until(lambda: stage.sessions == 0)
            talking.cancel()
            connection.transport.abort()


async def test_draining_says_goodbye() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        await dialogue.say_turn(0)
        await dialogue.hear()
        await stage.admission.drain(timeout_s=10)
        assert await dialogue.hear_all() == [{"type": "end", "reason": "draining", "turns": 1}]
        assert dialogue.close_code == 1001
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://{stage.address}{PATH}")
        assert refused.value.response.status_code == 503


async def test_a_dead_engine_ends_the_session() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        stage.engine.die()
        await dialogue.say_turn(0)
        error, end = await dialogue.hear_all()
        assert error["error"]["type"] == "urn:ncal-serve:error:engine-dead"
        assert (end["reason"], dialogue.close_code) == ("engine-dead", 1011)


async def test_an_idle_session_is_told_that_the_engine_died() -> None:
    async with run_stage() as stage, stage.join() as dialogue:
        stage.admission.abandon()
        assert await dialogue.hear_all() == [{"type": "end", "reason": "engine-dead", "turns": 0}]
        assert dialogue.close_code == 1011


async def test_prometheus_sees_how_many_are_open() -> None:
    async with run_stage() as stage, stage.join():
        assert "ncal_live_sessions 1.0" in (await stage.service.client.get("/metrics")).text


async def test_only_so_many_sessions_are_open_at_once() -> None:
    async with run_stage(max_live_sessions=1) as stage:
        async with stage.join():
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(f"ws://{stage.address}{PATH}")
            assert refused.value.response.status_code == 503
            assert int(refused.value.response.headers["Retry-After"]) >= 1
        await wait_until(lambda: stage.sessions == 0)
        async with stage.join() as dialogue:
            await dialogue.say(type="end")


@pytest.mark.parametrize("query", ["?top_k=0", "?colour=red", "?prior=none"])
async def test_wrong_options_are_refused_with_a_problem(query: str) -> None:
    async with run_stage() as stage:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://{stage.address}{PATH}{query}")
        assert refused.value.response.status_code == 422
        assert b"urn:ncal-serve:error:invalid-input" in (refused.value.response.body or b"")


_TURNS = st.lists(st.sampled_from("abc"), max_size=12)


@settings(deadline=None)
@given(texts=_TURNS, previous=st.integers(0, 3), following=st.integers(0, 3))
def test_every_turn_becomes_final_once_with_its_whole_context(
    texts: list[str], previous: int, following: int
) -> None:
    turns = [Turn(speaker="student", text=text) for text in texts]
    context = LiveContext(ContextWindow(previous, following))
    finals: list[int] = []

    def check(index: int, is_final: bool) -> None:
        seen = context.make_input(next(each for each in context._turns if each.index == index))
        spoken = turns[: context.next_index]
        assert list(seen.previous) == spoken[max(0, index - previous) : index]
        assert list(seen.following) == spoken[index + 1 : index + 1 + following]
        if is_final:
            finals.append(index)

    for index, turn in enumerate(turns):
        due = context.add(turn, None)
        assert due[-1].index == index
        for each in due:
            check(each.index, each.is_final)
        context.forget()
        assert len(context._turns) <= previous + following
    for each in context.finish():
        check(each.index, is_final=True)
    assert finals == list(range(len(texts)))


async def test_a_browser_sends_its_key_as_a_sub_protocol() -> None:
    key, digest = make_key()
    text = urlsafe_b64encode(key.encode()).decode().rstrip("=")
    async with (
        run_fake_service(keys=ApiKeys({digest: "school"})) as service,
        serve(service.app) as address,
    ):
        offered = [Subprotocol("ncal.live.1"), Subprotocol(f"ncal.key.{text}")]
        url = f"ws://{address}{PATH}"
        async with websockets.connect(url, subprotocols=offered) as connection:
            assert json.loads(await connection.recv())["type"] == "ready"
            assert connection.subprotocol == "ncal.live.1"
        for wrong in ("", "ncal.key.", f"ncal.key.{text[:-2]}", f"ncal.key.{digest}"):
            protocols = [Subprotocol("ncal.live.1")]
            protocols += [Subprotocol(wrong)] if wrong else []
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(url, subprotocols=protocols)
            assert refused.value.response.status_code == 401
            assert key not in refused.value.response.body.decode()


async def test_a_key_among_sub_protocols_opens_nothing_but_the_socket() -> None:
    key, digest = make_key()
    text = urlsafe_b64encode(key.encode()).decode()
    async with run_fake_service(keys=ApiKeys({digest: "school"})) as service:
        header = {"sec-websocket-protocol": f"ncal.key.{text}"}
        assert (await service.client.get("/labels", headers=header)).status_code == 401
