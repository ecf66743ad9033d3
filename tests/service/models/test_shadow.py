"""A shadow reads along: it is compared, never seen, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

import pytest

from contract.inputs import Problem
from contract.labels import IRF
from contract.predictions import calibrate_logits, select_rows
from engine.errors import EngineFailed
from service.models import shadow
from service.models.shadow import MOST_WAITING
from service.settings import Settings
from tests.contract.examples import make_manifest, make_task
from tests.service.fake_service import FakeEngine, FakeService, compute_scores, run_fake_service

OLD = make_manifest(name="old")
NEXT = make_manifest(
    name="next", tasks=[make_task(temperature=1.0), make_task(IRF, 7, biases=[9.0] + [0.0] * 7)]
)
TEXTS = [f"{number} + 4 = ?" for number in range(10)]
TURN = {"speaker": "student", "text": "七。"}


class Stage(NamedTuple):
    """A service in which `next` reads along with `old`."""

    service: FakeService
    engine: FakeEngine
    """That of the shadow."""

    async def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        response = await self.service.client.post(
            "/classify/problem/batch", json={"items": [{"text": text} for text in texts]}
        )
        return [result["prediction"] for result in response.json()["results"]]

    def count(self, name: str, **labels: str) -> float:
        registry = self.service.core.metrics.registry
        return registry.get_sample_value(f"ncal_shadow_{name}", labels) or 0.0

    async def wait_for(self, outcome: str, number: int, task: str = "timss") -> None:
        async with asyncio.timeout(30):
            while self.count("items_total", task=task, outcome=outcome) < number:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def run_stage(share: float = 1.0, **settings: Any) -> AsyncIterator[Stage]:
    async with run_fake_service(OLD, NEXT, **settings) as service:
        _, follower = service.classifier.models
        service.classifier.shadow.start(follower, share)
        yield Stage(service, cast(FakeEngine, follower.engine))


async def test_what_is_answered_is_compared_and_the_answers_are_the_first_models() -> None:
    async with run_fake_service(OLD) as alone:
        batch = {"items": [{"text": text} for text in TEXTS]}
        expected = (await alone.client.post("/classify/problem/batch", json=batch)).json()
    async with run_stage() as stage:
        answers = await stage.classify(TEXTS)
        assert answers == [result["prediction"] for result in expected["results"]]
        await stage.wait_for("agree", len(TEXTS))  # a temperature changes no label
        assert len(stage.engine.scored) == len(TEXTS)
        confidences = [answer["confidence"] for answer in answers]
        first = stage.count("confidence_sum", task="timss", of="first")
        assert first == pytest.approx(sum(confidences))
        sharper = []
        for text in TEXTS:
            scores = compute_scores([1, *map(ord, text), 2], 15)
            task = NEXT.task("timss")
            sharper.append(max(calibrate_logits(task, select_rows(task, scores))))
        second = stage.count("confidence_sum", task="timss", of="shadow")
        assert second == pytest.approx(sum(sharper))
        apart = stage.count("confidence_difference_sum", task="timss")
        differences = [abs(a - b) for a, b in zip(confidences, sharper, strict=True)]
        assert apart == pytest.approx(sum(differences))
        for of in ("first", "shadow"):
            assert stage.count("duration_seconds_count", of=of) == len(TEXTS)
        metrics = (await stage.service.client.get("/metrics")).text
        assert 'ncal_prediction_confidence_count{model="next",task="timss"} 0.0' in metrics


async def test_where_they_differ_both_labels_are_counted() -> None:
    async with run_stage() as stage:
        response = await stage.service.client.post("/classify/dialogue-turn", json=TURN)
        label = response.json()["label"]
        assert label != "I-Q"  # which the biases of `next` make its only label
        await stage.wait_for("disagree", 1, "irf")
        assert stage.count("labels_total", task="irf", label=label, shadow_label="I-Q") == 1


async def test_it_gets_its_share() -> None:
    async with run_stage() as stage:
        drawn = iter([0.05, 0.5, 0.15, 0.95] * 10)
        reader = stage.service.classifier.shadow
        reader._draw = lambda: next(drawn)
        reader.start(stage.service.classifier.models[1], 0.2)
        await stage.classify(TEXTS[:8])
        await stage.wait_for("agree", 4)
        await asyncio.sleep(0.05)
        assert len(stage.engine.scored) == 4


async def test_it_computes_only_when_nobody_waits_and_drops_what_it_cannot_take() -> None:
    async with run_stage() as stage:
        await stage.classify(TEXTS[:1])
        await stage.wait_for("agree", 1)
        stage.service.engine.open.clear()
        busy = asyncio.create_task(stage.classify(["3 + 3 = ?"]))
        while not stage.service.engine.running:
            await asyncio.sleep(0.01)
        by_name = await stage.service.client.post(
            "/classify/problem", params={"model": "next"}, json={"text": "5 + 5 = ?"}
        )
        assert by_name.json()["model"]["name"] == "next"
        for text in [str(number) for number in range(MOST_WAITING + 7)]:
            served = stage.service.classifier.tasks["timss"]
            item = shadow.Answered(served, Problem(text=text), [1.0] + [0.0] * 6, 0.01, 1e12)
            stage.service.classifier.shadow.offer(item)
        await asyncio.sleep(0.05)
        assert stage.count("items_total", task="timss", outcome="dropped") == 7
        assert len(stage.engine.scored) == 2  # one that was compared, one that was asked by name
        stage.service.engine.open.set()
        await busy
        async with asyncio.timeout(30):
            while len(stage.engine.scored) < 2 + MOST_WAITING:
                await asyncio.sleep(0.01)


async def test_what_has_waited_too_long_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "LONGEST_WAIT_S", -1.0)
    async with run_stage() as stage:
        await stage.classify(TEXTS[:3])
        await stage.wait_for("dropped", 3)
        assert stage.engine.scored == []


async def test_a_shadow_that_fails_or_dies_is_nobodys_business() -> None:
    async with run_stage(canary_cache_s=0.0) as stage:
        stage.engine.fail = lambda token_ids: EngineFailed("no")
        answers = await stage.classify(TEXTS[:2])
        assert len(answers) == 2
        await stage.wait_for("failed", 2)
        stage.engine.fail = lambda token_ids: RuntimeError("a fault")
        await stage.classify(TEXTS[:1])
        await stage.wait_for("failed", 3)
        stage.engine.die()
        await stage.classify(TEXTS[:1])
        await stage.wait_for("failed", 4)
        assert len(await stage.classify(TEXTS)) == len(TEXTS)
        for probe in ("live", "ready"):
            assert (await stage.service.client.get(f"/health/{probe}")).status_code == 200


async def test_models_says_who_reads_along() -> None:
    async with run_stage(share=0.25) as stage:
        models = (await stage.service.client.get("/models")).json()["models"]
        assert {each["name"]: each["shadow_share"] for each in models} == {"old": 0, "next": 0.25}
        stage.service.classifier.shadow.stop()
        await stage.classify(TEXTS)
        models = (await stage.service.client.get("/models")).json()["models"]
        assert {each["shadow_share"] for each in models} == {0}
        assert stage.engine.scored == []


def test_a_share_is_one() -> None:
    assert Settings().shadow_share == 0.1
    with pytest.raises(ValueError, match="shadow_share"):
        Settings(shadow_share=1.5)
