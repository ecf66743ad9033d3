"""A batch of rows gets the labels that the service gives them, and rows that fail an error."""

import pyarrow as pa
import pytest

from bulk.rows.answers import label_batch
from bulk.rows.columns import make_fields
from contract.priors import Mix
from labelling.client import describe_tasks
from labelling.results.output import name_columns
from tests.bulk.fake_labelling import (
    REFUSED,
    TURN_TASK,
    TURNS,
    InstantScorer,
    make_batch,
    make_labelling,
)
from tests.contract.examples import make_manifest, make_task
from tests.service.fake_service import run_fake_service

TEXTS = ["三加四等于多少？", "  ", "把八分之六约分。", None, f"{REFUSED}的题", "长" * 300]
SHARES = tuple(n / 28 for n in range(7, 0, -1))


@pytest.mark.parametrize("mix", [Mix("uniform", ()), Mix("given", SHARES)])
async def test_problems_are_labelled_as_the_service_labels_them(mix: Mix) -> None:
    how = make_labelling(mix=mix)
    batch = make_batch(id=range(len(TEXTS)), text=TEXTS)
    rows = label_batch(batch, how, InstantScorer().score).to_pylist()
    named = zip(how.task.label_set.ids, SHARES, strict=True)
    prior = "uniform" if mix.kind == "uniform" else ",".join(f"{id}:{part}" for id, part in named)
    async with run_fake_service() as service:
        for row, text in zip(rows, TEXTS, strict=True):
            assert row["text"] == text
            if not (text or "").strip() or REFUSED in (text or ""):
                continue
            answer = await service.client.post(
                f"/classify/problem?prediction_set=true&prior={prior}", json={"text": text}
            )
            expected = answer.json()
            assert row["ncal_label"] == expected["label"]
            assert row["ncal_confidence"] == pytest.approx(expected["confidence"], abs=1e-6)
            assert row["ncal_needs_review"] == expected["needs_review"]
            assert row["ncal_prediction_set"] == expected["prediction_set"]
            assert row["ncal_was_cut"] == expected["was_cut"] == (len(text or "") > 200)
            assert row["ncal_error"] is None
            for label, probability in expected["probabilities"].items():
                assert row[f"ncal_p_{label}"] == pytest.approx(probability, abs=1e-6)


def test_a_bad_row_is_a_row_with_an_error() -> None:
    how = make_labelling()
    rows = label_batch(make_batch(text=TEXTS), how, InstantScorer().score).to_pylist()
    assert [row["ncal_error"] for row in rows] == [
        None, "the text is empty", None, "the text is empty",
        "the engine could not compute this item", None,
    ]  # fmt: skip
    for row in rows:
        assert row["ncal_model"] == "example 0123456789ab"
        assert (row["ncal_label"] is None) == (row["ncal_error"] is not None)
        assert (row["ncal_p_recall"] is None) == (row["ncal_error"] is not None)


def test_scores_that_are_no_numbers_are_an_error() -> None:
    how = make_labelling()
    (row,) = label_batch(
        make_batch(text=["一"]), how, lambda prompts: [[float("nan")] * 15]
    ).to_pylist()
    assert row["ncal_error"] == "the engine's scores are not finite numbers"


def test_columns_are_those_of_labelled_files_and_stand_behind_the_others() -> None:
    how = make_labelling(prefix="m_")
    batch = make_batch(text=["一加一"], extra=[b"\x00"])
    labelled = label_batch(batch, how, InstantScorer().score)
    (task, _) = describe_tasks(make_manifest())
    assert labelled.schema.names == ["text", "extra", *name_columns(task, "m_")]
    assert labelled.column("extra").to_pylist() == [b"\x00"]
    assert labelled.schema.field("m_p_recall").type == pa.float32()
    kinds = [field.type for field in make_fields(make_task(), "m_")]
    empty = label_batch(batch.slice(0, 0), how, InstantScorer().score)
    assert [field.type for field in empty.schema][2:] == kinds


@pytest.mark.parametrize("mode", ["live", "retrospective"])
async def test_turns_are_read_in_their_dialogue_as_the_service_reads_them(mode: str) -> None:
    """Rows of two dialogues, shuffled together; numbers say which turn came first."""
    spoken = {
        "a": [("老师", "八分之六怎么约分？"), ("小红", "同时除以二。"), ("老师", "很好。")],
        "b": [("T", "三加四？"), ("S1", "七。")],
    }
    rows = [
        ("a", 2, *spoken["a"][1]), ("b", 10, *spoken["b"][1]), ("a", 1, *spoken["a"][0]),
        ("a", 11, *spoken["a"][2]), ("b", 9, *spoken["b"][0]), ("a", 5, "老师", " "),
    ]  # fmt: skip
    dialogue, order, speaker, text = zip(*rows, strict=True)
    how = make_labelling(TURN_TASK, columns=TURNS._replace(order="order"), mode=mode)
    batch = make_batch(dialogue=dialogue, order=order, speaker=speaker, text=text)
    labelled = label_batch(batch, how, InstantScorer().score).to_pylist()
    async with run_fake_service() as service:
        for name, turns in spoken.items():
            body = {
                "turns": [
                    {"speaker": "teacher" if who in ("老师", "T") else "student", "text": said}
                    for who, said in turns
                ],
                "mode": mode,
            }
            answer = await service.client.post("/classify/dialogue?prior=uniform", json=body)
            for turn, (_, said) in zip(answer.json()["turns"], turns, strict=True):
                [row] = [row for row in labelled if row["dialogue"] == name and row["text"] == said]
                expected = turn["prediction"]
                assert row["ncal_label"] == expected["label"]
                for label, probability in expected["probabilities"].items():
                    assert row[f"ncal_p_{label}"] == pytest.approx(probability, abs=1e-6)
    assert [row["text"] for row in labelled] == list(text)
    assert labelled[5]["ncal_error"] == "the text is empty"
