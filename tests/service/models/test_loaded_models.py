"""Which checkpoint a request means, without a request."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from contract.labels import IRF
from service.errors import NotFound
from service.models.loaded_models import LoadedModels
from service.models.model import Holders, Model
from service.settings import Settings
from tests.contract.examples import make_manifest, make_task
from tests.service.fake_service import make_model


@pytest.fixture
def models() -> Iterator[tuple[Model, Model, Model]]:
    """One that serves both tasks, one that serves problems, one that serves turns."""
    manifests = (
        make_manifest(name="both"),
        make_manifest(name="problems", tasks=[make_task(temperature=1.0)]),
        make_manifest(name="org/turns", tasks=[make_task(IRF, temperature=3.0)]),
    )
    yield tuple(make_model(manifest, Settings())[0] for manifest in manifests)  # type: ignore[misc]


def test_the_first_that_serves_a_task_is_its_default(models: tuple[Model, ...]) -> None:
    both, problems, turns = models
    loaded = LoadedModels([problems, both, turns])
    assert loaded.find_task("timss").model is problems
    assert loaded.find_task("irf", "default").model is both
    loaded.set_default(turns)
    assert [served.model for served in loaded.find_tasks(None)] == [problems, turns]
    assert loaded.list_defaults(both) == []


def test_a_model_is_named_by_its_name_or_fingerprint(models: tuple[Model, ...]) -> None:
    both, problems, turns = models
    loaded = LoadedModels(models)
    for name in (problems.name, problems.fingerprint):
        assert loaded.find(name) is problems
        assert loaded.find_task("timss", name).model is problems
    assert [served.model for served in loaded.find_tasks("org/turns")] == [turns]
    assert [served.model for served in loaded.find_tasks("org/turns/irf")] == [turns]
    assert [served.name for served in loaded.find_tasks("both")] == ["timss", "irf"]
    assert [served.model for served in loaded.find_tasks("irf")] == [both]
    assert [served.model for served in loaded.find_tasks("default/irf")] == [both]


def test_what_is_not_there_is_answered_with_what_is(models: tuple[Model, ...]) -> None:
    both, problems, _ = models
    loaded = LoadedModels(models)
    with pytest.raises(NotFound, match=rf"both \({both.fingerprint}\), problems"):
        loaded.find_task("timss", "secret words")
    with pytest.raises(NotFound, match="these do: both, org/turns"):
        loaded.find_task("irf", "problems")
    with pytest.raises(NotFound, match="loaded: timss, irf"):
        loaded.find_task("bloom", "both")
    for name in ("nothing", "nothing/irf", problems.fingerprint[:6], "both/bloom"):
        with pytest.raises(NotFound, match="there is: both") as caught:
            loaded.find_tasks(name)
        assert "secret" not in str(caught.value)


def test_a_default_is_not_taken_away_and_what_is_gone_is_not_found(
    models: tuple[Model, ...],
) -> None:
    both, problems, _ = models
    loaded = LoadedModels([both, problems])
    with pytest.raises(ValueError, match="default"):
        loaded.remove(both)
    version = loaded.version
    loaded.remove(problems)
    assert loaded.all == (both,) and loaded.version > version
    with pytest.raises(NotFound):
        loaded.find("problems")


async def test_a_model_is_free_when_its_last_holder_has_left() -> None:
    holders = Holders()
    await holders.wait_until_free()
    holders.enter()
    waiting = asyncio.create_task(holders.wait_until_free())
    with suppress(RuntimeError), holders.hold():
        raise RuntimeError
    await asyncio.sleep(0)
    assert not waiting.done()
    holders.leave()
    await asyncio.wait_for(waiting, 5)
