"""Pass rates follow from the answers, and the bundled checkpoint can be asked."""

from pathlib import Path

import pytest

from contract.inputs import AnyInput, DialogueTurn, Problem
from engine.checkpoint import BUNDLED_CHECKPOINT
from training.data.behaviour import Direction, Functionality, Invariance
from training.errors import BadInput
from training.evaluation.behaviour import Rate, judge, measure_behaviour

LABELS = ("statement", "question")


def _answer(item: AnyInput) -> int:
    """Any text with a question mark of the wide kind is a question."""
    return int("？" in item.text)


def test_rates_count_what_passes() -> None:
    turn = DialogueTurn(speaker="teacher", text="先通分")
    rates, failed = judge(
        [
            Functionality(
                test="functionality", task="x", label="question", input=Problem(text="为什么？")
            ),
            Functionality(
                test="functionality", task="x", label="question", input=Problem(text="为什么")
            ),
            Direction(
                test="direction", task="x", label="question", input=turn, changed="为什么先通分？"
            ),
            Invariance(
                test="invariance", task="x", kind="sign", input=Problem(text="几？"),
                variants=["几", "多少？"],
            ),
        ],
        LABELS,
        _answer,
    )  # fmt: skip
    by_kind = {(rate.test, rate.kind): (rate.passed, rate.total) for rate in rates}
    assert by_kind["functionality", "question"] == by_kind["functionality", "all"] == (1, 2)
    assert by_kind["direction", "all"] == (1, 1)
    assert by_kind["invariance", "sign"] == (1, 2)
    assert by_kind["invariance", "half width"] == (0, 1)  # of the one text with a wide sign
    assert "functionality, question: 为什么 → statement" in failed
    assert [rate.kind for rate in rates if rate.test == "functionality"][-1] == "all"
    assert isinstance(rates[0], Rate)


def test_the_bundled_checkpoint_answers(tmp_path: Path) -> None:
    """Real weights: an equation is implement, under both priors."""
    path = tmp_path / "own.jsonl"
    path.write_text(
        '{"test": "functionality", "task": "timss", "label": "implement", '
        '"input": {"text": "解方程：3x+5=20"}}\n'
        '{"test": "functionality", "task": "timss", "label": "analyze", '
        '"input": {"text": "解方程：3x+5=20"}}\n',
        encoding="utf-8",
    )
    text = measure_behaviour(BUNDLED_CHECKPOINT, [path], failures=True)
    assert "| functionality, implement | 1 | 1.000 [0.207, 1.000] | 1.000 [0.207, 1.000] |" in text
    assert "functionality, analyze: 解方程：3x+5=20 → implement" in text


def test_labels_of_another_set_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(
        '{"test": "functionality", "task": "timss", "label": "guess", "input": {"text": "题"}}\n',
        encoding="utf-8",
    )
    with pytest.raises(BadInput, match="label guess, which the checkpoint lacks"):
        measure_behaviour(BUNDLED_CHECKPOINT, [path])
