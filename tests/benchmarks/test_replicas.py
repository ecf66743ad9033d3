"""What the run of replicas calls a fault."""

from typing import Any

import pytest

from benchmarks.replicas.__main__ import KILLED, ROLLOUT, THREE, TWO, find_faults
from benchmarks.replicas.expected import Expected
from benchmarks.replicas.ledger import CUT, Ledger


def make_ledger() -> Ledger:
    """A run in which nothing was wrong: the rollout did 0.95 of two replicas."""
    ledger = Ledger()
    for name, right in ((THREE, 150), (KILLED, 90), (TWO, 100), (ROLLOUT, 95)):
        phase = ledger.begin(name)
        phase.started, phase.ended = 0.0, 1.0
        phase.right = right
        ledger.sent += right
    return ledger


def test_what_the_pages_tell_of_is_no_fault() -> None:
    ledger = make_ledger()
    ledger.phases[1].refusals[f"single {CUT}"] += 3
    ledger.phases[3].refusals["stream draining"] += 1
    assert find_faults(ledger, 0.9) == []


@pytest.mark.parametrize(("phase", "seen"), [(0, "single 502"), (3, "single 503"), (1, "live 500")])
def test_another_error_is_a_fault(phase: int, seen: str) -> None:
    ledger = make_ledger()
    ledger.phases[phase].refusals[seen] += 1
    (fault,) = find_faults(ledger, 0.9)
    assert seen in fault


def test_lost_wrong_doubled_and_slow_are_faults() -> None:
    ledger = make_ledger()
    ledger.note_answer("batch", False)
    ledger.sent += 1
    ledger.twice = 1
    faults = " ".join(find_faults(ledger, 0.97))
    for word in ("a wrong answer to a batch", "1 items lost", "answered twice", "did 0.95"):
        assert word in faults


def make_answer(**probabilities: float) -> dict[str, Any]:
    label = max(probabilities, key=probabilities.__getitem__)
    return {"label": label, "probabilities": probabilities, "model": {"fingerprint": "f"}}


def test_an_answer_is_that_of_its_own_model_to_a_millionth() -> None:
    expected = Expected(1, dialogues=1, turns=2)
    expected._problems["f"] = [make_answer(a=0.7, b=0.3)]
    assert expected.is_problem_right(0, make_answer(a=0.7000005, b=0.2999995))
    assert not expected.is_problem_right(0, make_answer(a=0.70001, b=0.29999))
    assert not expected.is_problem_right(0, make_answer(a=0.3, b=0.7))
    other = make_answer(a=0.7, b=0.3) | {"model": {"fingerprint": "g"}}
    assert not expected.is_problem_right(0, other)
