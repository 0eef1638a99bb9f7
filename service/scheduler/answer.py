"""What a call in another process answers: a result or an error, pickled.

It is a stranger's: only arrays, records and errors are built from it. Large arrays come beside the pickle, straight
into their place: while the interpreter copies a hundred megabytes, nobody is served.
"""

import os
import pickle
import socket
import struct
import sys
from dataclasses import is_dataclass
from io import BytesIO
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

LARGE, MOST_ARRAYS = 2**20, 64  # bytes of an array that comes by itself, and how many do
SIZE = struct.Struct("<Q")


def send(line: Connection, result: tuple[bool, Any]) -> None:
    """An answer: the sizes of the large arrays in it, all else, and these arrays' bytes."""
    large: list[memoryview] = []

    def kept(buffer: pickle.PickleBuffer) -> bool:
        """Whether it stays in the pickle."""
        bytes_of = buffer.raw()
        if len(bytes_of) < LARGE or len(large) == MOST_ARRAYS:
            return True
        large.append(bytes_of)
        return False

    head = pickle.dumps(result, 5, buffer_callback=kept)
    line.send_bytes(b"".join(SIZE.pack(len(array)) for array in large))
    line.send_bytes(head)
    with socket.socket(fileno=os.dup(line.fileno())) as out:
        for array in large:
            out.sendall(array)


ARRAYS = {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct")}
ARRAYS |= {("numpy._core.numeric", "_frombuffer"), ("numpy._core.multiarray", "scalar")}


class Answer(pickle.Unpickler):
    """What a fork answers. A name in it is an array's, or that of a loaded dataclass or exception, or is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name. Raises UnpicklingError."""
        found = getattr(sys.modules.get(module), name, None)
        record = isinstance(found, type) and (is_dataclass(found) or issubclass(found, Exception))
        if record or (module, name) in ARRAYS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


def received(connection: Connection, limit: int) -> tuple[bool, Any]:
    """The answer of a call: whether it went well, and its result or error.

    Raises EOFError and OSError where it ends before its time, UnpicklingError for anything but an answer.
    """
    sizes = connection.recv_bytes(MOST_ARRAYS * SIZE.size)
    head = connection.recv_bytes(limit)
    if len(sizes) % SIZE.size:
        raise pickle.UnpicklingError("this is no answer")
    return unpacked(head, arrays_from(connection, [size for (size,) in SIZE.iter_unpack(sizes)], limit))


def arrays_from(connection: Connection, sizes: list[int], limit: int) -> list[memoryview]:
    """The bytes of so many arrays. Raises EOFError, and UnpicklingError for more than `limit` bytes."""
    if sum(sizes) > limit:
        raise pickle.UnpicklingError("this is no answer")
    arrays = [np.empty(size, np.uint8).data for size in sizes]
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        for array in arrays:
            if line.recv_into(array, 0, socket.MSG_WAITALL) < len(array):
                raise EOFError
    return arrays


def unpacked(data: bytes, arrays: list[memoryview] | None = None) -> tuple[bool, Any]:
    """Whether a call went well, and its result or error. Raises UnpicklingError for anything but an answer."""
    try:
        match Answer(BytesIO(data), buffers=arrays).load():
            case (True, result):
                return True, result
            case (False, Exception() as error):
                return False, error
    except Exception as error:  # damaged pickles raise anything
        raise pickle.UnpicklingError("this is no answer") from error
    raise pickle.UnpicklingError("this is no answer")
