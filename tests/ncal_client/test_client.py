"""The clients against the real server around a fake engine."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ncal_client import (
    Client,
    DeadlineExceeded,
    DialogueTurn,
    InvalidInput,
    NoAnswer,
    NotFound,
    Overloaded,
    Problem,
    RateLimited,
    ServiceError,
    Turn,
    Unauthorized,
    Unreachable,
)
from ncal_client.errors import BY_SLUG
from service.access.api_keys import ApiKeys, make_key
from service.errors import HTTP_STATUS
from tests.labelling.runs import served
from tests.ncal_client.both import KINDS, Kind, open_client
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

TEXT = "三加四等于多少？"
TURNS = [Turn("teacher", TEXT, id="a"), Turn("student", "七。"), Turn("teacher", "对。")]


@KINDS
async def test_one_item_is_answered_as_the_service_does(kind: Kind) -> None:
    options: dict[str, Any] = {"prior": "training", "top_k": 2, "prediction_set": True}
    previous = [Turn("teacher", TEXT)]
    async with served() as (service, url), open_client(kind, url) as client:
        one = await client.call("classify_problem", TEXT, raw_logits=True, **options)
        turn = await client.call("classify_turn", "student", "七。", previous=previous)
        other = await client.call("classify_problem", Problem(TEXT, id="a"), task="timss")
        query = "?prior=training&top_k=2&prediction_set=true&raw_logits=true"
        told = (await service.client.post("/classify/problem" + query, json={"text": TEXT})).json()
        body = {"speaker": "student", "text": "七。",
                "previous": [{"speaker": "teacher", "text": TEXT}]}  # fmt: skip
        told_turn = (await service.client.post("/classify/dialogue-turn", json=body)).json()
    assert (one.label, one.confidence, one.probabilities) == (
        told["label"], told["confidence"], told["probabilities"],
    )  # fmt: skip
    assert one.prior == "training" and list(one.prediction_set) == told["prediction_set"]
    assert [list(each) for each in one.top] == [list(each.values()) for each in told["top"]]
    assert one.logits == told["logits"]
    assert str(one.model) == " ".join(told["model"].values())
    assert (turn.label, turn.confidence) == (told_turn["label"], told_turn["confidence"])
    assert other.id == "a" and one.id is None
    assert other.task == "timss" and other.logits is None and other.prior == "uniform"


@KINDS
async def test_a_batch_states_its_mix_and_a_bad_item_costs_no_other(kind: Kind) -> None:
    items = [Problem(TEXT, id=7), "", DialogueTurn("student", "七。")]
    async with served() as (_, url), open_client(kind, url) as client:
        batch = await client.call("classify_batch", items, prior="estimate")
        shares = {each: 1 / 7 for each in batch.prior.shares}
        given = await client.call("classify_batch", items[:1], prior=shares)
    assert batch.prior.kind == "estimated" and batch.prior.items == 1
    low, high = batch.prior.intervals["recall"]
    assert low <= batch.prior.shares["recall"] <= high
    assert [each.id for each in batch.results] == [7, None, None]
    assert [each.answer is not None for each in batch.results] == [True, False, False]
    error = batch.results[1].error
    assert isinstance(error, InvalidInput) and error.reasons[0].field == "items.1.text"
    assert given.prior.kind == "given"


@KINDS
async def test_many_come_in_batches_that_the_service_takes(kind: Kind) -> None:
    """Also items that make the whole request one that cannot be read, or is too large."""
    long, broken = "二" * 300, "\ud800"
    items: list[Any] = [f"{number}加一等于多少？" for number in range(20)]
    items[3], items[11] = broken, {"id": "x", "text": long}
    async with served(max_text_characters=200, max_batch_items=6) as (service, url):
        async with open_client(kind, url) as client:
            results = await client.collect("classify_many", items)
        told = [
            (await service.client.post("/classify/problem", json={"text": text})).json()["label"]
            for text in items
            if isinstance(text, str) and text != broken
        ]
    assert [each.index for each in results] == list(range(20))
    assert [each.answer.label for each in results if each.answer] == told
    assert [place for place, each in enumerate(results) if each.error] == [3, 11]
    assert results[11].id == "x"


@KINDS
async def test_an_estimate_needs_one_batch(kind: Kind) -> None:
    async with open_client(kind, "http://127.0.0.1:9") as client:
        for name in ("classify_many", "stream"):
            with pytest.raises(ValueError, match="use classify_batch"):
                await client.collect(name, ["a"], prior="estimate")


@KINDS
async def test_a_dialogue_has_labels_and_a_structure(kind: Kind) -> None:
    async with served() as (service, url), open_client(kind, url) as client:
        found = await client.call("classify_dialogue", TURNS, mode="live")
        turns = [{"speaker": each.speaker, "text": each.text} for each in TURNS]
        body = {"turns": turns, "mode": "live"}
        told = (await service.client.post("/classify/dialogue", json=body)).json()
    assert found.mode == "live" and found.turns[0].id == "a"
    assert [each.answer.label for each in found.turns] == [
        each["prediction"]["label"] for each in told["turns"]
    ]
    structure = told["structure"]
    assert [each.pattern for each in found.structure.exchanges] == [
        each["pattern"] for each in structure["exchanges"]
    ]
    assert [list(row) for row in found.structure.transitions.counts] == (
        structure["transitions"]["counts"]
    )
    assert found.structure.speakers["teacher"].turns == 2
    assert found.structure.question_share == structure["question_share"]


@KINDS
async def test_what_is_served_is_listed(kind: Kind) -> None:
    async with served() as (_, url), open_client(kind, url) as client:
        labels = await client.call("list_labels")
        (model,) = await client.call("list_models")
    assert [each.task for each in labels] == ["timss", "irf"] == [t.name for t in model.tasks]
    assert labels[0].labels[0].name_zh == "回忆"
    assert model.tasks[1].kind == "dialogue-turn" and model.content["engine"] == "openvino 1.0"


@KINDS
async def test_a_file_is_read_and_written(kind: Kind, tmp_path: Any) -> None:
    path = tmp_path / "lesson.txt"
    path.write_text("师：三加四？\n生：七。\n", encoding="utf-8")
    async with served() as (_, url), open_client(kind, url) as client:
        rows = await client.call("read_file", path)
        written = await client.call("write_file", path, {"label": ["I-Q", "R-FR"]}, "csv")
    assert rows.columns == ("speaker", "text") and rows.rows[1] == ("生", "七。")
    assert rows.mapping["kind"] == "turns"
    lines = written.decode("utf-8-sig").splitlines()
    assert lines == ["speaker,text,label", "师,三加四？,I-Q", "生,七。,R-FR"]


@KINDS
async def test_errors_are_told_by_their_class_and_not_asked_again(kind: Kind) -> None:
    key, digest = make_key()
    keys = ApiKeys.read(f"school:{digest}", None)
    async with served(keys=keys) as (service, url):
        async with open_client(kind, url) as client:
            with pytest.raises(Unauthorized):
                await client.call("classify_problem", TEXT)
        async with open_client(kind, url, key=key) as client:
            with pytest.raises(NotFound, match="loaded: timss, irf"):
                await client.call("classify_problem", TEXT, task="none")
            with pytest.raises(InvalidInput) as refused:
                await client.call("classify_problem", "  ")
            with pytest.raises(InvalidInput, match=r"query\.prior"):
                await client.collect("classify_many", [TEXT] * 9, prior="natural")
            assert (await client.call("classify_problem", TEXT)).task == "timss"
    assert refused.value.status == 422 and refused.value.reasons[0].field == "text"
    assert refused.value.request_id and "  " not in refused.value.detail
    assert len(service.engine.scored) == 1


def test_every_error_of_the_service_has_a_class() -> None:
    assert set(BY_SLUG) == {each.slug for each in HTTP_STATUS}


def refuse(times: int, status: int, headers: dict[str, str], document: Any) -> Callable[..., Any]:
    """An application that answers so the first times, and then passes on."""
    calls: list[Scope] = []

    def around(app: Any) -> Any:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and len(calls) < times:
                calls.append(scope)
                sent = [(name.encode(), value.encode()) for name, value in headers.items()]
                await send({"type": "http.response.start", "status": status, "headers": sent})
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                await send({"type": "http.response.body", "body": body})
                return
            await app(scope, receive, send)

        application.calls = calls  # type: ignore[attr-defined]
        return application

    return around


@KINDS
@pytest.mark.parametrize("status", [429, 503, 502, 500])
async def test_what_passes_is_asked_again_when_it_says(kind: Kind, status: int) -> None:
    async with run_fake_service() as service:
        app = refuse(2, status, {"retry-after": "0"}, b"<html>busy</html>")(service.app)
        async with serve(app) as address, open_client(kind, f"http://{address}") as client:
            assert (await client.call("classify_problem", TEXT)).task == "timss"
    assert len(app.calls) == 2


@KINDS
async def test_patience_and_quotas_end_it(kind: Kind) -> None:
    document = {"type": "urn:ncal-serve:error:overloaded", "detail": "busy", "retry_after_s": 99.0}
    quota = {"type": "urn:ncal-serve:error:rate-limited", "detail": "used up"}
    async with run_fake_service() as service:
        busy = refuse(1, 503, {"retry-after": "99"}, document)(service.app)
        async with serve(busy) as address, open_client(kind, f"http://{address}") as client:
            with pytest.raises(Overloaded, match="503: busy") as told:
                await client.call("classify_problem", TEXT)
        used = refuse(1, 429, {"retry-after": "7200"}, quota)(service.app)
        async with serve(used) as address, open_client(kind, f"http://{address}") as client:
            with pytest.raises(RateLimited) as limited:
                await client.call("classify_problem", TEXT)
    assert told.value.retry_after_s == 99.0 and limited.value.retry_after_s == 7200.0


@KINDS
async def test_a_deadline_is_told_to_the_service_and_kept_here(kind: Kind) -> None:
    async with served() as (service, url), open_client(kind, url) as client:
        service.engine.open.clear()
        with pytest.raises(DeadlineExceeded):
            await client.call("classify_problem", TEXT, deadline_s=0.4)
        with pytest.raises(DeadlineExceeded, match="allow more"):
            await client.call("classify_problem", TEXT, deadline_s=0.01)
        service.engine.open.set()
        assert (await client.call("classify_problem", TEXT, deadline_s=30)).task == "timss"


@KINDS
async def test_items_that_fail_for_a_while_are_asked_again_alone(kind: Kind) -> None:
    items = ["一加一？", "", "一加二？"]
    async with served(request_timeout_s=0.5) as (service, url), open_client(kind, url) as client:
        service.engine.open.clear()
        asked = asyncio.create_task(client.collect("classify_many", items))
        async with asyncio.timeout(30):
            while service.engine.cancelled < 2:  # by the deadline of the service
                await asyncio.sleep(0.01)
        service.engine.open.set()
        results = await asked
        service.engine.open.clear()
        hasty = await client.collect("classify_many", items, patience_s=0.0, deadline_s=0.5)
    assert [each.answer is not None for each in results] == [True, False, True]
    assert isinstance(results[1].error, InvalidInput)
    assert len(service.engine.scored) == 2
    assert [type(each.error) for each in hasty] == [
        DeadlineExceeded, InvalidInput, DeadlineExceeded,
    ]  # fmt: skip


@KINDS
async def test_nobody_there_and_another_program_are_told(kind: Kind) -> None:
    async with open_client(kind, "http://127.0.0.1:9", patience_s=0) as client:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await client.call("classify_problem", TEXT)
    async with run_fake_service() as service:
        other = refuse(9, 200, {}, {"hello": "world"})(service.app)
        async with serve(other) as address, open_client(kind, f"http://{address}") as client:
            with pytest.raises(NoAnswer, match="is no NCAL Serve"):
                await client.call("list_labels")
    with pytest.raises(ValueError, match="must begin with http"):
        Client("localhost:8000")


async def test_a_client_that_is_stopped_waits_no_more() -> None:
    async with run_fake_service() as service:
        busy = refuse(99, 503, {"retry-after": "30"}, {"detail": "busy"})(service.app)
        async with serve(busy) as address, open_client("blocking", f"http://{address}") as client:
            assert isinstance(client.client, Client)
            client.client.stop()
            with pytest.raises(ServiceError, match="busy"):
                await client.call("classify_problem", TEXT)
            with pytest.raises(ServiceError, match="busy"):
                await client.collect("stream", [TEXT])
    with Client("http://127.0.0.1:9") as gone, pytest.raises(Unreachable, match="stopped"):
        gone.stop()
        await asyncio.to_thread(gone.open_live().__enter__)
    assert len(busy.calls) == 2
