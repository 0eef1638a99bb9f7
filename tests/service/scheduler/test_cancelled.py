"""Who gives up while it waits, or in the moment in which its turn comes, holds nobody up: seen without waiting."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from spikesight.service.http.turns import Turns
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.processes import CALLS
from tests.support.models import tiny
from tests.support.serving.servers import settings

Enter = Callable[[str], AbstractAsyncContextManager[object]]


def decoders() -> tuple[Enter, int]:
    """The queue of uploads for a decoder, and its places."""
    runtime = Runtime(settings(), (tiny(),))
    return lambda client: runtime.decoding(client, time.monotonic() + 3600), CALLS


def loop_turns() -> tuple[Enter, int]:
    """The turns of streams in the event loop."""
    turns = Turns()

    @asynccontextmanager
    async def turn(_: str) -> AsyncIterator[None]:
        async with turns.account():
            yield

    return turn, 1


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("rounds", range(5))
@pytest.mark.parametrize("made", [decoders, loop_turns])
async def test_who_gives_up_holds_nobody_up(made: Callable[[], tuple[Enter, int]], rounds: int) -> None:
    """One gives up as it waits, and one so many rounds of the loop after a place has become free for it."""
    enter, places = made()
    inside, go = list[str](), [asyncio.Event() for _ in range(places)]

    async def one(name: str, until: asyncio.Event | None = None) -> None:
        async with enter(name):
            inside.append(name)
            if until is not None:
                await until.wait()

    tasks = [asyncio.create_task(one(str(n), event)) for n, event in enumerate(go)]
    await settled()
    assert len(inside) == places
    waits, granted = (asyncio.create_task(one(name)) for name in ("waits", "granted"))
    await settled()
    waits.cancel()
    await settled()
    go[0].set()
    for _ in range(rounds):
        await asyncio.sleep(0)
    granted.cancel()
    await settled()
    last = asyncio.create_task(one("last"))
    await settled()
    assert (waits.cancelled(), granted.done(), last.done(), inside[-1]) == (True, True, True, "last")
    for event in go:
        event.set()
    await asyncio.gather(*tasks)
