"""What the model alone says: each answer that comes through the balancer is held against it."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.load.connection import Address
from benchmarks.load.problems import make_problems
from contract.manifest import read_manifest, write_manifest

PROBLEM = "/classify/problem"
_MOST_DIFFERENCE = 1e-6
_WARMER = 1.25


def make_second_checkpoint(first: Path, folder: Path) -> Path:
    """Return a copy whose answers differ, and so its fingerprint: another temperature."""
    second = folder / "second"
    shutil.copytree(first, second)
    manifest = read_manifest(first)
    tasks = [
        task.model_copy(update={"temperature": task.temperature * _WARMER})
        for task in manifest.tasks
    ]
    write_manifest(manifest.model_copy(update={"tasks": tuple(tasks)}), second)
    return second


class Expected:
    """Answers of lone replicas, by the fingerprint of their model.

    `texts` are the problems that clients may send, `dialogues` the lessons they may hold.
    """

    def __init__(self, problems: int, dialogues: int, turns: int) -> None:
        self.texts = make_problems(problems, seed=5)
        lines = make_problems(dialogues * turns, seed=6)
        self.dialogues = [
            [
                {"speaker": ("teacher", "student")[place % 2], "text": line}
                for place, line in enumerate(lines[number * turns : (number + 1) * turns])
            ]
            for number in range(dialogues)
        ]
        self._problems: dict[str, list[Any]] = {}
        self._turns: dict[str, list[list[Any]]] = {}

    @property
    def fingerprints(self) -> set[str]:
        return set(self._problems)

    async def learn(self, replica: Address) -> None:
        """Ask one replica, to which nobody else speaks, for all of it."""
        items = {"items": [{"text": text} for text in self.texts]}
        whole = await _post(replica, f"{PROBLEM}/batch", items)
        answers = [result["prediction"] for result in whole["results"]]
        fingerprint = str(answers[0]["model"]["fingerprint"])
        lessons = [
            await _post(replica, "/classify/dialogue", {"turns": turns}) for turns in self.dialogues
        ]
        self._problems[fingerprint] = answers
        self._turns[fingerprint] = [
            [result["prediction"] for result in lesson["turns"]] for lesson in lessons
        ]

    def is_problem_right(self, number: int, answer: Mapping[str, Any]) -> bool:
        """Whether the answer to `texts[number]` is that of its model alone."""
        return _is_same(self._problems, (number,), answer)

    def is_turn_right(self, dialogue: int, turn: int, answer: Mapping[str, Any]) -> bool:
        """Whether the final answer to a turn is that of its model alone."""
        return _is_same(self._turns, (dialogue, turn), answer)


def _is_same(known: Mapping[str, Any], place: Sequence[int], answer: Mapping[str, Any]) -> bool:
    expected = known.get(answer["model"]["fingerprint"])
    if expected is None:
        return False
    for number in place:
        expected = expected[number]
    differences = [
        abs(answer["probabilities"][label] - probability)
        for label, probability in expected["probabilities"].items()
    ]
    return bool(answer["label"] == expected["label"] and max(differences) <= _MOST_DIFFERENCE)


async def _post(address: Address, path: str, content: Any) -> Any:
    connection = await address.connect()
    async with asyncio.timeout(120):
        status, body = await connection.exchange(address.make_post(path, content))
    connection.close()
    if status != 200:
        raise RuntimeError(f"a lone replica answered {path} with {status}")
    return orjson.loads(body)
