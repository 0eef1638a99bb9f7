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


@pytest.mark.parametrize("made", [decoders, loop_turns])
async def test_who_gives_up_holds_nobody_up(made: Callable[[], tuple[Enter, int]]) -> None:
    enter, places = made()
    inside, go = list[str](), {f"first{n}": asyncio.Event() for n in range(places)}

    async def one(name: str) -> None:
        async with enter(name):
            inside.append(name)
            if name in go:
                await go[name].wait()

    tasks = [asyncio.create_task(one(name)) for name in go]
    await settled()
    assert inside == list(go)
    waits, granted = (asyncio.create_task(one(name)) for name in ("waits", "granted"))
    await settled()
    waits.cancel()
    await settled()
    assert waits.cancelled()
    go["first0"].set()
    await tasks[0]
    asyncio.get_running_loop().call_soon(granted.cancel)  # in the round in which its turn comes, or before
    await settled()
    assert granted.done()
    last = asyncio.create_task(one("last"))
    await settled()
    assert last.done()
    assert inside[-1] == "last"
    for event in go.values():
        event.set()
    await asyncio.gather(*tasks)
