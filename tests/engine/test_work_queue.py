"""What threads take out of the queue in front of the embedded engine."""

import asyncio
import threading
import time

from engine.work_queue import Work, WorkQueue


def make_works(*lengths: int) -> list[Work]:
    loop = asyncio.new_event_loop()
    works = [Work([5] * length, 0, loop.create_future()) for length in lengths]
    loop.close()
    return works


def take(queue: WorkQueue, into: list[list[Work]]) -> threading.Thread:
    thread = threading.Thread(target=lambda: into.append(queue.take_step()))
    thread.start()
    return thread


def wait_for_idle(queue: WorkQueue, threads: int) -> None:
    while queue._idle != threads:
        time.sleep(0.001)


def test_a_step_holds_no_more_than_its_tokens_and_nothing_is_lost() -> None:
    queue = WorkQueue(max_tokens=100, max_items=10)
    works = make_works(*[30] * 7)
    assert queue.put(works)
    steps = [queue.take_step() for _ in range(3)]
    assert [len(step) for step in steps] == [3, 3, 1]
    assert [work for step in steps for work in step] == works
    assert [work.passes for work in works] == [0, 0, 0, 1, 1, 1, 2]


def test_little_work_is_divided_among_idle_threads() -> None:
    queue = WorkQueue(max_tokens=1000, max_items=10)
    steps: list[list[Work]] = []
    threads = [take(queue, steps) for _ in range(2)]
    wait_for_idle(queue, 2)
    queue.put(make_works(*[30] * 8))
    for thread in threads:
        thread.join()
    assert [len(step) for step in steps] == [4, 4]


def test_what_was_cancelled_is_left_out() -> None:
    queue = WorkQueue(max_tokens=100, max_items=10)
    works = make_works(10, 10, 10)
    queue.put(works)
    works[1].is_cancelled = True
    assert queue.take_step() == [works[0], works[2]]


def test_closing_wakes_all_and_gives_back_what_is_left() -> None:
    queue = WorkQueue(max_tokens=20, max_items=10)
    works = make_works(20, 20)
    queue.put(works)
    assert queue.take_step() == works[:1]
    assert queue.close() == works[1:]
    steps: list[list[Work]] = []
    take(queue, steps).join()
    assert steps == [[]]
    assert not queue.put(make_works(20))
    idle = WorkQueue(max_tokens=20, max_items=10)
    thread = take(idle, steps)
    wait_for_idle(idle, 1)
    assert idle.close() == []
    thread.join()
    assert steps == [[], []]
