"""The thread beside the event loop: order, results, errors, and work that nobody waits for any more."""

import asyncio
import threading

import pytest

from service.scheduler.threads import DecodeThread, Mailbox


def test_results_errors_and_order() -> None:
    async def talk() -> None:
        mailbox = Mailbox()
        mailbox.attach(asyncio.get_running_loop())
        decoder = DecodeThread(mailbox)
        done: list[int] = []
        gate = threading.Event()

        def note(n: int) -> int:
            done.append(n)
            return n

        def fail() -> None:
            raise LookupError("nothing there")

        waiting = asyncio.create_task(decoder.run(lambda: gate.wait(20)))
        left = asyncio.create_task(decoder.run(lambda: note(-1)))
        results = [asyncio.create_task(decoder.run(lambda n=n: note(n))) for n in range(5)]
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        gate.set()
        assert await waiting
        assert await asyncio.gather(*results) == [0, 1, 2, 3, 4]
        assert done == [0, 1, 2, 3, 4]
        with pytest.raises(LookupError):
            await decoder.run(fail)
        decoder.submit(fail)  # logged; the thread goes on
        assert await decoder.run(lambda: 7) == 7
        decoder.stop()

    asyncio.run(talk())
