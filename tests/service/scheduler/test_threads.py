"""The thread beside the event loop: order, results, errors, and work that nobody waits for any more."""

import asyncio
import threading

import pytest

from spikesight.service.scheduler.threads import DecodeThread, Mailbox


@pytest.fixture
async def mailbox() -> Mailbox:
    """One of the running loop."""
    made = Mailbox()
    made.attach(asyncio.get_running_loop())
    return made


async def test_results_errors_and_order(mailbox: Mailbox) -> None:
    decoder, done, gate = DecodeThread(mailbox), list[int](), threading.Event()

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
    assert await asyncio.gather(*results) == done == [0, 1, 2, 3, 4]
    with pytest.raises(LookupError):
        await decoder.run(fail)
    decoder.submit(fail)  # logged; the thread goes on
    assert await decoder.run(lambda: 7) == 7
    decoder.stop()


async def test_calls_wait_for_the_end_of_a_tick_and_run_in_the_loops_thread(mailbox: Mailbox) -> None:
    ran, done = list[int](), asyncio.get_running_loop().create_future()
    mailbox.post(lambda: ran.append(threading.get_ident()))
    assert not ran
    mailbox.flush()
    assert ran == [threading.get_ident()], "at once, in the loop's own thread"
    assert mailbox.call_soon(lambda: ran.append(1))
    assert 1 not in ran
    await asyncio.sleep(0)
    assert ran[-1] == 1

    def elsewhere() -> None:
        mailbox.post(lambda: ran.append(threading.get_ident()))
        mailbox.resolve(done, mailbox.call_soon(lambda: None))
        mailbox.flush()

    threading.Thread(target=elsewhere).start()
    assert not await done, "another thread's call is not taken"
    assert ran[-1] == threading.get_ident()
