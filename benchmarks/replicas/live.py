"""A client in a live dialogue, which takes it to another replica when a connection is lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import websockets

from benchmarks.replicas.client import BalancedClient
from benchmarks.replicas.ledger import CUT

_PAUSE_S = 0.1
_ANSWER_S = 60.0


class LiveDialogues(BalancedClient):
    """One client with one live dialogue at a time, as `service.live.messages` has it."""

    @property
    def _url(self) -> str:
        return f"ws://{self._address.host}:{self._address.port}/classify/dialogue/live"

    async def hold(self, is_over: Callable[[], bool]) -> None:
        """Hold one dialogue after the other, each until all its turns have a final label."""
        while not is_over():
            dialogue = self._draw.randrange(len(self._expected.dialogues))
            lesson = _Lesson(self._expected.dialogues[dialogue])
            self._ledger.sent += len(lesson.turns)
            while not lesson.is_labelled:
                before = lesson.labelled
                outcome = await self._attend(lesson)
                if outcome is not None:
                    self._ledger.note_refusal("live", outcome)
                    self._ledger.resumed["live dialogues"] += before + lesson.labelled > 0
                    await asyncio.sleep(_PAUSE_S)
            for turn, answer in lesson.final.items():
                is_right = self._expected.is_turn_right(dialogue, turn, answer)
                self._ledger.note_answer("live", is_right)

    async def _attend(self, lesson: "_Lesson") -> str | None:
        """Hold the dialogue, from where it stands, as long as the connection does.

        Return why it ended before its end; None when it came to its end.
        """
        try:
            async with (
                asyncio.timeout(_ANSWER_S) as patience,
                websockets.connect(self._url, open_timeout=_ANSWER_S, proxy=None) as connection,
            ):
                if lesson.labelled:
                    await connection.send(lesson.make_resume())
                for turn in range(lesson.labelled, len(lesson.turns)):
                    await connection.send(lesson.make_turn(turn))
                    while not lesson.is_heard(turn):
                        lesson.take(orjson.loads(await connection.recv()))
                    await asyncio.sleep(self._draw.random() * 2 * self._pause_s)
                    patience.reschedule(asyncio.get_running_loop().time() + _ANSWER_S)
                await connection.send('{"type":"end"}')
                async for message in connection:
                    lesson.take(orjson.loads(message))
            return None if lesson.is_labelled else f"closed {connection.close_code}"
        except websockets.InvalidStatus as refused:
            return str(refused.response.status_code)
        except websockets.ConnectionClosed as closed:
            return CUT if closed.rcvd is None else f"closed {closed.rcvd.code}"
        except OSError:  # TimeoutError is one
            return CUT


class _Lesson:
    """The turns of one dialogue and the labels that they have."""

    def __init__(self, turns: list[dict[str, str]]) -> None:
        self.turns = turns
        self.final: dict[int, Any] = {}
        self._heard: set[int] = set()
        """Turns that have a label, if not a final one, in the connection that there is."""

    @property
    def labelled(self) -> int:
        """How many turns, from the first, have a final label."""
        return len(self.final)

    @property
    def is_labelled(self) -> bool:
        return len(self.final) == len(self.turns)

    def make_resume(self) -> str:
        """The message that takes the dialogue up where its final labels end."""
        self._heard.clear()
        previous = self.turns[: self.labelled]
        message = {"type": "resume", "index": self.labelled, "previous": previous}
        return orjson.dumps(message).decode()

    def make_turn(self, turn: int) -> str:
        self._heard.discard(turn)
        return orjson.dumps({"type": "turn", **self.turns[turn]}).decode()

    def is_heard(self, turn: int) -> bool:
        return turn in self._heard

    def take(self, message: Any) -> None:
        """Take a message of the service; what is labelled twice has the same label twice."""
        if message["type"] != "label":
            return
        index = message["index"]
        self._heard.add(index)
        if message["final"]:
            self.final[index] = message["prediction"]
