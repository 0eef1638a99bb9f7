"""Calls into the event loop: when they are made, and where none is."""

import asyncio
import threading

import pytest

from spikesight.service.scheduler.mailbox import Mailbox


@pytest.fixture
async def mailbox() -> Mailbox:
    """One of the running loop."""
    made = Mailbox()
    made.attach(asyncio.get_running_loop())
    return made


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
