"""What a key is good for, how long, and how keys come and go while the service runs."""

import datetime
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.access import api_keys
from service.access.api_keys import ApiKeys, ClientKey, KeyFormatError, make_key
from service.access.rate_limit import Client, DailyQuota, RateLimit
from service.errors import RateLimited
from tests.service.duplex_client import open_stream
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

KEY, HASH = make_key()
OTHER_KEY, OTHER_HASH = make_key()
PROBLEM = {"text": "三加四是多少？"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def find(entry: str) -> ClientKey | None:
    return ApiKeys.read(entry, None).find_client(KEY.encode())


def test_an_entry_says_what_its_key_is_good_for() -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    words = f"scopes=metrics+admin  expires={today} items_per_day=5"
    assert find(f"a:{OTHER_HASH} scopes=classify, school:{HASH} {words}") == ClientKey(
        name="school",
        scopes=frozenset(("metrics", "admin")),
        expires=today,
        items_per_day=5,
    )
    assert find(HASH) == ClientKey(name=HASH[:8])
    assert find(f"{HASH} expires={today - datetime.timedelta(days=1)}") is None


@pytest.mark.parametrize(
    "word",
    ["scopes=", "scopes=all", "scopes=classify+x", "expires=soon", "expires=2027-02-30", "x=1",
     "items_per_day=0", "items_per_day=-1", "items_per_day=many", "classify", "a=b=c"],
)  # fmt: skip
def test_a_word_that_says_nothing_is_refused_and_not_quoted(word: str) -> None:
    with pytest.raises(KeyFormatError, match="line 1: behind the hash may stand") as refused:
        find(f"Wintermute:{HASH} {word}")
    assert "Wintermute" not in str(refused.value) and HASH not in str(refused.value)


@pytest.mark.parametrize(
    ("scopes", "statuses"),
    [
        ("classify", [200, 200, 403]),
        ("metrics", [403, 200, 200]),
        ("admin", [200, 200, 200]),
        ("classify+metrics", [200, 200, 200]),
    ],
)
async def test_a_key_does_what_it_is_for(scopes: str, statuses: list[int]) -> None:
    keys = ApiKeys.read(f"school:{HASH} scopes={scopes}", None)
    async with run_fake_service(keys=keys) as service:
        answers = [
            await service.client.post("/classify/problem", json=PROBLEM, headers=bearer(KEY)),
            await service.client.get("/labels", headers=bearer(KEY)),
            await service.client.get("/metrics", headers=bearer(KEY)),
        ]
    assert [answer.status_code for answer in answers] == statuses
    for answer in answers:
        if answer.status_code == 403:
            assert answer.json()["type"] == "urn:ncal-serve:error:forbidden"


async def test_keys_come_and_go_while_the_service_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "_LOOK_INTERVAL_S", 0.0)
    file = tmp_path / "keys"
    file.write_text(f"school:{HASH}")
    async with run_fake_service(keys=ApiKeys.read("", file)) as service:

        async def ask(key: str) -> int:
            return (await service.client.get("/labels", headers=bearer(key))).status_code

        assert [await ask(KEY), await ask(OTHER_KEY)] == [200, 401]
        (tmp_path / "new").write_text(f"lab:{OTHER_HASH}")
        os.replace(tmp_path / "new", file)
        assert [await ask(KEY), await ask(OTHER_KEY)] == [401, 200]
        for content in ("", "nonsense", None):  # what cannot be used changes nothing
            file.unlink() if content is None else file.write_text(content)
            assert [await ask(KEY), await ask(OTHER_KEY)] == [401, 200]
        file.write_text(f"lab:{OTHER_HASH}\nschool:{HASH}")
        assert [await ask(KEY), await ask(OTHER_KEY)] == [200, 200]


def test_a_quota_is_of_a_day_and_of_a_client() -> None:
    now = 86_400.0 * 3 + 86_000
    quota = DailyQuota(clock=lambda: now)
    quota.charge("a", 9, 10)
    with pytest.raises(RateLimited) as refused:
        quota.charge("a", 2, 10)
    assert refused.value.retry_after_s == 400.0
    quota.charge("b", 10, 10)
    quota.charge("a", 1, 10)
    with pytest.raises(RateLimited):
        quota.charge("a", 0, 10)
    quota.charge("a", -1, 10)
    quota.charge("a", 1, 10)
    now += 400.0
    quota.charge("a", 10, 10)


async def test_what_the_quota_refuses_costs_nothing_of_the_rate() -> None:
    limit = RateLimit(items_per_s=0.001, burst_items=3, clock=lambda: 0.0)
    client = Client("a", limit, DailyQuota(), 2)
    await client.charge(2)
    for _ in range(3):
        with pytest.raises(RateLimited, match="2 items a day"):
            await client.charge(1)
    limit.charge("a", 1)


async def test_a_quota_holds_for_single_items_batches_and_streams() -> None:
    keys = ApiKeys.read(f"school:{HASH} items_per_day=4", None)
    async with run_fake_service(keys=keys) as service:

        async def post(path: str, body: object) -> int:
            answer = await service.client.post(path, json=body, headers=bearer(KEY))
            return answer.status_code

        assert await post("/classify/problem/batch", {"items": [PROBLEM] * 5}) == 429
        assert await post("/classify/problem/batch", {"items": [PROBLEM] * 3}) == 200
        assert await post("/classify/problem", {"text": 1}) == 422
        assert await post("/classify/problem", PROBLEM) == 200
        assert await post("/classify/problem", PROBLEM) == 429


async def test_a_stream_ends_when_the_quota_does() -> None:
    keys = ApiKeys.read(f"school:{HASH} items_per_day=2", None)
    async with (
        run_fake_service(keys=keys) as service,
        serve(service.app) as address,
        open_stream(address, "/classify/problem/stream", **bearer(KEY)) as client,
    ):
        await client.send_items(PROBLEM)
        await client.read_head()
        assert (await client.read_result())["status"] == "ok"
        await client.send_items(PROBLEM, PROBLEM)
        assert (await client.read_result())["reason"] == "rate-limited"


def test_the_command_writes_what_the_service_reads() -> None:
    words = ["--scopes", "classify", "--expires", "2099-07-31", "--items-per-day", "7"]
    command = [sys.executable, "-m", "service.access.api_keys", "school", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    key_line, entry_line = done.stdout.splitlines()
    key, entry = key_line.rpartition(": ")[2], entry_line.rpartition("): ")[2]
    assert hashlib.sha256(key.encode()).hexdigest() in entry
    found = ApiKeys.read(entry, None).find_client(key.encode())
    assert found is not None
    assert (found.scopes, found.items_per_day) == (frozenset(("classify",)), 7)
    assert found.expires == datetime.date(2099, 7, 31)


@pytest.mark.parametrize("words", [["--scopes", "x"], ["--expires", "x"], ["--items-per-day", "0"]])
def test_the_command_refuses_what_no_entry_may_say(words: list[str]) -> None:
    command = [sys.executable, "-m", "service.access.api_keys", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "ncal key: error: scopes are" in done.stderr
