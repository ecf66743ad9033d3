"""Admission: bounds, order, fairness, deadlines, cancelling and draining, in virtual time."""

import asyncio
import selectors
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.admission.admission import Admission
from service.admission.fair_queue import Priority
from service.admission.permit import Permit
from service.admission.waiting_room import ROOM_SHARE
from service.errors import BodyTooLarge, DeadlineExceeded, Draining, EngineDead, Overloaded


class _VirtualSelector(selectors.SelectSelector):
    """Never waits: where a selector would sleep, virtual time moves on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("the test waits for something that will never happen")
        self.now += timeout
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = _VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


@pytest.fixture
def loop() -> Iterator[_VirtualLoop]:
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        yield cast(_VirtualLoop, runner.get_loop())


def make_admission(loop: asyncio.AbstractEventLoop, **limits: float) -> Admission:
    bounds: dict[str, Any] = {
        "max_waiting_items": 90,
        "max_waiting_tokens": 90_000,
        "max_running_items": 1,
        "max_running_tokens": 10_000,
    }
    return Admission(**(bounds | limits), clock=loop.time)


class Caller:
    """Asks for permits in tasks and writes down the order in which they came."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.order: list[str] = []

    async def ask(self, name: str, *, tokens: int = 100, work_s: float = 1.0, **ask: Any) -> Permit:
        ask = {"priority": Priority.SINGLE, "client": name, **ask}
        async with await self.admission.acquire(tokens=tokens, **ask) as permit:
            self.order.append(name)
            await asyncio.sleep(work_s)
        return permit

    def start(self, name: str, **ask: Any) -> asyncio.Task[Permit]:
        return asyncio.get_running_loop().create_task(self.ask(name, **ask))


async def settle() -> None:
    """Let every task that can run now run, without time passing."""
    for _ in range(5):
        await asyncio.sleep(0)


def assert_empty(admission: Admission) -> None:
    assert admission.waiting_items == admission.waiting_tokens == 0
    assert admission.running_items == admission.running_tokens == 0
    assert admission.oldest_wait_s == 0.0


def test_an_idle_queue_grants_at_once(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        permit = await admission.acquire(tokens=7, priority=Priority.SINGLE, client="a")
        assert (permit.queued_s, admission.running_items, admission.running_tokens) == (0.0, 1, 7)
        permit.release()
        permit.release()
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_running_work_is_bounded_by_items_and_tokens(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_running_items=3, max_running_tokens=250)
        caller = Caller(admission)
        tasks = [caller.start("big") for _ in range(3)]
        await settle()
        assert (admission.running_items, admission.waiting_items) == (2, 1)
        assert admission.running_tokens == 200
        tasks += [caller.start("small", tokens=1) for _ in range(4)]
        permits = await asyncio.gather(*tasks)
        assert caller.order == ["big"] * 3 + ["small"] * 4
        assert [permit.queued_s for permit in permits] == [0, 0, 1, 1, 1, 2, 2]
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_an_item_above_the_running_limit_runs_alone(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_running_items=5, max_running_tokens=100)
        caller = Caller(admission)
        tasks = [caller.start("small", tokens=1), caller.start("huge", tokens=5000)]
        await settle()
        assert (admission.running_items, admission.waiting_items) == (1, 1)
        await asyncio.gather(*tasks)
        assert caller.order == ["small", "huge"]

    loop.run_until_complete(scenario())


@pytest.mark.parametrize(
    "limits", [{"max_waiting_items": 4}, {"max_waiting_tokens": 400}], ids=["items", "tokens"]
)
@pytest.mark.parametrize("priority", [Priority.SINGLE, Priority.BATCH])
def test_beyond_the_bound_callers_are_refused_at_once(
    loop: _VirtualLoop, limits: dict[str, int], priority: Priority
) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, **limits)
        caller = Caller(admission)
        tasks = [caller.start(f"c{number}", priority=priority) for number in range(5)]
        await settle()
        assert admission.waiting_items == 4
        with pytest.raises(Overloaded):
            await caller.ask("late", priority=priority)
        with pytest.raises(Overloaded):
            admission.check_room(items=1, tokens=1)
        assert loop.time() == 0.0
        await asyncio.gather(*tasks)
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_one_client_alone_leaves_a_ninth_of_the_room_to_others(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_waiting_items=90)
        caller = Caller(admission)
        hogs = [caller.start("hog", client="hog") for _ in range(100)]
        await settle()
        assert admission.waiting_items == 90 * ROOM_SHARE // (ROOM_SHARE + 1)
        assert sum(task.done() for task in hogs) == 100 - admission.waiting_items - 1
        await caller.ask("other", client="other")
        assert caller.order.index("other") < 10
        results = await asyncio.gather(*hogs, return_exceptions=True)
        assert {type(result) for result in results} == {Permit, Overloaded}
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_check_room_counts_what_can_start_and_what_can_wait(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_running_items=10, max_waiting_items=90)
        admission.check_room(items=90, tokens=9_000)
        with pytest.raises(Overloaded):
            admission.check_room(items=91, tokens=9_100)
        with pytest.raises(Overloaded):
            admission.check_room(items=20, tokens=200_000)
        tasks = [Caller(admission).start("batch", priority=Priority.BATCH) for _ in range(90)]
        await asyncio.gather(*tasks)

    loop.run_until_complete(scenario())


async def saturate(caller: Caller) -> None:
    """Show the admission a queue that drains at 100 tokens a second."""
    await asyncio.gather(*(caller.start("warm", tokens=50, work_s=0.5) for _ in range(7)))


def test_retry_after_is_the_time_the_queue_needs(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_waiting_items=6, max_running_tokens=300)
        caller = Caller(admission)
        await saturate(caller)
        for _ in range(5):  # without a queue the rate is that of the arrivals: not counted
            await asyncio.sleep(100)
            await caller.ask("rare", tokens=1)
        tasks = [caller.start(f"c{number}", tokens=200) for number in range(7)]
        await settle()
        with pytest.raises(Overloaded) as refused:
            await caller.ask("late")
        assert refused.value.retry_after_s == pytest.approx(6 * 200 / 100)
        await asyncio.gather(*tasks)

    loop.run_until_complete(scenario())


def test_retry_after_is_bounded_and_a_second_while_nothing_is_known(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_waiting_items=1, max_running_tokens=100)
        caller = Caller(admission)
        for expected in (1.0, 60.0):
            tasks = [caller.start(f"c{number}", work_s=1000) for number in range(2)]
            await settle()
            with pytest.raises(Overloaded) as refused:
                await caller.ask("late")
            assert refused.value.retry_after_s == expected
            await asyncio.gather(*tasks)

    loop.run_until_complete(scenario())


def test_whoever_waits_at_a_screen_is_refused_rather_than_kept_waiting(
    loop: _VirtualLoop,
) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_wait_s=10.0, max_running_tokens=300)
        caller = Caller(admission)
        await saturate(caller)
        tasks = [caller.start("hog", tokens=100) for _ in range(40)]
        await settle()
        accepted = admission.waiting_items
        assert accepted == 11  # at most ten items of a second each are ahead of the last
        tasks.append(caller.start("hog", priority=Priority.BATCH))
        tasks.append(caller.start("other"))  # has its turn after a quantum of the hog's
        await settle()
        assert admission.waiting_items == accepted + 2
        results = await asyncio.gather(*tasks, return_exceptions=True)
        waits = [result.queued_s for result in results if isinstance(result, Permit)]
        assert max(waits[:-2]) <= 12.0 and waits[-1] <= 10.0
        assert sum(isinstance(result, Overloaded) for result in results) == 40 - accepted - 1

    loop.run_until_complete(scenario())


def test_the_first_results_do_not_tell_the_rate(loop: _VirtualLoop) -> None:
    """They come in steps: by the first of a step the engine would seem to be nearly idle."""

    async def scenario() -> None:
        admission = make_admission(
            loop, max_wait_s=2.0, max_running_items=10, max_running_tokens=1000
        )
        caller = Caller(admission)

        async def ask_twice(name: str) -> None:
            await caller.ask(name)
            # Ten are done at the same moment, one after the other: so far, few a second.
            await caller.ask(name)

        await asyncio.gather(*(ask_twice(f"c{number}") for number in range(20)))

    loop.run_until_complete(scenario())


def test_higher_priority_goes_first(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        caller = Caller(make_admission(loop))
        tasks = [caller.start("first")]
        await settle()
        tasks += [caller.start(priority.name, priority=priority) for priority in reversed(Priority)]
        await asyncio.gather(*tasks)
        assert caller.order == ["first", "LIVE", "SINGLE", "BATCH", "STREAM"]

    loop.run_until_complete(scenario())


def test_a_lower_priority_gets_a_sixteenth_of_what_passes_it_by(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_waiting_items=2000, max_waiting_tokens=10**6)
        caller = Caller(admission)
        tasks = [
            caller.start(priority.name, priority=priority)
            for priority in (Priority.LIVE, Priority.STREAM)
            for _ in range(400)
        ]
        await settle()
        await asyncio.sleep(340.5)
        shares = caller.order[1:341].count("STREAM")
        assert shares == pytest.approx(340 / 17, abs=5)
        await asyncio.gather(*tasks)

    loop.run_until_complete(scenario())


def test_clients_of_one_priority_share_by_tokens(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_waiting_items=3000, max_waiting_tokens=10**6)
        caller = Caller(admission)
        tasks = [caller.start("long", tokens=400) for _ in range(200)]
        tasks += [caller.start("short", tokens=100) for _ in range(200)]
        await asyncio.sleep(100.5)
        ran = caller.order[:100]
        assert ran.count("short") * 100 == pytest.approx(ran.count("long") * 400, abs=1024)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_a_thousand_items_of_one_client_do_not_hold_up_another(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_waiting_items=3000, max_waiting_tokens=10**6)
        caller = Caller(admission)
        hogs = [caller.start("hog", priority=Priority.BATCH) for _ in range(1000)]
        await settle()
        permit = await caller.ask("meek", priority=Priority.BATCH)
        assert permit.queued_s <= 12  # one item running and a quantum of the hog's
        for task in hogs:
            task.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)

    loop.run_until_complete(scenario())


def test_expired_work_leaves_and_never_runs(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        caller = Caller(admission)
        running = caller.start("running", work_s=10)
        await settle()
        late = caller.start("late", deadline=3.0)
        with pytest.raises(DeadlineExceeded):
            await late
        assert loop.time() == pytest.approx(3.0)
        assert admission.waiting_items == 0
        with pytest.raises(DeadlineExceeded):
            await caller.ask("dead", deadline=loop.time())
        await running
        assert caller.order == ["running"]
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_work_that_expires_in_the_queue_is_skipped_when_its_turn_comes() -> None:
    now = 0.0

    async def scenario() -> None:
        nonlocal now
        admission = Admission(
            max_waiting_items=9,
            max_waiting_tokens=900,
            max_running_items=1,
            max_running_tokens=100,
            clock=lambda: now,
        )
        permit = await admission.acquire(tokens=1, priority=Priority.LIVE, client="a")
        late = asyncio.ensure_future(Caller(admission).ask("late", deadline=60.0))
        await settle()
        now = 61.0  # a stalled loop: the timer has not fired yet
        permit.release()
        with pytest.raises(DeadlineExceeded):
            await late
        assert_empty(admission)

    asyncio.run(scenario())


def test_a_cancelled_waiter_leaves_at_once(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_running_tokens=100)
        caller = Caller(admission)
        tasks = [caller.start("running", tokens=60), caller.start("huge", tokens=90)]
        tasks.append(caller.start("next", tokens=30))
        await settle()
        assert admission.waiting_items == 2
        tasks[1].cancel()
        await settle()
        assert caller.order == ["running"]  # running_items is bounded by 1
        assert admission.waiting_items == 1
        await asyncio.gather(*tasks, return_exceptions=True)
        assert caller.order == ["running", "next"]
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_a_permit_granted_while_its_caller_is_cancelled_is_given_back(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        permit = await admission.acquire(tokens=1, priority=Priority.LIVE, client="a")
        for cancel_first in (True, False):
            waiting = Caller(admission).start("b")
            await settle()
            if cancel_first:
                waiting.cancel()
            permit.release()
            waiting.cancel()
            await settle()
            assert waiting.cancelled()
            assert_empty(admission)
            permit = await admission.acquire(tokens=1, priority=Priority.LIVE, client="a")
        permit.release()

    loop.run_until_complete(scenario())


def test_streams_wait_for_room_without_taking_it(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop, max_waiting_items=1)
        caller = Caller(admission)
        tasks = [
            caller.start("stream", priority=Priority.STREAM, wait_for_room=True) for _ in range(5)
        ]
        await settle()
        assert admission.waiting_items == 4
        tasks.append(caller.start("single"))
        await settle()
        await asyncio.gather(*tasks)
        assert caller.order == ["stream", "single", *["stream"] * 4]

    loop.run_until_complete(scenario())


def test_drain_finishes_what_was_admitted_and_refuses_the_rest(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        caller = Caller(admission)
        tasks = [caller.start(f"c{number}") for number in range(4)]
        await settle()
        draining = asyncio.ensure_future(admission.drain(timeout_s=60))
        await settle()
        for wait_for_room in (False, True):
            with pytest.raises(Draining):
                await caller.ask("late", wait_for_room=wait_for_room)
        with pytest.raises(Draining):
            admission.check_room(items=1, tokens=1)
        await draining
        assert loop.time() == 4.0
        assert all(task.done() for task in tasks)
        assert len(caller.order) == 4

    loop.run_until_complete(scenario())


def test_drain_gives_up_on_waiting_work_after_its_time(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        caller = Caller(admission)
        running = caller.start("running", work_s=100)
        await settle()
        waiting = [caller.start(f"c{number}") for number in range(3)]
        waiting[0].cancel()
        await admission.drain(timeout_s=5)
        assert loop.time() == 5.0
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results[1:]] == [Draining, Draining]
        assert not running.done()
        running.cancel()
        await settle()
        assert_empty(admission)

    loop.run_until_complete(scenario())


def test_a_dead_engine_is_what_those_who_wait_and_those_who_come_are_told(
    loop: _VirtualLoop,
) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        caller = Caller(admission)
        running = caller.start("running", work_s=100)
        await settle()
        waiting = [caller.start(f"c{number}", wait_for_room=number == 2) for number in range(3)]
        await settle()
        admission.abandon()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [EngineDead] * 3
        assert loop.time() == 0.0 and admission.draining.is_set()
        with pytest.raises(EngineDead):
            await caller.ask("late")
        with pytest.raises(EngineDead):
            admission.check_room(items=1, tokens=1)
        running.cancel()
        await settle()
        assert_empty(admission)

    loop.run_until_complete(scenario())


@pytest.mark.parametrize(
    ("items", "tokens", "fits"),
    [(81, 81, True), (82, 82, False), (20, 90_000, True), (20, 95_000, False), (1, 10**6, False)],
)
def test_what_never_fits_is_not_told_to_try_again(
    loop: _VirtualLoop, items: int, tokens: int, fits: bool
) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        if fits:
            admission.check_size(items=items, tokens=tokens)
            return admission.check_room(items=items, tokens=tokens)
        with pytest.raises(BodyTooLarge, match="81 items, 90000 tokens") as caught:
            admission.check_size(items=items, tokens=tokens)
        assert caught.value.retry_after_s is None
        with pytest.raises(Overloaded):  # what it would be told for ever
            admission.check_room(items=items, tokens=tokens)

    loop.run_until_complete(scenario())


def test_drain_of_an_idle_queue_returns_at_once(loop: _VirtualLoop) -> None:
    loop.run_until_complete(make_admission(loop).drain(timeout_s=5))
    assert loop.time() == 0.0


def test_oldest_wait_is_that_of_the_first_comer(loop: _VirtualLoop) -> None:
    async def scenario() -> None:
        admission = make_admission(loop)
        caller = Caller(admission)
        tasks = [caller.start("running", work_s=9), caller.start("a", priority=Priority.STREAM)]
        await asyncio.sleep(2)
        tasks.append(caller.start("b", priority=Priority.LIVE))
        await asyncio.sleep(3)
        assert admission.oldest_wait_s == 5.0
        await asyncio.gather(*tasks)

    loop.run_until_complete(scenario())


_ASK = st.fixed_dictionaries(
    {
        "at": st.integers(0, 20),
        "tokens": st.integers(1, 700),
        "priority": st.sampled_from(Priority),
        "client": st.sampled_from("abc"),
        "work_s": st.integers(0, 5),
        "patience_s": st.none() | st.integers(1, 10),
        "leaves_after_s": st.none() | st.integers(0, 10),
        "wait_for_room": st.booleans(),
    }
)


@settings(max_examples=150, deadline=None)
@given(
    asks=st.lists(_ASK, max_size=40),
    waiting=st.tuples(st.integers(0, 9), st.integers(0, 3000)),
    running=st.tuples(st.integers(1, 4), st.integers(1, 900)),
)
def test_invariants_hold_in_any_history(
    asks: list[dict[str, Any]], waiting: tuple[int, int], running: tuple[int, int]
) -> None:
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        runner.run(_replay(asks, waiting, running))


async def _replay(
    asks: list[dict[str, Any]], waiting: tuple[int, int], running: tuple[int, int]
) -> None:
    loop = asyncio.get_running_loop()
    admission = make_admission(
        loop,
        max_waiting_items=waiting[0],
        max_waiting_tokens=waiting[1],
        max_running_items=running[0],
        max_running_tokens=running[1],
    )
    in_room = 0

    async def ask(at: int, work_s: int, patience_s: int | None, **rest: Any) -> float:
        nonlocal in_room
        await asyncio.sleep(at)
        bounded = not rest["wait_for_room"]
        deadline = None if patience_s is None else at + float(patience_s)
        in_room += bounded
        try:
            permit = await admission.acquire(deadline=deadline, **rest)
        finally:
            in_room -= bounded
        async with permit:
            assert 1 <= admission.running_items <= running[0]
            assert admission.running_tokens <= running[1]
            assert in_room <= waiting[0] + running[0]
            if deadline is not None:
                assert loop.time() <= deadline
            await asyncio.sleep(work_s)
        return permit.queued_s

    async def leave(task: asyncio.Task[float], after_s: int) -> None:
        await asyncio.sleep(after_s)
        task.cancel()

    jobs: list[asyncio.Task[Any]] = []
    for options in asks:
        leaves_after_s = options.pop("leaves_after_s")
        task = loop.create_task(ask(**options))
        jobs.append(task)
        if leaves_after_s is not None:
            jobs.append(loop.create_task(leave(task, options["at"] + leaves_after_s)))
    for result in await asyncio.gather(*jobs, return_exceptions=True):
        expected = (Overloaded, DeadlineExceeded, asyncio.CancelledError, float, type(None))
        assert isinstance(result, expected), result
    assert_empty(admission)
