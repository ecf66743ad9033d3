"""The prior of a request: stated, estimated where items come together, else refused."""

from typing import Any

import pytest

from contract.estimation import estimate_mix
from contract.labels import IRF, TIMSS
from contract.predictions import calibrate_logits, predict_set
from contract.priors import describe_mix, shift_prior
from service.schemas import BatchAnswer, DialogueAnswer
from tests.contract.examples import make_task
from tests.service.fake_service import run_fake_service

TASK = make_task()
PROBLEMS = {"items": [{"text": f"三角形有{number}条边吗？"} for number in range(9)]}
TURNS = {"turns": [{"speaker": "teacher", "text": f"{number}加一等于几？"} for number in range(7)]}
GIVEN = ",".join([f"{TIMSS.ids[0]}:0.4", *(f"{label}:0.1" for label in TIMSS.ids[1:])])
SHARES = [0.4, *[0.1] * 6]


def _read_uniform(answer: dict[str, Any]) -> list[float]:
    return calibrate_logits(TASK, [answer["logits"][label] for label in TIMSS.ids])


async def test_shares_of_the_callers_own_weigh_the_classes() -> None:
    async with run_fake_service() as service:
        query = {"prior": GIVEN, "raw_logits": "true", "prediction_set": "true"}
        url = "/classify/problem"
        answer = (await service.client.post(url, json=PROBLEMS["items"][0], params=query)).json()
    expected = shift_prior(_read_uniform(answer), SHARES)
    assert [answer["probabilities"][label] for label in TIMSS.ids] == pytest.approx(expected)
    assert answer["prior"] == "given"
    assert answer["label"] == TIMSS.ids[expected.index(max(expected))]
    assert answer["needs_review"] is (answer["prediction_set"] != [answer["label"]])


async def test_a_batch_tells_its_own_mix() -> None:
    async with run_fake_service() as service:
        query = {"prior": "estimate", "raw_logits": "true"}
        url = "/classify/problem/batch"
        body = (await service.client.post(url, json=PROBLEMS, params=query)).json()
    BatchAnswer.model_validate(body)
    answers = [result["prediction"] for result in body["results"]]
    uniform = [_read_uniform(answer) for answer in answers]
    mix = estimate_mix(TASK.training_prior, uniform)
    assert body["prior"] == describe_mix(mix, TIMSS.ids)
    assert body["prior"]["kind"] == "estimated" and body["prior"]["items"] == 9
    for answer, probabilities in zip(answers, uniform, strict=True):
        expected = shift_prior(probabilities, mix.shares)
        assert [answer["probabilities"][label] for label in TIMSS.ids] == pytest.approx(expected)
        assert answer["prior"] == "estimated"
        chosen = predict_set(TASK, probabilities)
        best = expected.index(max(expected))
        assert answer["needs_review"] is (chosen != [best])


async def test_items_without_an_answer_say_nothing_of_the_mix() -> None:
    items = {"items": [*PROBLEMS["items"], {"text": ""}]}
    async with run_fake_service() as service:
        url = "/classify/problem/batch?prior=estimate"
        whole = (await service.client.post(url, json=PROBLEMS)).json()
        torn = (await service.client.post(url, json=items)).json()
    assert torn["failed"] == 1 and torn["prior"] == whole["prior"]


async def test_a_dialogue_tells_its_own_mix() -> None:
    async with run_fake_service() as service:
        body = (await service.client.post("/classify/dialogue?prior=estimate", json=TURNS)).json()
        stated = (await service.client.post("/classify/dialogue", json=TURNS)).json()
    DialogueAnswer.model_validate(body)
    assert body["prior"]["kind"] == "estimated" and body["prior"]["items"] == 7
    assert {turn["prediction"]["prior"] for turn in body["turns"]} == {"estimated"}
    shares = dict.fromkeys(IRF.ids, 1 / 8)
    assert stated["prior"] == {
        "kind": "uniform",
        "shares": shares,
        "intervals": None,
        "items": None,
    }


@pytest.mark.parametrize("url", ["/classify/problem", "/classify/problem/stream"])
async def test_items_one_by_one_have_no_mix_to_estimate(url: str) -> None:
    async with run_fake_service() as service:
        media = "application/json" if url.endswith("problem") else "application/x-ndjson"
        response = await service.client.post(
            f"{url}?prior=estimate", content='{"text": "好"}', headers={"content-type": media}
        )
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "query.prior" and "use a batch or a whole dialogue" in error["reason"]


@pytest.mark.parametrize(
    ("prior", "reason"),
    [
        ("recall:0.5,identify:0.5", "must name each label of the task once: recall, identify"),
        (GIVEN.replace("0.4", "0.9"), "sum to 1"),
        ("natural", "must be uniform, training, estimate"),
    ],
)
async def test_a_prior_that_cannot_be_says_why(prior: str, reason: str) -> None:
    async with run_fake_service() as service:
        url = "/classify/problem/batch"
        response = await service.client.post(url, json=PROBLEMS, params={"prior": prior})
        assert not service.engine.scored
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "query.prior" and reason in error["reason"]


async def test_an_operator_sets_what_a_request_leaves_open() -> None:
    async with run_fake_service(default_prior="training") as service:
        item = PROBLEMS["items"][0]
        left_open = (await service.client.post("/classify/problem", json=item)).json()
        other = (await service.client.post("/classify/problem?top_k=1", json=item)).json()
        asked = (await service.client.post("/classify/problem?prior=uniform", json=item)).json()
        models = (await service.client.get("/models")).json()
    assert (left_open["prior"], other["prior"], asked["prior"]) == (
        "training",
        "training",
        "uniform",
    )
    assert {task["default_prior"] for task in models["models"][0]["tasks"]} == {"training"}
