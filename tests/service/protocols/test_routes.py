"""The foreign protocols pass through the same layers: settings, keys, limits, errors, document."""

from typing import Any

import pytest

from engine.errors import EngineFailed
from service.access.api_keys import ApiKeys, make_key
from tests.service.fake_service import run_fake_service

KEY, _HASH = make_key()
KEYS = ApiKeys.read(f"school:{_HASH}", None)
TEXT = "1+1=?"
BODIES: dict[str, Any] = {
    "/v1/systemone": {"state": TEXT, "questions": {"q": {"type": "noul", "criteria": "recall"}}},
    "/classify": {"input": TEXT},
    "/v1/classify": {"input": TEXT},
    "/predict": {"inputs": TEXT},
}
FORMS = {
    "/v1/systemone": lambda body: body["detail"],
    "/classify": lambda body: body["error"]["message"],
    "/v1/classify": lambda body: body["error"]["message"],
    "/predict": lambda body: body["error"],
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_key_is_asked_for_and_the_refusal_has_the_protocols_form(path: str) -> None:
    async with run_fake_service(keys=KEYS) as service:
        refused = await service.client.post(path, json=BODIES[path])
        headers = {"authorization": f"Bearer {KEY}"}
        taken = await service.client.post(path, json=BODIES[path], headers=headers)
    assert refused.status_code == 401 and "valid API key" in FORMS[path](refused.json())
    assert refused.headers["www-authenticate"] == "Bearer"
    assert taken.status_code == 200


@pytest.mark.parametrize("path", BODIES)
async def test_items_count_against_the_rate_limit(path: str) -> None:
    limits = {"rate_limit_items_per_s": 0.001, "rate_limit_burst_items": 1}
    async with run_fake_service(**limits) as service:
        first = await service.client.post(path, json=BODIES[path])
        second = await service.client.post(path, json=BODIES[path])
    assert (first.status_code, second.status_code) == (200, 429)
    assert int(second.headers["retry-after"]) > 0


@pytest.mark.parametrize(("path", "status"), [
    ("/v1/systemone", 500), ("/classify", 500), ("/predict", 424),
])  # fmt: skip
async def test_an_engine_that_fails_is_told_in_the_protocols_form(path: str, status: int) -> None:
    async with run_fake_service() as service:
        service.engine.fail = lambda token_ids: EngineFailed("the engine failed")
        response = await service.client.post(path, json=BODIES[path])
    assert response.status_code == status
    assert "the engine failed" in FORMS[path](response.json())


async def test_items_are_counted_in_the_same_metrics() -> None:
    async with run_fake_service() as service:
        for path, body in BODIES.items():
            assert (await service.client.post(path, json=body)).status_code == 200
        text = (await service.client.get("/metrics")).text
    counted = 'ncal_items_total{mode="single",model="example",outcome="ok",task="timss"} 4.0'
    assert counted in text


async def test_an_operator_chooses_which_protocols_are_spoken() -> None:
    async with run_fake_service(protocols="tei") as service:
        found = {
            path: (await service.client.post(path, json=body)).status_code
            for path, body in BODIES.items()
        }
        paths = (await service.client.get("/openapi.json")).json()["paths"]
    assert found == dict.fromkeys(BODIES, 404) | {"/predict": 200}
    assert set(paths) & {*BODIES, "/v1/models"} == {"/predict"}


async def test_the_document_has_every_form_that_it_refers_to() -> None:
    async with run_fake_service() as service:
        document = (await service.client.get("/openapi.json")).json()
    assert {*BODIES, "/v1/models"} <= set(document["paths"])
    body = document["paths"]["/v1/systemone"]["post"]["requestBody"]["content"]
    name = body["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert {"state", "questions"} <= set(document["components"]["schemas"][name]["properties"])


@pytest.mark.parametrize("path", BODIES)
async def test_answers_are_for_the_prior_that_is_asked_for(path: str) -> None:
    async with run_fake_service(default_prior="training") as service:
        default = await service.client.post(path, json=BODIES[path])
        uniform = await service.client.post(path, params={"prior": "uniform"}, json=BODIES[path])
        unknown = await service.client.post(path, params={"prior": "estimate"}, json=BODIES[path])
        own = await service.client.post("/classify/problem", json={"text": TEXT})
    assert own.json()["prior"] == "training"
    assert default.status_code == uniform.status_code == 200
    assert default.json() != uniform.json()
    assert f"{own.json()['probabilities']['recall']:.12f}"[:12] in default.text
    assert unknown.status_code in (400, 422) and "estimate" in unknown.text
