"""Text Embeddings Inference's route, with Hugging Face's client."""

import asyncio
from typing import Any

import pytest
from huggingface_hub import InferenceClient

from tests.service.fake_service import FakeService, run_fake_service
from tests.service.uvicorn_server import serve

TEXT = "小明有5个苹果，吃了2个，还剩几个？"


async def classify(service: FakeService, text: str = TEXT, **options: Any) -> Any:
    own = await service.client.post("/classify/problem", params=options, json={"text": text})
    return own.json()


async def test_a_text_gets_all_labels_with_the_best_one_first() -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/predict", json={"inputs": TEXT})
        own = await classify(service, top_k=7)
    expected = [{"label": e["label"], "score": e["probability"]} for e in own["top"]]
    assert response.json() == expected


async def test_a_batch_is_a_list_of_lists() -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/predict", json={"inputs": [[TEXT], ["1+1=?"]]})
        alone = await service.client.post("/predict", json={"inputs": ["1+1=?"]})
    assert len(response.json()) == 2
    assert response.json()[1] == alone.json()


async def test_raw_scores_are_the_logits() -> None:
    body = {"inputs": TEXT, "raw_scores": True}
    async with run_fake_service() as service:
        response = await service.client.post("/predict", json=body)
        own = await classify(service, raw_logits=True)
    assert {each["label"]: each["score"] for each in response.json()} == own["logits"]


async def test_hugging_faces_client_reads_the_answer() -> None:
    async with run_fake_service() as service, serve(service.app) as host:
        client = InferenceClient(model=f"http://{host}/predict")
        answer = await asyncio.to_thread(client.text_classification, TEXT, top_k=2)
        own = await classify(service, top_k=2)
    assert [(each.label, each.score) for each in answer] == [
        (each["label"], each["probability"]) for each in own["top"]
    ]


async def test_a_text_that_is_too_long_is_cut_only_when_asked() -> None:
    long = TEXT * 40
    async with run_fake_service() as service:
        refused = await service.client.post("/predict", json={"inputs": long})
        cut = await service.client.post("/predict", json={"inputs": long, "truncate": True})
    assert refused.status_code == 413
    assert refused.json()["error_type"] == "Validation" and "128 tokens" in refused.json()["error"]
    assert cut.status_code == 200 and len(cut.json()) == 7


@pytest.mark.parametrize("inputs", [["a", "b"], [], [[]], [["a", "b"]], [["a"], "b"], 7, None])
async def test_what_is_no_text_is_refused(inputs: Any) -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/predict", json={"inputs": inputs})
    assert response.status_code == 422
    assert set(response.json()) == {"error", "error_type"}


async def test_another_task_is_asked_by_the_query() -> None:
    body = {"inputs": "老师：三乘四等于多少？\n学生：十二。"}
    async with run_fake_service() as service:
        response = await service.client.post("/predict?model=example/irf", json=body)
    assert {each["label"] for each in response.json()} >= {"I-Q", "U"}
