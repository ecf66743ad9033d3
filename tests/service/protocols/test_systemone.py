"""System One with the clients that others have published, and its answers by hand."""

import asyncio
from typing import Any

import pytest
from systemone import Choice, Client, Noul, Score, SystemOneError
from typesafe_sdk import (
    TypeSafeClient,
    TypeSafeNotFoundError,
    TypeSafeUnprocessableEntityError,
)

from contract.labels import TIMSS, LabelSet
from contract.predictions import calibrate_logits, select_rows
from service.protocols.systemone_answers import Unanswerable, answer_question, read_question
from service.protocols.systemone_forms import NoulQuestion, ScoreQuestion
from tests.contract.examples import BLOOM, make_manifest, make_task
from tests.service.fake_service import FakeService, compute_scores, run_fake_service
from tests.service.uvicorn_server import serve

PROBLEM = "小明有5个苹果，吃了2个，还剩几个？"
DIALOGUE = [
    {"speaker": "teacher", "text": "三乘四等于多少？"},
    {"speaker": "student", "text": "十二。"},
]
DOMAINS: dict[str, Any] = {"knowing": None, "applying": None, "reasoning": None}


def read_probabilities(service: FakeService, place: int = -1) -> dict[str, float]:
    """What the scores of the fake engine imply for the problem that it scored."""
    scores = compute_scores(service.engine.scored[place], service.engine.classes)
    probabilities = calibrate_logits(make_task(), select_rows(make_task(), scores))
    return dict(zip(TIMSS.ids, probabilities, strict=True))


async def ask(service: FakeService, state: Any, questions: Any, **fields: Any) -> Any:
    body = {"state": state, "questions": questions} | fields
    return await service.client.post("/v1/systemone", json=body)


async def test_the_client_of_systemone_reads_the_answers() -> None:
    async with run_fake_service() as service, serve(service.app) as host:

        def call() -> Any:
            questions = {
                "domain": Choice("Which domain?", DOMAINS),
                "recalled": Noul("Is it a matter of recall?"),
                "some": Choice("Which?", {"recall": None, "infer": "a conclusion"}),
            }
            with Client(f"http://{host}") as client:
                return client.system_one(PROBLEM, questions)

        response = await asyncio.to_thread(call)
        expected = read_probabilities(service)
        assert len(service.engine.scored) == 1  # three questions, one prefill
    knowing = expected["recall"] + expected["identify"]
    domain = response.choices["domain"]
    assert domain.probabilities["knowing"] == pytest.approx(knowing)
    assert domain.choice == max(domain.probabilities, key=domain.probabilities.get)
    best = max(domain.probabilities.values())
    assert domain.confidence == pytest.approx((best - 1 / 3) / (1 - 1 / 3))
    assert response.nouls["recalled"].noul == pytest.approx(expected["recall"])
    given = expected["recall"] / (expected["recall"] + expected["infer"])
    assert response.choices["some"].probabilities["recall"] == pytest.approx(given)
    assert response.usage.input_tokens == len(service.engine.scored[0])


async def test_the_client_of_typesafe_reads_answers_models_and_errors() -> None:
    async with run_fake_service() as service, serve(service.app) as host:

        def call() -> Any:
            with TypeSafeClient(api_key="any", base_url=f"http://{host}") as client:
                questions: Any = {
                    "move": {"type": "choice", "criteria": {"I-Q": None, "R-FR": None}}
                }
                answered = client.system_one(state=DIALOGUE, questions=questions, model="example")
                listed = client.models.list()
                with pytest.raises(TypeSafeNotFoundError, match="example/irf"):
                    client.system_one(state=DIALOGUE, questions=questions, model="jev-latest")
                spam: Any = {"spam": {"type": "noul", "instructions": "Is this spam?"}}
                with pytest.raises(
                    TypeSafeUnprocessableEntityError, match=r"irf \(I-Q, I-H"
                ) as info:
                    client.system_one(state=DIALOGUE, questions=spam, model="example")
            return answered, listed, str(info.value)

        answered, listed, message = await asyncio.to_thread(call)
    assert answered.model == "example"
    assert set(answered.choices["move"].probabilities) == {"I-Q", "R-FR"}
    assert [card.name for card in listed.models] == [
        "default", "example", "example/timss", "example/irf",
    ]  # fmt: skip
    assert "questions.0" in message and "spam" not in message


async def test_an_error_of_the_other_client_says_what_can_be_asked() -> None:
    async with run_fake_service() as service, serve(service.app) as host:

        def call() -> None:
            with Client(f"http://{host}") as client:
                client.system_one(PROBLEM, {"x": Choice("?", {"cat": None, "dog": None})})

        with pytest.raises(SystemOneError, match=r"timss \(recall, identify") as info:
            await asyncio.to_thread(call)
    assert info.value.status == 422


@pytest.mark.parametrize(
    ("state", "task"),
    [
        (PROBLEM, "timss"),
        ({"text": PROBLEM}, "timss"),
        (DIALOGUE, "irf"),
        (DIALOGUE[1] | {"previous": DIALOGUE[:1]}, "irf"),
        ("老师：三乘四等于多少？\n学生：十二。", "irf"),
        ("T: 三乘四等于多少？\n\nS: 十二。\n", "irf"),
    ],
)
async def test_a_state_has_the_forms_of_our_own_inputs(state: Any, task: str) -> None:
    paths = {"timss": "/classify/problem", "irf": "/classify/dialogue-turn"}
    own: Any = {"text": PROBLEM} if task == "timss" else DIALOGUE[1] | {"previous": DIALOGUE[:1]}
    option = "infer" if task == "timss" else "U"
    async with run_fake_service() as service:
        criteria = {"true": option}
        response = await ask(service, state, {"q": {"type": "noul", "criteria": criteria}})
        ours = await service.client.post(paths[task], json=own)
    assert response.json()["answers"]["q"]["noul"] == ours.json()["probabilities"][option]
    assert service.engine.scored[0] == service.engine.scored[1]


@pytest.mark.parametrize(
    ("question", "option"),
    [
        ({"instructions": "Is this turn a hint?"}, "I-H"),
        ({"instructions": "Is this turn I-H?"}, "I-H"),
        ({"instructions": "这句话是提示吗？"}, "I-H"),
        ({"instructions": "Which is it?", "criteria": {"true": "I-H", "false": "U"}}, "I-H"),
        ({"instructions": "Is it a refusal?", "criteria": "Refuse to respond"}, "R-RR"),
        ({"instructions": "A simplistic response, then?"}, "R-SR"),
    ],
)
async def test_a_noul_names_its_label_by_the_stated_rule(question: Any, option: str) -> None:
    async with run_fake_service() as service:
        response = await ask(service, DIALOGUE, {"q": {"type": "noul"} | question})
        own = await service.client.post(
            "/classify/dialogue-turn", json=DIALOGUE[1] | {"previous": DIALOGUE[:1]}
        )
    assert response.json()["answers"]["q"]["noul"] == own.json()["probabilities"][option]


@pytest.mark.parametrize(
    "question",
    [
        {"type": "noul", "instructions": "Is it recall, or is it infer?"},
        {"type": "noul", "instructions": "Total recalled?"},
        {"type": "noul"},
        {"type": "choice", "criteria": {"recall": None, "knowing": None}},
        {"type": "choice", "criteria": {"recall": None, "I-Q": None}},
        {"type": "score", "criteria": ["knowing", "applying", "reasoning"]},
        {"type": "score", "criteria": [{"level": 1}, "applying"]},
    ],
)
async def test_what_a_fixed_taxonomy_cannot_answer_is_refused(question: Any) -> None:
    async with run_fake_service() as service:
        response = await ask(service, PROBLEM, {"q": question})
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert detail[0]["msg"].startswith("a fixed taxonomy answers here; it can be asked: timss (")
    assert [each["loc"] for each in detail] == [["body"], ["body", "questions", 0]]
    assert service.engine.scored == []


SCALE = LabelSet.model_validate(BLOOM.model_dump() | {"order": ["remember", "apply", "create"]})


async def test_a_score_is_the_expected_level_of_an_ordered_taxonomy() -> None:
    question = {"type": "score", "criteria": ["remember", "apply", "create"]}
    manifest = make_manifest(tasks=[make_task(SCALE)])
    async with run_fake_service(manifest) as service:
        response = await ask(service, PROBLEM, {"level": question}, model="bloom")
        own = await service.client.post("/classify/tasks/bloom", json={"text": PROBLEM})
    answer, shares = response.json()["answers"]["level"], own.json()["probabilities"]
    assert answer["score"] == pytest.approx(shares["apply"] + 2 * shares["create"])
    assert answer["legend"] == {"0": "remember", "1": "apply", "2": "create"}
    assert answer["probabilities"]["2"] == pytest.approx(shares["create"])


async def test_clients_read_a_score() -> None:
    manifest = make_manifest(tasks=[make_task(SCALE)])
    async with run_fake_service(manifest) as service, serve(service.app) as host:

        def call() -> Any:
            with Client(f"http://{host}") as client:
                return client.system_one(
                    PROBLEM, {"level": Score("How hard?", ["apply", "create"])}
                )

        answer = (await asyncio.to_thread(call)).scores["level"]
    assert 0.0 <= answer.score <= 1.0
    assert answer.legend == {"0": "apply", "1": "create"}


def test_levels_out_of_order_are_no_scale() -> None:
    up, down, mixed = (
        ScoreQuestion(type="score", criteria=list(levels))
        for levels in (
            ("remember", "apply", "create"),
            ("create", "apply", "remember"),
            ("apply", "remember", "create"),
        )
    )
    rising = answer_question(read_question(SCALE, up), [0.2, 0.3, 0.5])
    falling = answer_question(read_question(SCALE, down), [0.2, 0.3, 0.5])
    assert rising["score"] == pytest.approx(1.3) and falling["score"] == pytest.approx(0.7)
    with pytest.raises(Unanswerable, match="in the order of the labels"):
        read_question(SCALE, mixed)


def test_a_group_is_the_sum_of_its_labels() -> None:
    question = NoulQuestion(type="noul", instructions="Is it about reasoning?")
    shares = [0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3]
    answer = answer_question(read_question(TIMSS, question), shares)
    assert answer == {"type": "noul", "noul": pytest.approx(0.5)}


async def test_labels_that_two_tasks_share_need_a_task_by_name() -> None:
    other = LabelSet.model_validate(BLOOM.model_dump() | {"task": "other"})
    manifest = make_manifest(tasks=[make_task(BLOOM), make_task(other, 3)])
    question = {"type": "choice", "criteria": {"remember": None, "create": None}}
    async with run_fake_service(manifest) as service:
        both = await ask(service, PROBLEM, {"q": question})
        one = await ask(service, PROBLEM, {"q": question}, model="example/other")
        model = f"{service.classifier.models[0].fingerprint}/bloom"
        by_print = await ask(service, PROBLEM, {"q": question}, model=model)
    assert both.status_code == 422 and "NAME/TASK" in both.text
    assert one.status_code == by_print.status_code == 200


async def test_a_wrong_body_is_told_in_the_form_of_the_protocol() -> None:
    async with run_fake_service() as service:
        empty = await service.client.post("/v1/systemone", json={"state": "a", "questions": {}})
        no_json = await service.client.post(
            "/v1/systemone", content="{", headers={"content-type": "application/json"}
        )
    for response in (empty, no_json):
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/json"
        assert {"loc", "msg", "type"} == set(response.json()["detail"][0])
