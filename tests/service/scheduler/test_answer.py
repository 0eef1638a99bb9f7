"""What comes back from a call: arrays, records and errors as they are; anything else is refused."""

import os
import pickle
import socket
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from spikesight.encoders.events import EVENTS, SensorSize
from spikesight.encoders.sample import Sample
from spikesight.service.protocol_v2.tensors import InferRequest, Wish
from spikesight.service.scheduler.answer import LARGE, MOST_ARRAYS, receive, receive_arrays, send, unpickle


class Numbers(NamedTuple):
    """A class, but no record that any call answers with."""

    n: int


@pytest.mark.parametrize(
    "answer",
    [
        np.ones(6, EVENTS),
        np.float32(2.5),
        Sample(None, np.zeros(3, EVENTS), SensorSize(3, 4), ("damaged",)),
        InferRequest({"x": np.ones((2, 3), np.float32), "image": [b"a"]}, (Wish("label", True),), False, "1", {"n": 1}),
        {"a": [1, (2.5, "b"), None], "c": {True}},
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_arrays_and_records_come_back_as_they_are(answer: object) -> None:
    good, found = unpickle(pickle.dumps((True, answer)))
    assert good
    assert type(found) is type(answer)
    assert repr(found) == repr(answer)


@pytest.fixture
def ends() -> tuple[Connection, Connection]:
    """Both ends of a line."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), Connection(theirs.detach())


def test_so_many_arrays_come_beside_the_rest(ends: tuple[Connection, Connection]) -> None:
    ours, theirs = ends
    arrays = [np.full(LARGE, n, np.uint8) for n in range(MOST_ARRAYS + 2)]
    sender = threading.Thread(target=send, args=(theirs, (True, [*arrays, np.zeros(LARGE - 1, np.uint8)])))
    sender.start()
    sizes = np.frombuffer(ours.recv_bytes(), np.uint64).tolist()
    assert sizes == [LARGE] * MOST_ARRAYS
    good, found = unpickle(ours.recv_bytes(), receive_arrays(ours, sizes, 2**30))
    sender.join()
    assert good
    assert all(np.array_equal(one, made) for one, made in zip(found, arrays))


def test_an_answer_that_is_too_large_cut_or_oddly_begun_is_none(ends: tuple[Connection, Connection]) -> None:
    ours, theirs = ends
    with pytest.raises(pickle.UnpicklingError):
        receive_arrays(ours, [99, 1], 99)
    theirs.send_bytes(b"odd")
    theirs.send_bytes(pickle.dumps((True, 1)))
    with pytest.raises(pickle.UnpicklingError):
        receive(ours, 99)
    theirs._send(b"cut")  # type: ignore[attr-defined]
    theirs.close()
    with pytest.raises(EOFError):
        receive_arrays(ours, [4], 99)


@pytest.mark.attack("recordings", "a decoder's answer that is none", "refused")
@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"garbage", pickle.dumps(1), pickle.dumps((False, "no error")), pickle.dumps((2, 3))]
    + [pickle.dumps((True, other)) for other in (os.getcwd, eval, Numbers(1), Path("/"), os.path.join, type)],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        unpickle(data)
