"""Checkpoints come and go while requests do, around fake engines and real directories."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import websockets

from contract.labels import IRF
from contract.manifest import read_manifest
from engine.checkpoint import Checkpoint
from engine.choice import EngineChoice
from service.access.api_keys import ApiKeys, make_key
from service.models.model import Model
from service.settings import Settings
from tests.contract.examples import make_manifest, make_task
from tests.service.duplex_client import open_stream
from tests.service.fake_service import FakeEngine, FakeService, make_model, run_fake_service
from tests.service.test_start import write_checkpoint
from tests.service.uvicorn_server import serve

ADMIN, _ADMIN_HASH = make_key()
USER, _USER_HASH = make_key()
KEYS = ApiKeys.read(f"ops:{_ADMIN_HASH} scopes=admin, app:{_USER_HASH}", None)
PROBLEM = {"text": "3 + 4 = ?"}
OLD = make_manifest(name="old")


class FakeLoader:
    """Puts a fake engine behind any checkpoint."""

    choice = EngineChoice("openvino", "1.0", "asked for")

    def __init__(self) -> None:
        self.engines: dict[str, FakeEngine] = {}
        self.broken: Exception | None = None
        self.deaf = False

    def load(self, checkpoint: Checkpoint) -> Model:
        if self.broken:
            raise self.broken
        model, engine = make_model(checkpoint.manifest, Settings(), alias=checkpoint.alias)
        if self.deaf:
            engine.die()
        self.engines[model.name] = engine
        return model


class Stage(NamedTuple):
    """A service that may load checkpoints from a folder."""

    service: FakeService
    folder: Path
    loader: FakeLoader

    async def ask(self, change: str, key: str = ADMIN, **body: Any) -> httpx.Response:
        return await self.service.client.post(
            f"/admin/{change}", json=body, headers={"authorization": f"Bearer {key}"}
        )

    async def classify(self, text: str = PROBLEM["text"], **query: str) -> httpx.Response:
        return await self.service.client.post(
            "/classify/problem", json={"text": text}, params=query, headers=USING
        )


USING = {"authorization": f"Bearer {USER}"}


@asynccontextmanager
async def run_stage(tmp_path: Path, **changes: Any) -> AsyncIterator[Stage]:
    """Serve `old`; `next` lies in the folder, with another temperature."""
    folder = tmp_path / "checkpoints"
    folder.mkdir(parents=True)
    tasks = [make_task(temperature=1.0), make_task(IRF, 7)]
    write_checkpoint(folder / "next", name="next", tasks=tasks)
    loader = FakeLoader()
    changes = {"admin_paths": True, "checkpoint_folder": folder} | changes
    async with run_fake_service(OLD, keys=KEYS, loader=loader, **changes) as service:
        yield Stage(service, folder, loader)


def find_detail(response: httpx.Response) -> str:
    document = response.json()
    return document["detail"] + "".join(each["reason"] for each in document.get("errors", ()))


async def test_a_checkpoint_is_loaded_made_the_default_and_the_old_one_dropped(
    tmp_path: Path,
) -> None:
    async with run_stage(tmp_path) as stage:
        manifest = read_manifest(stage.folder / "next", verify_weights=False)
        loaded = await stage.ask("load", checkpoint="next", fingerprint=manifest.fingerprint)
        assert [each["name"] for each in loaded.json()["models"]] == ["old", "next"]
        before, named = await stage.classify(), await stage.classify(model="next")
        assert (before.json()["model"]["name"], named.json()["model"]["name"]) == ("old", "next")
        assert (await stage.ask("default", model="next")).status_code == 200
        assert (await stage.classify()).json() == named.json()
        assert (await stage.classify(model="old")).json() == before.json()
        metrics = (await stage.service.client.get("/metrics", headers=USING)).text
        assert 'model="old"' in metrics and 'ncal_engine_up{model="next"} 1.0' in metrics
        dropped = await stage.ask("drop", model="old")
        assert [each["name"] for each in dropped.json()["models"]] == ["next"]
        assert (await stage.classify(model="old")).status_code == 404
        assert stage.service.engine.was_shut_down
        metrics = (await stage.service.client.get("/metrics", headers=USING)).text
        assert 'model="old"' not in metrics
        assert (await stage.ask("load", checkpoint="next")).status_code == 422
        assert (await stage.classify()).json() == named.json()


async def test_what_is_loaded_again_is_counted_from_zero_in_new_series(tmp_path: Path) -> None:
    async with run_stage(tmp_path) as stage:
        for _ in range(2):
            await stage.ask("load", checkpoint="next")
            await stage.classify(model="next")
            metrics = (await stage.service.client.get("/metrics", headers=USING)).text
            assert 'ncal_prediction_confidence_count{model="next",task="timss"} 1.0' in metrics
            await stage.ask("drop", model="next")


@pytest.mark.parametrize("path", ["load", "default", "drop"])
async def test_only_a_key_for_that_changes_anything(tmp_path: Path, path: str) -> None:
    change = {"model": "old"}
    async with run_stage(tmp_path) as stage:
        refused = await stage.ask(path, key=USER, **change)
        unknown = await stage.ask(path, key="none", **change)
        looked = await stage.service.client.get(f"/admin/{path}", headers=USING)
        assert (refused.status_code, unknown.status_code, looked.status_code) == (403, 401, 403)
        assert "admin" in find_detail(refused)
    async with run_stage(tmp_path / "off", admin_paths=False) as stage:
        assert (await stage.ask(path, **change)).status_code == 404
    async with run_fake_service(OLD, loader=FakeLoader(), admin_paths=True) as open_service:
        answer = await open_service.client.post(f"/admin/{path}", json=change)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    "place",
    ["../outside", "/etc", "next/../../outside", "link", ".", "", "a//b", "next\\..", "missing",
     "next/manifest.json", "C:next", "next\x00"],
)  # fmt: skip
async def test_nothing_outside_of_the_folder_is_loaded(tmp_path: Path, place: str) -> None:
    async with run_stage(tmp_path) as stage:
        write_checkpoint(tmp_path / "outside", name="outside")
        (stage.folder / "link").symlink_to(tmp_path / "outside")
        refused = await stage.ask("load", checkpoint=place)
        assert refused.status_code == 422
        assert "outside" not in refused.text
        assert stage.loader.engines == {}


def spoil_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"other")


def spoil_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["tasks"][0]["label_set"]["labels"][6]
    for name in ("rows", "training_prior", "conformal_thresholds"):
        del manifest["tasks"][0][name][6]
    manifest["tasks"][0]["training_prior"][5] += 1 - sum(manifest["tasks"][0]["training_prior"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "body", "reason"),
    [
        (spoil_weights, {}, "sha256 differs"),
        (spoil_manifest, {}, "different labels"),
        (None, {"fingerprint": "0" * 12}, "not the one that is expected"),
        (None, {"name": "old"}, "called old"),
        (None, {"name": "default"}, "default"),
    ],
)
async def test_what_must_not_be_served_is_not_loaded(
    tmp_path: Path, spoil: Any, body: dict[str, Any], reason: str
) -> None:
    async with run_stage(tmp_path) as stage:
        if spoil is not None:
            spoil(stage.folder / "next")
        refused = await stage.ask("load", checkpoint="next", **body)
        assert refused.status_code == 422 and reason in find_detail(refused)
        assert stage.loader.engines == {}
        assert (await stage.classify()).status_code == 200


async def test_an_engine_that_does_not_start_or_answer_changes_nothing(tmp_path: Path) -> None:
    async with run_stage(tmp_path, canary_timeout_s=0.1) as stage:
        stage.loader.broken = RuntimeError("no device")
        failed = await stage.ask("load", checkpoint="next")
        assert failed.status_code == 500 and "no device" not in failed.text
        stage.loader.broken = None
        stage.loader.deaf = True
        deaf = await stage.ask("load", checkpoint="next")
        assert deaf.status_code == 503 and "canary" in find_detail(deaf)
        assert stage.loader.engines["next"].was_shut_down
        assert (await stage.classify(model="next")).status_code == 404
        stage.loader.deaf = False
        assert (await stage.ask("load", checkpoint="next")).status_code == 200


async def test_there_must_be_room(tmp_path: Path) -> None:
    async with run_stage(tmp_path, max_models=1) as stage:
        full = await stage.ask("load", checkpoint="next")
        assert full.status_code == 409 and "NCAL_MAX_MODELS" in find_detail(full)
    async with run_stage(tmp_path / "more") as stage:
        rotation = stage.service.app.state.rotation
        rotation._find_free = lambda: 50 << 20
        little = await stage.ask("load", checkpoint="next")
        assert little.status_code == 409 and "50 MiB are left" in find_detail(little)
        assert stage.loader.engines == {}
        rotation._find_free = lambda: None
        assert (await stage.ask("load", checkpoint="next")).status_code == 200


async def test_a_default_is_not_dropped(tmp_path: Path) -> None:
    async with run_stage(tmp_path) as stage:
        refused = await stage.ask("drop", model="old")
        assert refused.status_code == 409 and "timss, irf by default" in find_detail(refused)
        assert (await stage.ask("drop", model="next")).status_code == 404
        assert (await stage.ask("default", model="next")).status_code == 404
        assert (await stage.classify()).status_code == 200


async def test_without_a_folder_nothing_is_loaded(tmp_path: Path) -> None:
    async with run_stage(tmp_path, checkpoint_folder=None) as stage:
        refused = await stage.ask("load", checkpoint="next")
        assert refused.status_code == 409 and "--checkpoint-folder" in find_detail(refused)


async def test_what_had_found_a_model_is_answered_before_it_goes(tmp_path: Path) -> None:
    async with run_stage(tmp_path) as stage:
        await stage.ask("load", checkpoint="next")
        engine = stage.service.engine
        engine.open.clear()
        waiting = [asyncio.create_task(stage.classify(f"{n} + 1 = ?")) for n in range(300)]
        while not engine.running:
            await asyncio.sleep(0.01)
        await stage.ask("default", model="next")
        dropping = asyncio.create_task(stage.ask("drop", model="old"))
        while not stage.service.classifier.loaded.leaving:
            await asyncio.sleep(0.01)
        busy = await stage.ask("load", checkpoint="next", name="third")
        assert busy.status_code == 409 and "under way" in find_detail(busy)
        new = await stage.classify()
        assert new.json()["model"]["name"] == "next"
        assert not dropping.done() and not engine.was_shut_down
        engine.open.set()
        answers = await asyncio.gather(*waiting)
        assert {(each.status_code, each.json()["model"]["name"]) for each in answers} == {
            (200, "old")
        }
        assert (await dropping).status_code == 200 and engine.was_shut_down


async def test_a_drop_that_takes_long_goes_on_behind_its_answer(tmp_path: Path) -> None:
    async with run_stage(tmp_path) as stage:
        await stage.ask("load", checkpoint="next")
        engine = stage.loader.engines["next"]
        engine.open.clear()
        waiting = asyncio.create_task(stage.classify(model="next"))
        while not engine.running:
            await asyncio.sleep(0.01)
        headers = {"authorization": f"Bearer {ADMIN}", "x-request-timeout": "0.1"}
        under_way = await stage.service.client.post(
            "/admin/drop", json={"model": "next"}, headers=headers
        )
        assert under_way.status_code == 202 and not engine.was_shut_down
        engine.open.set()
        assert (await waiting).status_code == 200
        while not engine.was_shut_down:
            await asyncio.sleep(0.01)


async def test_a_stream_goes_on_with_the_new_default_and_a_live_dialogue_is_told(
    tmp_path: Path,
) -> None:
    async with run_stage(tmp_path) as stage, serve(stage.service.app) as address:
        await stage.ask("load", checkpoint="next")
        query = "/classify/problem/stream"
        turn = json.dumps({"type": "turn", "speaker": "teacher", "text": "好"})
        async with (
            open_stream(address, query, **USING) as follows,
            open_stream(address, f"{query}?model=old", **USING) as named,
            websockets.connect(
                f"ws://{address}/classify/dialogue/live", additional_headers=USING
            ) as live,
        ):
            for stream in (follows, named):
                await stream.send_items(PROBLEM)
                await stream.read_head()
                assert (await stream.read_result())["prediction"]["model"]["name"] == "old"
            await live.recv()
            await live.send(turn)
            assert json.loads(await live.recv())["prediction"]["model"]["name"] == "old"
            await stage.ask("default", model="next")
            assert (await stage.ask("drop", model="old")).status_code == 200
            await follows.send_items(PROBLEM)
            assert (await follows.read_result())["prediction"]["model"]["name"] == "next"
            await follows.finish()
            assert (await follows.read_all())[-1]["reason"] == "complete"
            assert (await named.read_all())[-1]["reason"] == "draining"
            assert json.loads(await live.recv())["reason"] == "draining"


async def test_a_service_that_stops_finishes_what_a_leaving_model_holds(tmp_path: Path) -> None:
    async with run_stage(tmp_path) as stage:
        await stage.ask("load", checkpoint="next")
        engine = stage.loader.engines["next"]
        engine.open.clear()
        waiting = asyncio.create_task(stage.classify(model="next"))
        while not engine.running:
            await asyncio.sleep(0.01)
        dropping = asyncio.create_task(stage.ask("drop", model="next"))
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(stage.service.core.readiness.drain(30.0))
        await asyncio.sleep(0.05)
        assert not draining.done()
        engine.open.set()
        await draining
        assert (await waiting).status_code == 200
        await dropping


async def test_no_route_finds_a_model_without_keeping_it() -> None:
    """Only what is kept until a request ends can be dropped without losing it."""
    service = Path(__file__).parents[3] / "service"
    found = [
        path.relative_to(service).as_posix()
        for room in ("api", "live", "protocols", "files", "http")
        for path in (service / room).rglob("*.py")
        if "loaded.find_task" in path.read_text(encoding="utf-8")
    ]
    assert sorted(found) == [
        "api/item_stream.py", "api/stream.py", "api/turn_tasks.py", "http/request_context.py",
        "protocols/asking.py",
    ]  # fmt: skip


async def test_a_loaded_checkpoint_reads_along_until_it_is_the_default_or_gone(
    tmp_path: Path,
) -> None:
    async def read_share(name: str) -> float:
        models = (await stage.service.client.get("/models", headers=USING)).json()["models"]
        return next(each["shadow_share"] for each in models if each["name"] == name)

    async with run_stage(tmp_path) as stage:
        await stage.ask("load", checkpoint="next")
        assert (await stage.ask("shadow", model="next", share=1.0)).status_code == 200
        assert await read_share("next") == 1.0
        await stage.classify()
        while not stage.loader.engines["next"].scored:
            await asyncio.sleep(0.01)
        refused = await stage.ask("shadow", model="old")
        assert refused.status_code == 409 and "by default" in find_detail(refused)
        assert (await stage.ask("shadow", model="next", share=2)).status_code == 422
        assert (await stage.ask("shadow", key=USER, model="next")).status_code == 403
        await stage.ask("shadow", model=None)
        assert await read_share("next") == 0
        await stage.ask("shadow", model="next")
        await stage.ask("default", model="next")
        assert await read_share("next") == 0
        await stage.ask("shadow", model="old")
        assert await read_share("old") == 0.1
        await stage.ask("drop", model="old")
        assert stage.service.classifier.shadow.model is None


async def test_a_shadow_whose_engine_died_can_only_be_dropped(tmp_path: Path) -> None:
    async with run_stage(tmp_path) as stage:
        await stage.ask("load", checkpoint="next")
        await stage.ask("shadow", model="next")
        stage.loader.engines["next"].die()
        for change in ({"model": None}, {"model": "next"}):
            refused = await stage.ask("shadow", **change)
            assert refused.status_code == 409 and "drop the checkpoint" in find_detail(refused)
        assert (await stage.ask("default", model="next")).status_code == 409
        assert (await stage.service.client.get("/health/live")).status_code == 200
        assert (await stage.ask("drop", model="next")).status_code == 200
        assert (await stage.service.client.get("/health/live")).status_code == 200
