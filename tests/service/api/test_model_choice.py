"""`?model=` over the whole service: two checkpoints for the same tasks, one the default."""

import json
from typing import Any

import pytest
import websockets

from contract.manifest import Manifest
from contract.predictions import calibrate_logits, select_rows
from tests.contract.examples import make_manifest, make_task
from tests.service.fake_service import FakeService, compute_scores, run_fake_service
from tests.service.uvicorn_server import serve

PROBLEM = {"text": "3 + 4 = ?"}
TURN = {"speaker": "student", "text": "七。"}
OLD = make_manifest(name="old")
NEW = make_manifest(
    name="new",
    tasks=[make_task(temperature=1.0), make_task(make_manifest().tasks[1].label_set, 7)],
)
NAMES = {"old": OLD, "new": NEW}
ASKED = (
    ("", OLD),
    ("default", OLD),
    ("new", NEW),
    (NEW.fingerprint, NEW),
    ("old", OLD),
)


def encode(text: str) -> list[int]:
    return [1, *map(ord, text), 2]


def expect_problem(manifest: Manifest) -> list[float]:
    """The probabilities of PROBLEM by the fake engine and the calibration of a manifest."""
    task = manifest.task("timss")
    return calibrate_logits(task, select_rows(task, compute_scores(encode(PROBLEM["text"]), 15)))


def check(answer: dict[str, Any], manifest: Manifest) -> None:
    assert answer["model"] == {"name": manifest.name, "fingerprint": manifest.fingerprint}
    if answer["task"] == "timss":
        assert list(answer["probabilities"].values()) == expect_problem(manifest)


@pytest.mark.parametrize(("name", "expected"), ASKED)
async def test_a_request_is_answered_by_the_checkpoint_that_it_names(
    name: str, expected: Manifest
) -> None:
    query = {"model": name} if name else {}
    async with run_fake_service(OLD, NEW) as service:
        post = service.client.post
        one = await post("/classify/problem", params=query, json=PROBLEM)
        batch = await post("/classify/problem/batch", params=query, json={"items": [PROBLEM]})
        dialogue = await post("/classify/dialogue", params=query, json={"turns": [TURN]})
        lines = await post(
            "/classify/tasks/timss/stream",
            params=query,
            content=json.dumps(PROBLEM),
            headers={"content-type": "application/x-ndjson"},
        )
    check(one.json(), expected)
    check(batch.json()["results"][0]["prediction"], expected)
    check(dialogue.json()["turns"][0]["prediction"], expected)
    check(json.loads(lines.text.splitlines()[0])["prediction"], expected)


@pytest.mark.parametrize(("name", "expected"), ASKED)
async def test_a_live_dialogue_is_labelled_by_the_checkpoint_that_it_names(
    name: str, expected: Manifest
) -> None:
    query = f"?model={name}" if name else ""
    async with (
        run_fake_service(OLD, NEW) as service,
        serve(service.app) as address,
        websockets.connect(f"ws://{address}/classify/dialogue/live{query}") as live,
    ):
        ready = json.loads(await live.recv())
        await live.send(json.dumps({"type": "turn", **TURN}))
        label = json.loads(await live.recv())
    assert ready["model"]["fingerprint"] == expected.fingerprint
    check(label["prediction"], expected)


@pytest.mark.parametrize(("name", "expected"), ASKED)
async def test_the_protocols_of_others_find_it_in_the_same_way(
    name: str, expected: Manifest
) -> None:
    model = {"model": name} if name else {}
    noul = {"type": "noul", "criteria": "recall"}
    async with run_fake_service(OLD, NEW) as service:
        post = service.client.post
        vllm = await post("/classify", json={"input": PROBLEM["text"], **model})
        tei = await post("/predict", json={"inputs": PROBLEM["text"], **model})
        asked = await post("/predict", params=model, json={"inputs": PROBLEM["text"]})
        system_one = await post(
            "/v1/systemone", json={"state": PROBLEM["text"], "questions": {"q": noul}, **model}
        )
    shares = expect_problem(expected)
    assert vllm.json()["model"] == f"{expected.name}/timss"
    assert vllm.json()["data"][0]["probs"] == shares
    assert [each["score"] for each in tei.json()] == sorted(shares, reverse=True)
    assert asked.json() == tei.json()
    assert system_one.json()["model"] == expected.name
    assert system_one.json()["answers"]["q"]["noul"] == pytest.approx(shares[0])


async def read_refusals(service: FakeService, model: str) -> list[str]:
    post = service.client.post
    answers = [
        await post("/classify/problem", params={"model": model}, json=PROBLEM),
        await post("/classify/problem/batch", params={"model": model}, json={"items": [PROBLEM]}),
        await post("/classify/dialogue", params={"model": model}, json={"turns": [TURN]}),
        await post("/classify/problem/stream", params={"model": model}, content=""),
        await post("/classify", json={"input": PROBLEM["text"], "model": model}),
        await post("/predict", json={"inputs": PROBLEM["text"], "model": model}),
    ]
    assert {answer.status_code for answer in answers} == {404}
    return [answer.text for answer in answers]


async def test_an_unknown_model_is_refused_with_what_there_is() -> None:
    async with run_fake_service(OLD, NEW) as service:
        for text in await read_refusals(service, "a pupil's words"):
            assert "old" in text and "new" in text and "pupil" not in text
        assert service.engine.scored == []


async def test_an_operator_says_which_is_the_default() -> None:
    async with run_fake_service(OLD, NEW, default_model="new") as service:
        answer = await service.client.post("/classify/problem", json=PROBLEM)
        models = (await service.client.get("/models")).json()["models"]
        labels = (await service.client.get("/labels")).json()["tasks"]
        metrics = (await service.client.get("/metrics")).text
    check(answer.json(), NEW)
    found = {each["name"]: [task["is_default"] for task in each["tasks"]] for each in models}
    assert found == {"old": [False, False], "new": [True, True]}
    assert {each["model"]["name"] for each in labels} == {"new"}
    for manifest, value in ((OLD, 0.0), (NEW, 1.0)):
        labels_of = f'fingerprint="{manifest.fingerprint}",model="{manifest.name}",task="irf"'
        assert f"ncal_model_info{{{labels_of}}} {value}" in metrics
    assert 'ncal_prediction_confidence_count{model="new",task="timss"} 1.0' in metrics
    assert 'ncal_prediction_confidence_count{model="old",task="timss"} 0.0' in metrics
