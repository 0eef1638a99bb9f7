"""How a stream's tasks end."""

import asyncio

import pytest

from service.stream.outbox import end_all


def test_all_end_whatever_they_raise() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("not now") from None

    async def run() -> list[bool]:
        tasks = [asyncio.create_task(asyncio.sleep(60)), asyncio.create_task(stubborn())]
        await asyncio.sleep(0)
        await end_all(tasks)
        return [task.done() for task in tasks]

    assert asyncio.run(run()) == [True, True]


def test_a_caller_that_is_cancelled_meanwhile_hears_its_own_cancellation() -> None:
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)

    async def run() -> None:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0)
        caller = asyncio.create_task(end_all([task]))
        await asyncio.sleep(0)
        caller.cancel("by a scope")
        with pytest.raises(asyncio.CancelledError) as caught:
            await caller
        assert caught.value.args == ("by a scope",)
        await asyncio.wait([task])

    asyncio.run(run())
