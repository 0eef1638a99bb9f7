"""The thread beside the event loop: order, results, errors, and work that nobody waits for any more."""

import asyncio
import threading

import pytest

from spikesight.service.scheduler.threads import DecodeThread, Mailbox


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


def test_calls_wait_for_the_end_of_a_tick_and_run_in_the_loops_thread() -> None:
    async def talk() -> None:
        mailbox, ran = Mailbox(), list[int]()
        mailbox.post(lambda: ran.append(0))
        mailbox.flush()
        assert not mailbox.call_soon(lambda: None)
        assert not ran, "there is no loop yet"
        mailbox.attach(asyncio.get_running_loop())
        mailbox.post(lambda: ran.append(threading.get_ident()))
        assert not ran
        mailbox.flush()
        assert ran == [0, threading.get_ident()], "at once, in the loop's own thread"
        assert mailbox.call_soon(lambda: ran.append(1))
        assert 1 not in ran
        await asyncio.sleep(0)
        assert ran[-1] == 1
        lent: list[bool] = []
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def elsewhere() -> None:
            lent.append(mailbox.call_soon(lambda: None))
            mailbox.resolve(done, threading.get_ident())
            mailbox.flush()

        other = threading.Thread(target=elsewhere)
        other.start()
        assert await done == other.ident
        other.join()
        assert lent == [False]

    asyncio.run(talk())


def test_a_future_that_is_done_stays_as_it_is() -> None:
    async def talk() -> None:
        mailbox = Mailbox()
        mailbox.attach(asyncio.get_running_loop())
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        gone.cancel()
        mailbox.resolve(done, 1)
        mailbox.resolve(done, 2)
        mailbox.reject(done, LookupError())
        mailbox.resolve(gone, 3)
        mailbox.reject(gone, LookupError())
        mailbox.flush()
        assert done.result() == 1
        assert gone.cancelled()

    asyncio.run(talk())


def test_a_loop_that_is_closed_gets_no_calls() -> None:
    mailbox, loop = Mailbox(), asyncio.new_event_loop()
    mailbox.attach(loop)
    loop.close()
    mailbox.post(lambda: pytest.fail("it was called"))
    mailbox.flush()
