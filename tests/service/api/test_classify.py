"""Single and batch requests through every layer but the engine."""

import asyncio
import math
from typing import Any

import httpx
import pytest

from contract.labels import IRF, TIMSS
from contract.predictions import calibrate_logits, predict_set, select_rows
from engine.errors import EngineFailed
from service.schemas import Answer, BatchAnswer
from tests.contract.characters import CharacterTokenizer
from tests.contract.examples import BLOOM, make_manifest, make_task
from tests.service.fake_service import (
    FakeService,
    HeldEncoder,
    compute_scores,
    run_fake_service,
)

PROBLEM = {"text": "小明有5个苹果，吃了2个，还剩几个？"}
TURN = {
    "speaker": "teacher",
    "text": "为什么这样算？",
    "previous": [{"speaker": "student", "text": "等于七。"}],
    "following": [{"speaker": "student", "text": "因为要平均分。"}],
}


def encode(text: str) -> list[int]:
    return CharacterTokenizer()([text], add_special_tokens=False)["input_ids"][0]


async def test_a_problem_gets_the_answer_that_the_scores_imply() -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/classify/problem", json=PROBLEM)
        token_ids = encode("<user>" + PROBLEM["text"] + "<reply>")
        task = make_task()
        probabilities = calibrate_logits(
            task, select_rows(task, compute_scores(service.engine.scored[0], 15))
        )
    assert response.status_code == 200
    answer = response.json()
    Answer.model_validate(answer)
    assert service.engine.scored == [token_ids]
    best = max(range(7), key=probabilities.__getitem__)
    assert answer["probabilities"] == dict(zip(TIMSS.ids, probabilities, strict=True))
    assert answer["label"] == TIMSS.ids[best]
    assert answer["confidence"] == probabilities[best]
    label = TIMSS.labels[best]
    names = {"name_en": label.name_en, "name_zh": label.name_zh, "group": label.group}
    assert names == {name: answer[name] for name in names}
    assert answer["model"] == {"name": "example", "fingerprint": make_manifest().fingerprint}
    assert (answer["prior"], answer["was_cut"], answer["task"]) == ("uniform", False, "timss")
    assert set(answer).isdisjoint({"logits", "top", "prediction_set"})


async def test_a_dialogue_turn_is_read_with_what_was_said_around_it() -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/classify/dialogue-turn", json=TURN)
        bare = {"speaker": "teacher", "text": TURN["text"]}
        alone = await service.client.post("/classify/dialogue-turn", json=bare)
    assert response.json()["task"] == "irf"
    assert set(response.json()["probabilities"]) == set(IRF.ids)
    with_context, without = map(CharacterTokenizer().decode, service.engine.scored)
    assert "等于七。" in with_context and "因为要平均分。" in with_context
    assert "等于七。" not in without and TURN["text"] in without
    assert alone.status_code == 200


async def test_prior_training_weighs_the_classes_by_their_share() -> None:
    async with run_fake_service() as service:
        query = {"prior": "training", "raw_logits": "true"}
        response = await service.client.post("/classify/problem", json=PROBLEM, params=query)
    answer = response.json()
    task = make_task()
    logits = [answer["logits"][label] for label in TIMSS.ids]
    assert logits == select_rows(task, compute_scores(service.engine.scored[0], 15))
    expected = calibrate_logits(task, logits, "training")
    assert [answer["probabilities"][label] for label in TIMSS.ids] == pytest.approx(expected)
    assert expected != calibrate_logits(task, logits)
    assert answer["prior"] == "training"
    assert answer["confidence"] == pytest.approx(max(expected))


async def test_top_k_and_prediction_set() -> None:
    async with run_fake_service() as service:
        query = {"top_k": 3, "prediction_set": "true"}
        response = await service.client.post("/classify/problem", json=PROBLEM, params=query)
        everything = await service.client.post(
            "/classify/problem", json=PROBLEM, params={"top_k": 99}
        )
    answer = response.json()
    Answer.model_validate(answer)
    ranked = sorted(answer["probabilities"].items(), key=lambda pair: -pair[1])
    assert [(each["label"], each["probability"]) for each in answer["top"]] == ranked[:3]
    uniform = [answer["probabilities"][label] for label in TIMSS.ids]
    chosen = [TIMSS.ids[index] for index in predict_set(make_task(), uniform)]
    assert answer["prediction_set"] == chosen
    assert len(everything.json()["top"]) == len(TIMSS.ids)


@pytest.mark.parametrize(("threshold", "size"), [(0.0, 7), (1.0, 0)])
async def test_needs_review_unless_the_set_has_exactly_one_label(
    threshold: float, size: int
) -> None:
    task = make_task(conformal_thresholds=[threshold] * 7)
    async with run_fake_service(make_manifest(tasks=[task])) as service:
        query = {"prediction_set": "true"}
        response = await service.client.post("/classify/problem", json=PROBLEM, params=query)
        assert len(response.json()["prediction_set"]) == size
        assert response.json()["needs_review"] is True


async def test_one_label_in_the_set_needs_no_review() -> None:
    task = make_task(temperature=0.01, conformal_thresholds=[0.5] * 7)
    async with run_fake_service(make_manifest(tasks=[task])) as service:
        response = await service.client.post("/classify/problem", json=PROBLEM)
    assert response.json()["needs_review"] is False


async def test_the_answer_says_that_the_input_was_cut() -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/classify/problem", json={"text": "数" * 500})
    assert response.json()["was_cut"] is True
    assert len(service.engine.scored[0]) == 128


async def test_a_batch_answers_in_order_and_keeps_ids() -> None:
    items = [{"id": "a", **PROBLEM}, {"text": "三加四是多少？"}, {"id": 7, "text": "什么是质数？"}]
    async with run_fake_service() as service:
        response = await service.client.post("/classify/problem/batch", json={"items": items})
        singles = [
            (await service.client.post("/classify/problem", json={"text": item["text"]})).json()
            for item in items
        ]
    answer = response.json()
    BatchAnswer.model_validate(answer)
    assert [result["prediction"] for result in answer["results"]] == singles
    assert [result["index"] for result in answer["results"]] == [0, 1, 2]
    assert [result.get("id") for result in answer["results"]] == ["a", None, 7]
    assert (answer["ok"], answer["failed"]) == (3, 0)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"id": "bad", "text": " "}, "items.1.text"),
        ({"id": "bad"}, "items.1.text"),
        ({"id": "bad", "text": 5}, "items.1.text"),
        ({"id": "bad", "text": "好", "extra": 1}, "items.1"),
        ({"id": "bad", "text": "长" * 20_001}, "items.1.text"),
        ("text", "items.1"),
        (None, "items.1"),
        ({"id": {"a": 1}, "text": "好"}, "items.1.id"),
    ],
)
async def test_a_bad_item_fails_alone(item: Any, field: str) -> None:
    items = [PROBLEM, item, PROBLEM]
    async with run_fake_service() as service:
        response = await service.client.post("/classify/problem/batch", json={"items": items})
    assert response.status_code == 200
    BatchAnswer.model_validate(response.json())
    first, bad, last = response.json()["results"]
    assert first["status"] == last["status"] == "ok"
    assert bad["status"] == "error"
    assert bad["error"]["status"] == 422
    assert bad["error"]["errors"][0]["field"] == field
    assert bad.get("id") == ("bad" if isinstance(item, dict) and item["id"] == "bad" else None)
    assert response.json()["failed"] == 1


async def test_an_item_the_engine_cannot_compute_fails_alone() -> None:
    async with run_fake_service() as service:
        poison = encode("毒")[0]
        service.engine.fail = lambda token_ids: (
            EngineFailed("the engine could not compute this item") if poison in token_ids else None
        )
        items = [PROBLEM, {"text": "毒"}, {"text": "好"}]
        response = await service.client.post("/classify/problem/batch", json={"items": items})
    statuses = [result["status"] for result in response.json()["results"]]
    assert statuses == ["ok", "error", "ok"]
    assert response.json()["results"][1]["error"]["type"] == "urn:ncal-serve:error:engine-failed"


async def test_a_fault_of_ours_in_one_item_fails_alone_and_tells_nothing() -> None:
    async with run_fake_service() as service:
        poison = encode("毒")[0]
        service.engine.fail = lambda token_ids: (
            RuntimeError("student text") if poison in token_ids else None
        )
        items = [PROBLEM, {"text": "毒"}]
        response = await service.client.post("/classify/problem/batch", json={"items": items})
        metrics = service.core.metrics.render().decode()
    assert response.json()["results"][0]["status"] == "ok"
    assert response.json()["results"][1]["error"]["status"] == 500
    failed = 'ncal_items_total{mode="batch",model="example",outcome="internal",task="timss"} 1.0'
    assert failed in metrics
    assert "student text" not in response.text


async def test_scores_that_are_no_numbers_are_never_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def score(token_ids: list[int], *, priority: int = 0) -> list[float]:
        return [math.nan] * 15

    async with run_fake_service() as service:
        monkeypatch.setattr(service.engine, "score", score)
        response = await service.client.post("/classify/problem", json=PROBLEM)
    assert response.status_code == 500
    assert response.json()["type"] == "urn:ncal-serve:error:engine-failed"


@pytest.mark.parametrize(
    "body",
    [{}, {"items": []}, {"items": "x"}, [], {"items": [PROBLEM], "prior": "uniform"}],
)
async def test_a_batch_that_is_none_is_refused_whole(body: Any) -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/classify/problem/batch", json=body)
    assert response.status_code == 422
    assert service.engine.scored == []


async def test_a_batch_with_too_many_items_is_told_of_streams() -> None:
    async with run_fake_service(max_batch_items=2) as service:
        body = {"items": [PROBLEM] * 3}
        response = await service.client.post("/classify/problem/batch", json=body)
    assert response.status_code == 422
    assert "use a stream" in response.json()["errors"][0]["reason"]


async def test_a_batch_that_finds_no_room_is_refused_before_any_work() -> None:
    limits = {"max_waiting_items": 4, "max_batched_items": 1}
    async with run_fake_service(**limits) as service:
        service.engine.open.clear()
        body = {"items": [PROBLEM] * 5}
        first = asyncio.ensure_future(service.client.post("/classify/problem/batch", json=body))
        while service.classifier.read_queues().items < 3:
            await asyncio.sleep(0.01)
        response = await service.client.post("/classify/problem/batch", json=body)
        service.engine.open.set()
        assert (await first).json()["ok"] == 5
    assert response.status_code == 503
    assert response.json()["type"] == "urn:ncal-serve:error:overloaded"
    assert int(response.headers["retry-after"]) >= 1
    assert len(service.engine.scored) == 5


async def test_who_would_wait_too_long_is_refused() -> None:
    """The queue is the one that the process makes of its settings."""
    limits = {"max_batched_items": 1, "max_batched_tokens": 64, "max_wait_s": 1e-6}
    async with run_fake_service(**limits) as service:

        async def ask(**headers: str) -> httpx.Response:
            return await service.client.post("/classify/problem", json=PROBLEM, headers=headers)

        service.engine.open.clear()
        first = [asyncio.ensure_future(ask()) for _ in range(20)]
        while service.classifier.read_queues().items < 18:
            await asyncio.sleep(0.01)
        service.engine.open.set()  # how fast a queue drains is known from here on
        assert {response.status_code for response in await asyncio.gather(*first)} == {200}
        service.engine.open.clear()
        held = [asyncio.ensure_future(ask()) for _ in range(3)]
        while service.classifier.read_queues().items < 1:
            await asyncio.sleep(0.01)
        refused = await ask(**{"X-Request-Timeout": "5"})
        service.engine.open.set()
        assert {response.status_code for response in await asyncio.gather(*held)} == {200}
    assert refused.status_code == 503
    assert refused.json()["detail"] == "the wait would be too long; try again later"
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/classify/problem/batch", {"items": [PROBLEM] * 20}),
        ("/classify/dialogue", {"turns": [{"speaker": "teacher", "text": "好"}] * 20}),
    ],
)
async def test_what_would_never_find_room_is_not_told_to_try_again(path: str, body: Any) -> None:
    async with run_fake_service(max_waiting_items=4, max_batched_items=1) as service:
        response = await service.client.post(path, json=body)
    assert response.status_code == 413
    assert "retry-after" not in response.headers
    assert "5 items" in response.json()["detail"] and "stream" in response.json()["detail"]
    assert service.engine.scored == []


async def test_any_task_of_a_manifest_is_served_under_its_name() -> None:
    custom = make_manifest(name="custom", tasks=[make_task(BLOOM)], weights_sha256="1" * 64)
    async with run_fake_service(make_manifest(), custom) as service:
        response = await service.client.post("/classify/tasks/bloom", json=PROBLEM)
        batch = await service.client.post("/classify/tasks/bloom/batch", json={"items": [PROBLEM]})
        builtin = await service.client.post("/classify/tasks/timss", json=PROBLEM)
        same = await service.client.post("/classify/problem", json=PROBLEM)
        listed = await service.client.get("/labels")
    assert set(response.json()["probabilities"]) == {"remember", "apply", "create"}
    assert response.json()["model"] == {"name": "custom", "fingerprint": custom.fingerprint}
    assert batch.json()["results"][0]["prediction"] == response.json()
    assert builtin.json() == same.json()
    paths = {task["task"]: task["path"] for task in listed.json()["tasks"]}
    assert paths == {
        "timss": "/v1/classify/problem",
        "irf": "/v1/classify/dialogue-turn",
        "bloom": "/v1/classify/tasks/bloom",
    }


@pytest.mark.parametrize("identifier", ["a", "", 7, 0, "名" * 256])
@pytest.mark.parametrize(("path", "item"), [("problem", PROBLEM), ("tasks/irf", TURN)])
async def test_the_id_of_a_single_item_comes_back(
    path: str, item: dict[str, Any], identifier: str | int
) -> None:
    async with run_fake_service() as service:
        url = f"/v1/classify/{path}"
        plain, named = [
            (await service.client.post(url, json=each)).json()
            for each in (item, item | {"id": identifier})
        ]
        batch = await service.client.post(
            f"{url}/batch", json={"items": [item | {"id": identifier}]}
        )
    assert named == {"id": identifier, **plain} and "id" not in plain
    (result,) = batch.json()["results"]
    assert result["id"] == identifier and result["prediction"] == plain


@pytest.mark.parametrize("identifier", [True, 1.5, ["a"], {}, "a" * 257])
async def test_a_single_item_may_not_be_called_so(identifier: Any) -> None:
    async with run_fake_service() as service:
        answer = await service.client.post("/classify/problem", json=PROBLEM | {"id": identifier})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("id")


@pytest.mark.parametrize(
    ("path", "item"),
    [("problem", PROBLEM), ("dialogue-turn", TURN), ("tasks/timss", PROBLEM), ("dialogue", None)],
)
async def test_a_path_with_a_version_and_the_one_without_are_one_endpoint(
    path: str, item: dict[str, Any] | None
) -> None:
    body = item or {"turns": [{"speaker": "teacher", "text": "一加一？"}]}
    async with run_fake_service() as service:
        answers = [
            await service.client.post(f"{version}/classify/{path}", json=body)
            for version in ("", "/v1")
        ]
        metrics = (await service.client.get("/metrics")).text
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    route = "tasks/{task}" if "tasks" in path else path
    count = f'ncal_http_requests_total{{method="POST",route="/classify/{route}",status="200"}} 2.0'
    assert count in metrics and "/v1/classify/" not in metrics


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/models", "/v1/models", "/labels", "/metrics"]
)
async def test_what_can_be_got_can_be_asked_for_its_head(path: str) -> None:
    async with run_fake_service() as service:
        got, head = await service.client.get(path), await service.client.head(path)
        document = (await service.client.get("/openapi.json")).json()
        posted = await service.client.post(path)
    assert (got.status_code, head.status_code, posted.status_code) == (200, 200, 405)
    assert posted.headers["allow"] == "GET, HEAD"
    assert head.headers["content-type"] == got.headers["content-type"]
    assert list(document["paths"][path]) == ["get"]


async def test_a_task_that_is_not_loaded_is_not_found() -> None:
    async with run_fake_service(make_manifest(tasks=[make_task()])) as service:
        turn = await service.client.post("/classify/dialogue-turn", json=TURN)
        other = await service.client.post("/classify/tasks/none", json=PROBLEM)
    assert (turn.status_code, other.status_code) == (404, 404)
    assert "timss" in turn.json()["detail"]


async def test_expired_work_is_cancelled_in_the_engine() -> None:
    async with run_fake_service() as service:
        service.engine.open.clear()
        headers = {"X-Request-Timeout": "0.1"}
        response = await service.client.post("/classify/problem", json=PROBLEM, headers=headers)
    assert response.status_code == 504
    assert response.json()["type"] == "urn:ncal-serve:error:deadline-exceeded"
    assert service.engine.cancelled == 1
    assert service.classifier.models[0].admission.running_items == 0


@pytest.mark.parametrize("path", ["/classify/problem/batch", "/classify"])
async def test_tokenizing_is_within_the_deadline(path: str) -> None:
    body = {"items": [PROBLEM] * 9} if path.endswith("batch") else {"input": ["好"] * 9}
    async with run_fake_service() as service:
        encoder = HeldEncoder(service, "timss")
        headers = {"X-Request-Timeout": "0.1"}
        response = await service.client.post(path, json=body, headers=headers)
        encoder.open.set()
        assert (await service.client.post(path, json=body)).status_code == 200
    assert response.status_code == 504
    assert not service.engine.cancelled


@pytest.mark.parametrize("value", ["0", "-1", "5e-324", "0.09", "nan", "soon", "inf", "601"])
async def test_a_timeout_out_of_range_is_refused(value: str) -> None:
    async with run_fake_service() as service:
        headers = {"X-Request-Timeout": value}
        response = await service.client.post("/classify/problem", json=PROBLEM, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "header.x-request-timeout"


async def test_a_long_batch_is_tokenized_in_parts_and_stays_in_order() -> None:
    items = [{"id": number, "text": f"{number}加一是多少？"} for number in range(600)]
    async with run_fake_service() as service:
        response = await service.client.post("/classify/problem/batch", json={"items": items})
        results = response.json()["results"]
        assert [result["id"] for result in results] == list(range(600))
        await check_answers(
            service,
            [str(item["text"]) for item in items],
            [result["prediction"] for result in results],
        )


async def test_many_requests_at_once_all_get_their_own_answer() -> None:
    texts = [f"{number}加{number}等于几？" for number in range(60)]
    async with run_fake_service(max_batched_items=2) as service:
        responses = await asyncio.gather(
            *(service.client.post("/classify/problem", json={"text": text}) for text in texts)
        )
        assert [response.status_code for response in responses] == [200] * 60
        await check_answers(service, texts, [response.json() for response in responses])


async def check_answers(service: FakeService, texts: list[str], answers: list[Any]) -> None:
    task = make_task()
    for text, answer in zip(texts, answers, strict=True):
        scores = compute_scores(encode(f"<user>{text}<reply>"), 15)
        expected = calibrate_logits(task, select_rows(task, scores))
        assert list(answer["probabilities"].values()) == expected
