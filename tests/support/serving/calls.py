"""What tests call in processes for strangers' files: here, where those processes have imported it."""

import mmap
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.events import EVENTS, SensorSize
from spikesight.encoders.sample import Sample


def endless(*_: object) -> None:
    """Never returns."""
    while True:
        signal.pause()


def doubled(n: int) -> int:
    return 2 * n


def failing(*_: object) -> None:
    raise LookupError("nothing there")


def mapped(size: int) -> int:
    """Address space alone: no page is touched."""
    with mmap.mmap(-1, size) as memory:
        return len(memory)


def killed(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


def littered() -> None:
    Path(tempfile.mkdtemp(), "left").touch()
    os._exit(0)


def marked() -> None:
    """In the folder of its process, where it stays until that ends."""
    Path(tempfile.gettempdir()).with_name("begun").touch()


def slowly() -> int:
    """Until somebody takes away the file that says it has begun."""
    begun = Path(tempfile.gettempdir(), "begun")
    begun.touch()
    while begun.exists():
        os.sched_yield()
    return 5


def dribbling() -> None:
    """Begin an answer and never end it, as a decoder that was taken over may, which also undoes its own alarm."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in range(3, 64):
        try:
            line = socket.socket(fileno=number)
            line.sendall(b"\0\0\0\x08")
        except OSError:
            continue
    endless()


def noisy() -> bool:
    os.write(1, b"said by a library\n")
    os.write(2, b"said by a library\n")
    return True


def sample(n: int) -> Sample:
    return Sample(np.arange(n, dtype=np.uint8), np.full(n, 7, EVENTS), SensorSize(3, 4), ("odd",))


class Forged:
    """What a process whose decoder was taken over might answer: reading it would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as a library would
        return file.read(1 << 16)


def written(path: str) -> int:
    return Path(path).write_bytes(b"x")


def linked(path: str) -> None:
    Path(tempfile.gettempdir(), "link").symlink_to(path)
    read(str(Path(tempfile.gettempdir(), "link")))


def connected(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 10).close()


def signalled(pid: int) -> None:
    os.kill(pid, 0)


def variables() -> dict[str, str]:
    return dict(os.environ)


def kept(n: int) -> list[str]:
    """Use the folder in every way that readers do; what is there afterwards."""
    own = Path(tempfile.gettempdir())
    (own / "folder").mkdir()
    (own / "folder" / "file").write_bytes(bytes(n))
    (own / "folder" / "file").replace(own / "folder" / "other")
    with (own / "folder" / "other").open("r+b") as file:
        file.truncate(n // 2)
    assert len((own / "folder" / "other").read_bytes()) == n // 2
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    return sorted(path.name for path in own.rglob("*"))
