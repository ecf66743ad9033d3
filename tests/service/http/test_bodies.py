"""What arrives is bounded, checked and explained, whatever it is."""

import asyncio
import gzip
import json
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.http.bodies import parse_batch, parse_item, parse_json
from service.settings import Settings
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

LIMITS = Settings()
JSON = {"content-type": "application/json"}
PROBLEM = json.dumps({"text": "三加四是多少？"}).encode()
DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    ("body", "headers", "status", "slug"),
    [
        (b"", JSON, 422, "invalid-input"),
        (b"{", JSON, 422, "invalid-input"),
        (b'{"text": "\xff"}', JSON, 422, "invalid-input"),
        (b'{"text": "\\ud800"}', JSON, 422, "invalid-input"),
        (b'{"text": NaN}', JSON, 422, "invalid-input"),
        (b"null", JSON, 422, "invalid-input"),
        (DEEP, JSON, 422, "invalid-input"),
        (b'{"text": ' + b'{"a":' * 20 + b"1" + b"}" * 20 + b"}", JSON, 422, "invalid-input"),
        (PROBLEM, {}, 415, "unsupported-media-type"),
        (PROBLEM, {"content-type": "text/plain"}, 415, "unsupported-media-type"),
        (b"x" * 2000, JSON, 413, "body-too-large"),
    ],
)
async def test_a_body_that_cannot_be_used_is_explained(
    body: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    limit = 1024 if slug == "body-too-large" else 100_000
    async with run_fake_service(max_body_bytes=limit) as service:
        url = "/classify/problem"
        response = await service.client.post(url, content=body, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:ncal-serve:error:{slug}"
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert service.engine.scored == []


async def test_charset_and_case_of_the_media_type_do_not_matter() -> None:
    async with run_fake_service() as service:
        headers = {"content-type": "Application/JSON; charset=utf-8"}
        response = await service.client.post("/classify/problem", content=PROBLEM, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": ["a"]}, "text"),
        ({"text": "长" * 101}, "text"),
        ({"text": "好", "prior": "uniform"}, "body"),
    ],
)
async def test_a_problem_that_breaks_a_rule_names_the_field(body: Any, field: str) -> None:
    async with run_fake_service(max_text_characters=100) as service:
        response = await service.client.post("/classify/problem", json=body)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"speaker": "parent"}, "speaker"),
        ({"previous": "text"}, "previous"),
        ({"previous": [{"speaker": "student"}]}, "previous.0.text"),
        ({"following": [{"speaker": "student", "text": "长" * 101}]}, "following.0.text"),
        ({"previous": [{"speaker": "student", "text": "好"}] * 5}, "previous"),
    ],
)
async def test_a_turn_that_breaks_a_rule_names_the_field(
    change: dict[str, Any], field: str
) -> None:
    body = {"speaker": "teacher", "text": "好"} | change
    limits = {"max_text_characters": 100, "max_context_turns": 4}
    async with run_fake_service(**limits) as service:
        response = await service.client.post("/classify/dialogue-turn", json=body)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "query", [{"prior": "other"}, {"top_k": "0"}, {"top_k": "many"}, {"raw_logits": "perhaps"},
              {"topk": "3"}],
)  # fmt: skip
async def test_an_option_that_does_not_exist_is_refused(query: dict[str, str]) -> None:
    async with run_fake_service() as service:
        response = await service.client.post(
            "/classify/problem", content=PROBLEM, headers=JSON, params=query
        )
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "query." + next(iter(query))


OPTIONS = "prior, model, raw_logits, top_k, prediction_set"


@pytest.mark.parametrize(
    ("method", "path", "there_are"),
    [
        ("POST", "/v1/classify/problem", OPTIONS),
        ("POST", "/classify/tasks/irf/batch", OPTIONS),
        ("POST", "/classify/problem/stream", OPTIONS),
        (
            "POST",
            "/classify/dialogue",
            f"{OPTIONS}, task, mode",
        ),
        ("POST", "/files/read", "this endpoint has none"),
        ("POST", "/files/write", "this endpoint has none"),
        ("GET", "/labels", "this endpoint has none"),
        ("GET", "/models", "this endpoint has none"),
    ],
)
async def test_an_unknown_option_is_named_and_so_are_those_there_are(
    method: str, path: str, there_are: str
) -> None:
    async with run_fake_service() as service:
        asked = [
            await service.client.request(method, path, params=query, content=PROBLEM, headers=JSON)
            for query in ({"colour": "红"}, {"张小明": "1"})
        ]
    assert [answer.status_code for answer in asked] == [422, 422]
    named, unnamed = [answer.json()["errors"] for answer in asked]
    assert [error["field"] for error in (*named, *unnamed)] == ["query.colour", "query"]
    assert named[0]["reason"].endswith(there_are)
    assert "红" not in asked[0].text and "张小明" not in asked[1].text


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/classify/problem", PROBLEM),
        ("/classify/problem/batch", b'{"items": [' + PROBLEM + b"]}"),
        ("/classify/dialogue", b'{"turns": [{"speaker": "teacher", "text": "1 + 1?"}]}'),
        ("/v1/systemone", b'{"state": "1", "questions": {"a": {"type": "noul", '
                          b'"criteria": "recall"}}}'),
    ],
)  # fmt: skip
async def test_a_byte_order_mark_before_a_body_does_not_matter(path: str, body: bytes) -> None:
    async with run_fake_service() as service:
        plain, marked = [
            await service.client.post(path, content=each, headers=JSON)
            for each in (body, MARK + body)
        ]
        twice = await service.client.post(path, content=MARK + MARK + body, headers=JSON)
        nothing = await service.client.post(path, content=MARK, headers=JSON)
    assert plain.status_code == 200, plain.text
    assert marked.json() == plain.json()
    assert twice.status_code == nothing.status_code == 422


BOMB = gzip.compress(b'{"text": "' + b"a" * 50_000_000 + b'"}')


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/v1/classify/problem", "application/json"),
        ("/classify/problem/batch", "application/json"),
        ("/classify/dialogue", "application/json"),
        ("/classify/problem/stream", "application/x-ndjson"),
        ("/files/read", "multipart/form-data; boundary=x"),
        ("/v1/systemone", "application/json"),
    ],
)
async def test_a_compressed_body_is_not_unpacked(path: str, media_type: str) -> None:
    async with run_fake_service() as service:
        for coding in ("gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip"):
            headers = {"content-type": media_type, "content-encoding": coding}
            answer = await service.client.post(path, content=BOMB, headers=headers)
            assert answer.status_code == 415, coding
            assert answer.headers["accept-encoding"] == "identity"
            assert "not compressed" in answer.text


async def test_a_body_may_say_that_it_is_not_compressed() -> None:
    headers = JSON | {"content-encoding": "Identity"}
    async with run_fake_service() as service:
        answer = await service.client.post("/classify/problem", content=PROBLEM, headers=headers)
    assert answer.status_code == 200


async def test_no_error_repeats_what_was_sent() -> None:
    secret = "张小明的电话是一三八"
    bodies: list[Any] = [
        {"text": {secret: secret}},
        {"text": "好", secret: 1},
        {"items": [{secret: secret}, {"id": [secret]}, secret]},
        secret,
        {"speaker": secret, "text": secret, "previous": [secret]},
    ]
    async with run_fake_service() as service:
        for body in bodies:
            for path in ("problem", "problem/batch", "dialogue-turn", "tasks/timss"):
                response = await service.client.post(f"/classify/{path}", json=body)
                assert secret not in response.text
                assert json.dumps(secret)[1:-1] not in response.text


async def test_a_body_is_refused_while_it_arrives() -> None:
    """The answer comes, and the connection is closed, although the body never ends."""
    head = (
        "POST /classify/problem HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    )
    async with run_fake_service(max_body_bytes=4096) as service, serve(service.app) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(head.encode() + b"1000\r\n" + b" " * 4096 + b"\r\n1\r\n \r\n")
        answer = await reader.read()
        writer.close()
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"connection: close" in answer


async def test_a_body_that_never_ends_meets_the_deadline() -> None:
    head = (
        "POST /classify/problem HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
        "content-length: 100\r\nx-request-timeout: 0.1\r\n\r\n"
    )
    async with run_fake_service() as service, serve(service.app) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(head.encode() + b'{"text"')
        answer = await reader.readuntil(b"\r\n")
        writer.close()
    assert b" 504 " in answer


async def test_a_client_that_leaves_frees_the_engine() -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        service.engine.open.clear()
        connection = socket.create_connection(tuple(address.split(":")))
        head = "POST /classify/problem/batch HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n"
        body = json.dumps({"items": [{"text": "好"}, {"text": "三加四"}]}).encode()
        head = head.format(len(body)) + "content-type: application/json\r\n\r\n"
        connection.sendall(head.encode() + body)
        while service.engine.running < 2:
            await asyncio.sleep(0.01)
        connection.close()
        while service.engine.cancelled < 2:
            await asyncio.sleep(0.01)
        metrics = await service.client.get("/metrics")
    assert service.classifier.models[0].admission.running_items == 0
    assert "ncal_cancelled_items_total 2.0" in metrics.text
    assert 'status="499"' in (await fetch_metrics(service))


async def fetch_metrics(service: Any) -> str:
    return str(service.core.metrics.render(), "utf-8")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
item_like = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values,
        "text": json_values,
        "speaker": st.sampled_from(["teacher", "student", "x"]) | json_values,
        "previous": json_values,
        "following": json_values,
    },
)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    try:
        parse_json(body, LIMITS, max_values=1000)
    except InvalidInput as error:
        assert error.reasons[0].field == "body"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["problem", "dialogue-turn"]), json_values | item_like)
def test_any_value_is_an_input_or_refused(kind: Any, value: Any) -> None:
    try:
        assert parse_item(kind, value, LIMITS).text.strip()
    except InvalidInput as error:
        assert error.reasons
    (item,) = parse_batch(kind, {"items": [value]}, LIMITS)
    assert isinstance(item.id, int | str | None) and not isinstance(item.id, bool)
