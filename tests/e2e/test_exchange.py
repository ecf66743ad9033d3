"""A checkpoint is exchanged under load over the real engine: nobody loses an answer."""

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.checkpoint import BUNDLED_CHECKPOINT, load_checkpoint
from service.access.api_keys import make_key
from tests.e2e.service_process import start_service
from tests.service.duplex_client import open_stream

pytestmark = pytest.mark.slow

PROBLEMS = [
    {"text": f"小明有{number}个苹果，吃了{number // 3}个，还剩几个？"} for number in range(40)
]
TURNS = [{"speaker": "teacher", "text": f"{n}乘以{n + 1}等于多少？"} for n in range(6)]
KEY, HASH = make_key()
HEADERS = {"authorization": f"Bearer {KEY}"}
ROUNDS = 2


def copy_checkpoint(folder: Path) -> Path:
    """The bundled checkpoint with another calibration: other answers, another fingerprint."""
    shutil.copytree(BUNDLED_CHECKPOINT, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for task in manifest["tasks"]:
        task["temperature"] *= 1.5
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


class Load:
    """Clients of every kind that never pause; each answer is noted with its question."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.is_over = False
        self.failures: list[str] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []
        """Index of the problem, and its answer."""
        self.kinds: Counter[str] = Counter()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for first in range(6):
                group.create_task(self._send_singles(first))
            group.create_task(self._send_batches())
            group.create_task(self._send_dialogues())
            group.create_task(self._send_stream())

    async def _send_singles(self, first: int) -> None:
        index = first
        while not self.is_over:
            index = (index + 7) % len(PROBLEMS)
            answer = await self._post("/classify/problem", json=PROBLEMS[index])
            if answer:
                self._note("single", index, answer)

    async def _send_batches(self) -> None:
        while not self.is_over:
            answer = await self._post("/classify/problem/batch", json={"items": PROBLEMS})
            for result in answer["results"] if answer else ():
                self._note_result("batch", result)

    async def _send_dialogues(self) -> None:
        while not self.is_over:
            answer = await self._post("/classify/dialogue", json={"turns": TURNS})
            if answer and answer["failed"]:
                self.failures.append(f"dialogue: {answer['failed']} turns")
            self.kinds["dialogue"] += bool(answer)

    async def _send_stream(self) -> None:
        """One stream from the first to the last moment: a line, its answer, the next line."""
        sent = 0
        address = self._client.base_url.netloc.decode()
        async with open_stream(address, "/classify/problem/stream", **HEADERS) as stream:
            while not self.is_over:
                await stream.send_items(PROBLEMS[sent % len(PROBLEMS)])
                if not sent:
                    assert await stream.read_head() == 200
                sent += 1
                self._note_result("stream", await stream.read_result())
            await stream.finish()
            (end,) = await stream.read_all()
            assert (end["reason"], end["items"]) == ("complete", sent)

    async def _post(self, path: str, **body: Any) -> Any:
        response = await self._client.post(path, **body)
        if response.status_code == 200:
            return response.json()
        self.failures.append(f"{path}: {response.status_code} {response.text}")
        return None

    def _note_result(self, kind: str, result: dict[str, Any]) -> None:
        if result["status"] == "ok":
            self._note(kind, result["index"] % len(PROBLEMS), result["prediction"])
        else:
            self.failures.append(f"{kind}: {result['error']['detail']}")

    def _note(self, kind: str, index: int, answer: dict[str, Any]) -> None:
        self.kinds[kind] += 1
        self.answers.append((index, answer))


async def change(client: httpx.AsyncClient, what: str, **body: str) -> None:
    response = await client.post(f"/admin/{what}", json=body)
    assert response.status_code == 200, response.text


async def ask_all(client: httpx.AsyncClient, fingerprint: str) -> list[list[float]]:
    """What a model says of every problem, asked by name."""
    response = await client.post(
        "/classify/problem/batch", params={"model": fingerprint}, json={"items": PROBLEMS}
    )
    results = response.json()["results"]
    return [list(result["prediction"]["probabilities"].values()) for result in results]


async def test_no_answer_is_lost_or_another_models_while_the_default_changes(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    shutil.copytree(BUNDLED_CHECKPOINT, folder / "old")
    prints = [
        load_checkpoint(each).manifest.fingerprint
        for each in (folder / "old", copy_checkpoint(folder / "new"))
    ]
    with start_service(
        tmp_path, "--max-wait-s", "60", "--checkpoint", f"old={folder / 'old'}", "--admin-paths",
        "--checkpoint-folder", str(folder), "--api-key-hashes", f"ops:{HASH} scopes=admin",
    ) as service:  # fmt: skip
        async with httpx.AsyncClient(base_url=service.url, timeout=60, headers=HEADERS) as client:
            load = Load(client)
            running = asyncio.create_task(load.run())
            expected: dict[str, list[list[float]]] = {}
            for number in range(ROUNDS):
                here, there = ("old", "new") if number % 2 == 0 else ("new", "old")
                await change(
                    client, "load", checkpoint=there, name=there, fingerprint=prints[1 - number % 2]
                )
                for fingerprint in prints:
                    expected[fingerprint] = await ask_all(client, fingerprint)
                await asyncio.sleep(0.2)
                await change(client, "default", model=there)
                await change(client, "drop", model=here)
                await asyncio.sleep(0.2)
            load.is_over = True
            await running
    assert load.failures == []
    assert set(load.kinds) == {"single", "batch", "dialogue", "stream"}
    assert {answer["model"]["fingerprint"] for _, answer in load.answers} == set(prints)
    assert expected[prints[0]] != expected[prints[1]]
    for index, answer in load.answers:
        said = list(answer["probabilities"].values())
        # Who shares a step changes the last digits of its arithmetic.
        assert said == pytest.approx(expected[answer["model"]["fingerprint"]][index], abs=1e-4)


async def test_a_shadow_is_compared_and_the_answers_are_the_first_ones(tmp_path: Path) -> None:
    following = copy_checkpoint(tmp_path / "next")
    with start_service(
        tmp_path, "--checkpoint", str(BUNDLED_CHECKPOINT), "--checkpoint", f"next={following}",
        "--shadow-model", "next", "--shadow-share", "1",
    ) as service:  # fmt: skip
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            response = await client.post("/classify/problem/batch", json={"items": PROBLEMS})
            fingerprint = load_checkpoint(BUNDLED_CHECKPOINT).manifest.fingerprint
            for result in response.json()["results"]:
                assert result["prediction"]["model"]["fingerprint"] == fingerprint
            async with asyncio.timeout(60):
                while await count_compared(client) < len(PROBLEMS):
                    await asyncio.sleep(0.05)


async def count_compared(client: httpx.AsyncClient) -> float:
    """Items on which the shadow agreed: a temperature changes no label."""
    text = (await client.get("/metrics")).text
    line = 'ncal_shadow_items_total{outcome="agree",task="timss"} '
    return float(text.partition(line)[2].partition("\n")[0])
