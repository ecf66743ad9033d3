"""The real thing: a uvicorn process, the default engine, the bundled checkpoint, real problems."""

import asyncio
import json
import shlex
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.inputs import AnyInput, DialogueTurn, Problem, Turn
from contract.manifest import Manifest, hash_deciding_files, read_manifest, write_manifest
from contract.predictions import calibrate_logits, predict_set, select_rows
from engine.checkpoint import load_checkpoints, load_prompt_encoders
from engine.openvino import score_offline
from service.settings import Settings
from tests.e2e.service_process import (
    PATIENT,
    ServiceProcess,
    begin_service,
    find_session,
    run_service,
    start_service,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROBLEMS = [
    "一个果园收了96千克苹果，每筐最多装8千克，至少需要多少个筐？",
    "下面哪个分数最大：二分之一、三分之一、五分之一？",
    "直接写出得数：12×5=",
    "解方程：3x+7=22",
    "用字母表示长方形的周长公式。",
    "观察数列1，3，6，10，下一个数是多少？说说你的理由。",
    "平行四边形的对边有什么关系？",
    "A",
    "小华每天看书15页，" * 40 + "他一共看了多少页？",
    "把一根绳子剪成相等的小段，" * 8 + "每段长多少米？",
]
TURNS = [
    DialogueTurn(
        speaker="teacher",
        text="为什么先算括号里面的？",
        previous=(Turn(speaker="student", text="等于十二。"),),
        following=(Turn(speaker="student", text="因为括号要先算。"),),
    ),
    DialogueTurn(speaker="student", text="嗯，好的。"),
    DialogueTurn(
        speaker="student",
        text="一共是四十五个。",
        previous=(Turn(speaker="teacher", text="那九个五是多少呢？" * 30),),
    ),
]


@pytest.fixture
def service(shared_service: ServiceProcess) -> ServiceProcess:
    return shared_service


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120) as client:
        yield client


def get_checkpoint_folder() -> Path:
    return Settings().checkpoint[0]


def compute_alone(task_name: str, items: list[AnyInput]) -> list[dict[str, Any]]:
    """Logits and probabilities of the same checkpoint without a service, one item at a time.

    That they are those of transformers, tests/engine/test_contract.py shows.
    """
    (checkpoint,) = load_checkpoints([get_checkpoint_folder()])
    task = checkpoint.manifest.task(task_name)
    encoder = load_prompt_encoders(checkpoint)[task_name]
    prompts = encoder.encode(items)
    token_ids = [prompt.token_ids for prompt in prompts]
    scores = score_offline(checkpoint.directory, token_ids, dtype="float32", threads=1)
    expected = []
    for prompt, row in zip(prompts, scores, strict=True):
        logits = select_rows(task, row)
        uniform = calibrate_logits(task, logits)
        ids = task.label_set.ids
        expected.append(
            {
                "logits": dict(zip(ids, logits, strict=True)),
                "uniform": dict(zip(ids, uniform, strict=True)),
                "training": dict(zip(ids, calibrate_logits(task, logits, "training"), strict=True)),
                "prediction_set": [ids[index] for index in predict_set(task, uniform)],
                "was_cut": prompt.was_cut,
                "tokens": len(prompt.token_ids),
            }
        )
    return expected


def test_the_ready_line_names_a_command_that_works(service: ServiceProcess) -> None:
    words = shlex.split(service.ready_line.partition("Try: ")[2])
    url, header, body = words[2], words[4], words[6]
    assert words[:2] == ["curl", "-s"]
    name, _, value = header.partition(": ")
    response = httpx.post(url, content=body, headers={name: value})
    assert response.status_code == 200
    assert response.json()["task"] == "timss"
    assert service.ready_line.count("\n") == 1


def test_problems_get_what_the_engine_alone_computes(client: httpx.Client) -> None:
    expected = compute_alone("timss", [Problem(text=text) for text in PROBLEMS])
    assert max(each["tokens"] for each in expected) > 128, "no prompt is longer than a cache block"
    assert any(each["was_cut"] for each in expected)
    for text, want in zip(PROBLEMS, expected, strict=True):
        query = {"raw_logits": "true", "prediction_set": "true", "top_k": 2}
        answer = client.post("/classify/problem", json={"text": text}, params=query).json()
        assert answer["probabilities"] == pytest.approx(want["uniform"], abs=1e-3)
        assert answer["logits"] == pytest.approx(want["logits"], abs=1e-2)
        assert answer["was_cut"] == want["was_cut"]
        assert answer["label"] == answer["top"][0]["label"]
        assert answer["confidence"] == max(answer["probabilities"].values())
        assert sorted(answer["prediction_set"]) == sorted(want["prediction_set"])
        weighed = client.post(
            "/classify/problem", json={"text": text}, params={"prior": "training"}
        ).json()
        assert weighed["probabilities"] == pytest.approx(want["training"], abs=1e-3)


def test_turns_get_what_the_engine_alone_computes(client: httpx.Client) -> None:
    expected = compute_alone("irf", list(TURNS))
    items = [turn.model_dump() for turn in TURNS]
    batch = client.post("/classify/dialogue-turn/batch", json={"items": items}).json()
    for turn, result, want in zip(TURNS, batch["results"], expected, strict=True):
        assert result["prediction"]["probabilities"] == pytest.approx(want["uniform"], abs=1e-3)
        single = client.post("/classify/dialogue-turn", json=turn.model_dump()).json()
        assert single["probabilities"] == pytest.approx(want["uniform"], abs=1e-3)


def test_a_crowded_batch_changes_no_answer(client: httpx.Client) -> None:
    """Many long prompts at once are prefilled in chunks and share steps."""
    texts = [f"第{number}题：" + PROBLEMS[number % len(PROBLEMS)] for number in range(200)]
    expected = compute_alone("timss", [Problem(text=text) for text in texts[:20]])
    items = [{"id": number, "text": text} for number, text in enumerate(texts)]
    response = client.post("/classify/problem/batch", json={"items": items})
    results = response.json()["results"]
    assert [result["id"] for result in results] == list(range(200))
    assert response.json()["failed"] == 0
    for result, want in zip(results, expected, strict=False):
        assert result["prediction"]["probabilities"] == pytest.approx(want["uniform"], abs=1e-3)
    assert int(response.headers["x-prompt-tokens"]) > 200


async def test_many_clients_at_once_get_their_own_answers(service: ServiceProcess) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=120) as client:

        async def ask(text: str) -> str:
            response = await client.post("/classify/problem", json={"text": text})
            assert response.status_code == 200
            return str(response.json()["label"])

        alone = [await ask(text) for text in PROBLEMS]
        together = await asyncio.gather(*(ask(text) for text in PROBLEMS * 10))
    assert together == alone * 10


def test_the_service_describes_itself(client: httpx.Client) -> None:
    manifest = read_manifest(get_checkpoint_folder())
    (model,) = client.get("/models").json()["models"]
    assert model["weights_sha256"] == manifest.weights_sha256
    labels = {task["task"]: task for task in client.get("/labels").json()["tasks"]}
    assert set(labels) == {task.label_set.task for task in manifest.tasks}
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 200
    assert client.get("/docs").status_code == 200
    metrics = client.get("/metrics").text
    for name in (
        "ncal_engine_up{",
        "ncal_engine_step_items_count{",
        "process_resident_memory_bytes",
    ):
        assert f"\n{name}" in metrics


def test_logs_hold_no_word_of_what_was_sent(service: ServiceProcess, client: httpx.Client) -> None:
    secret = "欧阳小菲说她昨天没睡好"
    client.post("/classify/problem", json={"text": secret})
    client.post("/classify/dialogue-turn", json={"speaker": secret, "text": secret})
    lines = service.read_log().splitlines()
    assert all(json.loads(line) for line in lines)
    assert secret not in "\n".join(lines)
    assert "小菲" not in "\n".join(lines)


def read_metrics(client: httpx.Client) -> str:
    return client.get("/metrics").text


async def count_accepted(client: httpx.AsyncClient) -> int:
    """Items that wait for the engine or are in it."""
    queue = (await client.get("/models")).json()["models"][0]["queue"]
    return int(queue["waiting_items"] + queue["running_items"])


def test_sigterm_under_load_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    async def load(service: ServiceProcess) -> list[httpx.Response | BaseException]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:
            items = [{"text": f"{number}加{number}是多少？"} for number in range(300)]
            batch = asyncio.create_task(
                client.post("/classify/problem/batch", json={"items": items})
            )
            while not batch.done() and not await count_accepted(client):
                await asyncio.sleep(0.01)
            singles = [
                asyncio.create_task(client.post("/classify/problem", json=item))
                for item in items[:100]
            ]
            requests = [batch, *singles]
            await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            service.process.send_signal(signal.SIGTERM)
            return list(await asyncio.gather(*requests, return_exceptions=True))

    with start_service(tmp_path, *PATIENT, measured=True) as service:
        batch, *others = asyncio.run(load(service))
        assert service.process.wait(60) == 0
        events = [json.loads(line) for line in service.read_log().splitlines()]
    assert isinstance(batch, httpx.Response)
    assert batch.json().get("ok") == 300, batch.text[:500]
    # A connection that the service had not taken yet may fail; every request it took is answered.
    singles = [each for each in others if isinstance(each, httpx.Response)]
    taken = [event for event in events if event.get("route") == "/classify/problem"]
    assert len(taken) == len(singles)
    assert {response.status_code for response in singles} <= {200, 503}
    refused = [response.json() for response in singles if response.status_code == 503]
    assert all(problem["type"].endswith(":draining") for problem in refused)
    assert any(response.status_code == 200 for response in singles)


def test_two_checkpoints_are_served_side_by_side(tmp_path: Path) -> None:
    second = copy_checkpoint_as(tmp_path / "second", "second")
    checkpoints = ("--checkpoint", str(get_checkpoint_folder()), "--checkpoint", str(second))
    with start_service(tmp_path, *checkpoints, *PATIENT) as service:
        check_both_checkpoints(service)


def check_both_checkpoints(service: ServiceProcess) -> None:
    body = {"text": PROBLEMS[0]}
    answers = [
        httpx.post(f"{service.url}/classify/{path}", json=body, timeout=60).json()
        for path in ("problem", "tasks/timss-second")
    ]
    assert answers[0]["probabilities"] == pytest.approx(answers[1]["probabilities"], abs=1e-5)
    assert answers[0]["model"]["name"] != answers[1]["model"]["name"]
    metrics = httpx.get(f"{service.url}/metrics").text
    for answer in answers:
        assert f'ncal_engine_tokens_total{{model="{answer["model"]["name"]}"}}' in metrics


def copy_checkpoint_as(folder: Path, name: str) -> Path:
    """Copy the checkpoint with tasks of other names: what a custom task is to the service."""
    shutil.copytree(get_checkpoint_folder(), folder)
    content = read_manifest(folder).model_dump()
    content["name"] = name
    for task in content["tasks"]:
        task["label_set"]["task"] += "-" + name
    write_manifest(Manifest.model_validate(content), folder)
    return folder


def test_sigterm_while_loading_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with begin_service(tmp_path, "--port", str(port), measured=True) as process:
        assert wait_until(lambda: answers(f"http://127.0.0.1:{port}/health/live"))
        assert httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert wait_until(lambda: find_session(process.pid) == [])


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run_service(["--port", str(port)])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr and "--port" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--checkpoint", "nowhere"], "nowhere is not there"),
        (["--checkpoint", "service"], "manifest.json cannot be read"),
        (["--port", "many"], "--port"),
        (["--prot", "1"], "unrecognized arguments: --prot"),
        (["--host", "0.0.0.0", "--port", "0"], "API key"),
    ],
)
def test_a_wrong_start_is_one_clear_line(arguments: list[str], part: str) -> None:
    done = run_service(arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert part in done.stderr
    assert done.stdout == ""


def test_two_checkpoints_of_one_name_are_refused() -> None:
    folder = str(get_checkpoint_folder())
    done = run_service(["--checkpoint", folder, "--checkpoint", folder, "--port", "0"])
    assert done.returncode == 2
    assert "two checkpoints are called ncal-mini" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = copy_checkpoint_as(tmp_path / "broken", "broken")
    (folder / "tokenizer.json").write_text("{}")
    files = {"files_sha256": hash_deciding_files(folder)}
    write_manifest(read_manifest(folder, verify_weights=False).model_copy(update=files), folder)
    done = run_service(["--checkpoint", str(folder), "--port", "0"])
    assert done.returncode == 2
    assert "the tokenizer of" in done.stderr and "export the checkpoint again" in done.stderr


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    folder = copy_checkpoint_as(tmp_path / "altered", "altered")
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = run_service(["--checkpoint", str(folder)])
    assert done.returncode == 2
    assert "sha256 differs" in done.stderr
