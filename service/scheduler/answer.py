"""Transfer of a call's result or error from a worker process to the service, as a pickle.

The worker is not trusted: the unpickler builds only arrays, dataclasses and errors. Large arrays follow the pickle and
are read directly into their memory, because copying a hundred megabytes would block all other requests.
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

LARGE, MOST_ARRAYS = 2**20, 64  # bytes from which an array is sent apart from the pickle, and how many may be
SIZE = struct.Struct("<Q")


def send(line: Connection, result: tuple[bool, Any]) -> None:
    """Send a result: the sizes of its large arrays, the pickle without them, and the bytes of these arrays."""
    large: list[memoryview] = []

    def kept(buffer: pickle.PickleBuffer) -> bool:
        """Return whether this buffer stays in the pickle."""
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


class ResultUnpickler(pickle.Unpickler):
    """Unpickler of a worker's result: loads arrays, and dataclasses and exceptions already imported, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the class of that name. Raises UnpicklingError for a class that a result may not contain."""
        found = getattr(sys.modules.get(module), name, None)
        record = isinstance(found, type) and (is_dataclass(found) or issubclass(found, Exception))
        if record or (module, name) in ARRAYS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


def receive(connection: Connection, limit: int) -> tuple[bool, Any]:
    """Receive a call's result: (True, return value) or (False, exception). At most `limit` bytes each.

    Raises EOFError or OSError if the connection ends early, UnpicklingError for anything but a valid result.
    """
    sizes = connection.recv_bytes(MOST_ARRAYS * SIZE.size)
    head = connection.recv_bytes(limit)
    if len(sizes) % SIZE.size:
        raise pickle.UnpicklingError("this is no answer")
    return unpickle(head, receive_arrays(connection, [size for (size,) in SIZE.iter_unpack(sizes)], limit))


def receive_arrays(connection: Connection, sizes: list[int], limit: int) -> list[memoryview]:
    """Receive arrays of these sizes (bytes). Raises EOFError, and UnpicklingError for more than `limit` bytes."""
    if sum(sizes) > limit:
        raise pickle.UnpicklingError("this is no answer")
    arrays = [np.empty(size, np.uint8).data for size in sizes]
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        for array in arrays:
            if line.recv_into(array, 0, socket.MSG_WAITALL) < len(array):
                raise EOFError
    return arrays


def unpickle(data: bytes, arrays: list[memoryview] | None = None) -> tuple[bool, Any]:
    """Unpickle a result: (True, return value) or (False, exception). Raises UnpicklingError for anything else."""
    try:
        match ResultUnpickler(BytesIO(data), buffers=arrays).load():
            case (True, result):
                return True, result
            case (False, Exception() as error):
                return False, error
    except Exception as error:  # damaged pickles raise anything
        raise pickle.UnpicklingError("this is no answer") from error
    raise pickle.UnpicklingError("this is no answer")
