"""vLLM's classification, read by vLLM's own models."""

from typing import Any

import pytest

from contract.labels import IRF, TIMSS
from tests.contract.examples import BLOOM, make_manifest, make_task
from tests.service.fake_service import run_fake_service

TEXTS = ["小明有5个苹果，吃了2个，还剩几个？", "1千米=____米"]
MESSAGES = [
    {"role": "assistant", "content": "三乘四等于多少？"},
    {"role": "user", "content": "十二。"},
]


@pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
async def test_texts_get_the_answers_of_our_own_endpoint(path: str) -> None:
    async with run_fake_service() as service:
        response = await service.client.post(path, json={"model": "timss", "input": TEXTS})
        items = [{"text": text} for text in TEXTS]
        own = await service.client.post("/classify/problem/batch", json={"items": items})
    answers = [result["prediction"] for result in own.json()["results"]]
    body = response.json()
    assert [each["label"] for each in body["data"]] == [each["label"] for each in answers]
    assert [dict(zip(TIMSS.ids, each["probs"], strict=True)) for each in body["data"]] == [
        each["probabilities"] for each in answers
    ]
    assert [each["index"] for each in body["data"]] == [0, 1]
    tokens = sum(len(scored) for scored in service.engine.scored[:2])
    assert body["usage"] == {
        "prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0,
    }  # fmt: skip


async def test_a_conversation_is_a_dialogue_whose_last_turn_is_asked_about() -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/classify", json={"messages": MESSAGES})
        turn = {"speaker": "student", "text": "十二。"}
        previous = [{"speaker": "teacher", "text": "三乘四等于多少？"}]
        own = await service.client.post(
            "/classify/dialogue-turn", json=turn | {"previous": previous}
        )
    data = response.json()["data"][0]
    assert dict(zip(IRF.ids, data["probs"], strict=True)) == own.json()["probabilities"]
    assert response.json()["model"] == "example/irf"


async def test_a_transcript_is_read_as_one_in_a_file() -> None:
    """Names, what goes on in the next line, and empty lines."""
    transcript = "[00:01] 王老师：三乘四\n等于多少？\n\n小明: 十二。\n"
    async with run_fake_service() as service:
        body = {"model": "irf", "input": transcript}
        response = await service.client.post("/classify", json=body)
        previous = [{"speaker": "teacher", "text": "三乘四\n等于多少？"}]
        own = await service.client.post(
            "/classify/dialogue-turn",
            json={"speaker": "student", "text": "十二。", "previous": previous},
        )
    data = response.json()["data"][0]
    assert dict(zip(IRF.ids, data["probs"], strict=True)) == own.json()["probabilities"]


async def test_a_transcript_has_a_bound() -> None:
    body = {"model": "irf", "input": "T: 好\n" * 4}
    async with run_fake_service(max_dialogue_turns=3) as service:
        response = await service.client.post("/classify", json=body)
    assert response.status_code == 400
    assert "has more than 3 lines" in response.json()["error"]["message"]


async def test_without_activation_the_raw_logits_come_back() -> None:
    body = {"input": TEXTS[0], "use_activation": False}
    async with run_fake_service() as service:
        response = await service.client.post("/classify", json=body)
        own = await service.client.post(
            "/classify/problem", params={"raw_logits": True}, json={"text": TEXTS[0]}
        )
    probs = response.json()["data"][0]["probs"]
    assert dict(zip(TIMSS.ids, probs, strict=True)) == own.json()["logits"]


async def test_vllms_own_models_read_answers_and_errors() -> None:
    from vllm.entrypoints.pooling.classify.protocol import ClassificationResponse
    from vllm.entrypoints.serve.engine.protocol import ErrorResponse

    async with run_fake_service() as service:
        answer = await service.client.post("/classify", json={"input": TEXTS})
        error = await service.client.post("/classify", json={"input": TEXTS, "model": "other"})
    read = ClassificationResponse.model_validate(answer.json())
    assert [each.num_classes for each in read.data] == [7, 7]
    told = ErrorResponse.model_validate(error.json()).error
    assert (told.code, told.type) == (404, "NotFoundError") == (error.status_code, told.type)
    assert "example/timss, example/irf" in told.message


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input": [], "messages": MESSAGES},
        {"input": "  "},
        {"input": [1, 2]},
        {"messages": []},
        {"messages": [{"role": "system", "content": "x"}]},
        {"model": "irf", "input": "十二。"},
        {"model": "irf", "input": "小明：十二。"},
    ],
)
async def test_what_cannot_be_read_is_a_bad_request(body: Any) -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/classify", json=body)
    assert response.status_code == 400
    told = response.json()["error"]
    assert (told["type"], told["code"]) == ("BadRequestError", 400)
    assert "十二" not in response.text


async def test_two_tasks_of_problems_need_a_task_by_name() -> None:
    manifest = make_manifest(tasks=[make_task(), make_task(BLOOM, 7)])
    async with run_fake_service(manifest) as service:
        both = await service.client.post("/classify", json={"input": TEXTS})
        one = await service.client.post("/classify", json={"input": TEXTS, "model": "bloom"})
    assert both.status_code == 400 and "example/bloom" in both.json()["error"]["message"]
    assert one.json()["data"][0]["num_classes"] == 3
