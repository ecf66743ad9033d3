"""A row that is labelled in bulk equals the row that the real service labels over HTTP."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk.job import load_labelling
from bulk.rows.answers import label_batch
from bulk.rows.columns import Columns
from bulk.scorer import EngineScorer
from engine.choice import choose_engine
from tables.speakers import SPEAKERS
from tests.bulk.fake_labelling import make_batch
from tests.bulk.jobs import CHECKPOINT, OPTIONS, make_job
from tests.e2e.service_process import ServiceProcess

pytestmark = pytest.mark.slow

PROBLEMS = [
    "小明有8个苹果，又买来5个，现在一共有多少个苹果？", "解方程：3x+7=100",
    "24和36的最大公因数是多少？", "一个长方形长9厘米，宽4厘米，求它的面积。", " 什么是质数？ ",
    "按规律填数：1，4，9，16，（）。请说明理由。" * 12,
]  # fmt: skip
TURNS = [
    ("teacher", "八分之六怎么约分？"), ("student", "同时除以二，"), ("student", "等于四分之三。"),
    ("teacher", "没错，很好。"), ("teacher", "那九分之六呢？"), ("student", "嗯。"),
]  # fmt: skip


@pytest.fixture(scope="module")
def scorer() -> Iterator[EngineScorer]:
    scorer = EngineScorer(CHECKPOINT, choose_engine("openvino"), OPTIONS)
    yield scorer
    scorer.close()


def ask(service: ServiceProcess, path: str, content: Any) -> Any:
    request = urllib.request.Request(
        service.url + path, json.dumps(content).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def assert_equal(row: dict[str, Any], prediction: dict[str, Any]) -> None:
    assert row["ncal_label"] == prediction["label"]
    assert row["ncal_needs_review"] == prediction["needs_review"]
    assert row["ncal_was_cut"] == prediction["was_cut"]
    assert row["ncal_model"] == " ".join(prediction["model"].values())
    for label, probability in prediction["probabilities"].items():
        assert row[f"ncal_p_{label}"] == pytest.approx(probability, abs=1e-6)


def test_problems(tmp_path: Path, shared_service: ServiceProcess, scorer: EngineScorer) -> None:
    """One by one on both sides: what a step holds beside it moves the last bits of an answer."""
    _, how = load_labelling(make_job(tmp_path))
    for text in PROBLEMS:
        [row] = label_batch(make_batch(text=[text]), how, scorer.score).to_pylist()
        assert_equal(row, ask(shared_service, "/classify/problem?prior=uniform", {"text": text}))
    together = label_batch(make_batch(text=PROBLEMS), how, scorer.score).to_pylist()
    items = [{"text": text} for text in PROBLEMS]
    results = ask(shared_service, "/classify/problem/batch?prior=uniform", {"items": items})
    for row, result in zip(together, results["results"], strict=True):
        for label, probability in result["prediction"]["probabilities"].items():
            assert row[f"ncal_p_{label}"] == pytest.approx(probability, abs=1e-4)


def test_turns(tmp_path: Path, shared_service: ServiceProcess, scorer: EngineScorer) -> None:
    columns = Columns("text", "speaker", "dialogue")
    _, how = load_labelling(make_job(tmp_path, task="irf", columns=columns, speakers=SPEAKERS))
    speakers, texts = zip(*TURNS, strict=True)
    batch = make_batch(dialogue=["1"] * len(TURNS), speaker=speakers, text=texts)

    def score_one_by_one(prompts: Any) -> Any:
        return [scorer.score([prompt])[0] for prompt in prompts]

    rows = label_batch(batch, how, score_one_by_one).to_pylist()
    for place, row in enumerate(rows):
        turns = [{"speaker": speaker, "text": text} for speaker, text in TURNS]
        item = {
            **turns[place],
            "previous": turns[max(0, place - 1) : place],
            "following": turns[place + 1 : place + 2],
        }
        assert_equal(row, ask(shared_service, "/classify/dialogue-turn?prior=uniform", item))
