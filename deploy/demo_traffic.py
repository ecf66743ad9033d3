"""Light traffic of every kind, for the dashboards of a newcomer.

`docker compose --profile demo up` starts it, in the service's image, which has what it imports. A
round takes about two seconds of the clock and next to nothing of the processor. Ends when the
service asks for another key; whatever else fails is said and tried again.
"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import websockets.sync.client

PROBLEMS = (
    "一个书架有5层，每层放18本书，一共能放多少本书？",
    "下面哪个图形是轴对称图形？",
    "小丽从家走到学校要12分钟，每分钟走65米，她家离学校多远？",
    "用36米长的篱笆围一块长方形菜地，长和宽各是多少时面积最大？",
    "看图写出一个乘法算式。",
    "如果今天是星期三，那么100天以后是星期几？",
    "1千米等于多少米？",
)
DIALOGUE = (
    ("teacher", "这道题里，我们先要求出什么？"),
    ("student", "先求一共有多少个。"),
    ("teacher", "对，那么怎样列式呢？"),
    ("student", "六乘八。"),
    ("teacher", "很好，六乘八等于四十八。"),
)
TURNS = [{"speaker": speaker, "text": text} for speaker, text in DIALOGUE]
REFUSED = {401, 403}


class Client:
    """Sends to one service, with a key where there is one."""

    def __init__(self, url: str, key: str = "") -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> int:
        """Send a body; return the status. OSError when nobody answers."""
        headers = {**self._headers, "Content-Type": content_type}
        request = urllib.request.Request(self._url + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            return error.code

    def speak(self, turns: list[dict[str, str]]) -> None:
        """Hold a live dialogue."""
        url = self._url.replace("http", "ws", 1) + "/classify/dialogue/live"
        with websockets.sync.client.connect(url, additional_headers=self._headers) as live:
            for turn in turns:
                live.send(json.dumps({"type": "turn", **turn}))
            live.send(json.dumps({"type": "end"}))
            for _ in live:
                pass


def make_requests(chance: random.Random) -> Iterator[tuple[str, bytes, str]]:
    """Path, body and content type of a round: singles, a batch, a stream, a dialogue, a mistake."""
    problems = [{"text": chance.choice(PROBLEMS)} for _ in range(chance.randint(4, 12))]
    place = chance.randrange(1, len(TURNS))
    turn = {**TURNS[place], "previous": TURNS[:place]}
    yield "/classify/problem", _to_json(problems[0]), "application/json"
    yield "/classify/dialogue-turn", _to_json(turn), "application/json"
    yield "/classify/problem/batch", _to_json({"items": problems}), "application/json"
    yield "/classify/dialogue", _to_json({"turns": TURNS}), "application/json"
    lines = b"".join(_to_json(problem) + b"\n" for problem in problems)
    yield "/classify/problem/stream", lines, "application/x-ndjson"
    if chance.random() < 0.2:
        yield "/classify/problem", _to_json({"words": 1}), "application/json"


def run_round(client: Client, chance: random.Random) -> None:
    """Send one round; SystemExit when the service wants a key."""
    for path, body, content_type in make_requests(chance):
        if client.post(path, body, content_type) in REFUSED:
            raise SystemExit("the service wants a key: set DEMO_API_KEY to one of its keys")
        time.sleep(chance.uniform(0.1, 0.6))
    client.speak(TURNS)


def _to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def main(url: str) -> None:
    """Go on until the process is ended."""
    client, chance = Client(url, os.environ.get("API_KEY", "")), random.Random()
    while True:
        try:
            run_round(client, chance)
        except (OSError, websockets.exceptions.WebSocketException) as error:
            print(f"demo: {type(error).__name__}; trying again in 5 s", flush=True)
            time.sleep(5.0)


if __name__ == "__main__":
    main(sys.argv[1])
