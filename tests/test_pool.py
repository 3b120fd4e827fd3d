from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from textwrap import dedent

import pytest

from heartbeat.pool import Pool, PoolExhausted


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_what_a_function_returns_comes_back() -> None:
    call = Pool().submit(lambda: threading.current_thread().name)
    assert await call.outcome == "heartbeat-plugin"
    assert call.ended.done()


@pytest.mark.parametrize(
    ("error", "seen"), [(ValueError("x"), ValueError), (SystemExit(3), SystemExit), (StopIteration("x"), RuntimeError)]
)
async def test_what_a_function_raises_comes_back(error: BaseException, seen: type[BaseException]) -> None:
    def function() -> None:
        raise error

    call = Pool().submit(function)
    await call.ended
    assert isinstance(call.outcome.exception(), seen)


async def test_an_idle_thread_is_used_again() -> None:
    pool = Pool()
    threads = [await pool.submit(threading.get_ident).outcome for _ in range(5)]
    assert len(set(threads)) == 1


async def test_more_than_there_are_threads_are_refused_and_not_queued(released: threading.Event) -> None:
    pool = Pool(threads=2)
    calls = [pool.submit(released.wait) for _ in range(2)]
    with pytest.raises(PoolExhausted, match="all 2 threads"):
        pool.submit(released.wait)
    released.set()
    await asyncio.gather(*(call.ended for call in calls))
    assert await pool.submit(lambda: 5).outcome == 5


async def test_a_thread_that_hangs_is_replaced_up_to_a_cap(released: threading.Event) -> None:
    pool = Pool(threads=1, stuck_at_most=2)
    calls = []
    for _ in range(2):
        calls.append(pool.submit(released.wait))
        pool.give_up(calls[-1])
        pool.give_up(calls[-1])
    assert (pool.busy, pool.stuck) == (2, 2)
    with pytest.raises(PoolExhausted, match="2 more hang"):
        pool.submit(released.wait)
    released.set()
    await asyncio.gather(*(call.ended for call in calls))
    assert (pool.busy, pool.stuck) == (0, 0)
    assert await pool.submit(lambda: 5).outcome == 5


async def test_giving_up_what_has_ended_changes_nothing() -> None:
    pool = Pool()
    call = pool.submit(lambda: None)
    await call.ended
    pool.give_up(call)
    assert (pool.busy, pool.stuck) == (0, 0)


async def test_a_thread_that_fails_after_it_was_given_up_says_nothing(released: threading.Event) -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    def function() -> None:
        released.wait()
        raise ValueError("nobody asks any more")

    pool = Pool()
    call = pool.submit(function)
    pool.give_up(call)
    released.set()
    await call.ended
    del call
    assert said == []


async def test_a_machine_without_threads_left_is_an_exhausted_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = Pool()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(PoolExhausted, match="can't start new thread"):
            pool.submit(lambda: 5)
    assert pool.busy == 0
    assert await pool.submit(lambda: 5).outcome == 5


def test_nothing_waits_for_a_hanging_thread_at_the_end_of_the_process() -> None:
    script = """
        import asyncio, threading
        from heartbeat.pool import Pool

        async def main():
            pool = Pool()
            started = threading.Event()
            pool.give_up(pool.submit(lambda: (started.set(), threading.Event().wait())))
            await asyncio.to_thread(started.wait)

        asyncio.run(main())
        print("over")
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
