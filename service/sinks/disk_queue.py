"""Messages on disk, oldest first, in one SQLite file: they outlive both the receiver's restarts and ours."""

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Lock

from spikesight.service.sinks.messages import Message, SinkError

MOST = 100_000  # messages of one queue: some 30 MB; beyond that the oldest go
SET_UP = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, body BLOB)",
)
FOLDER = "SPIKESIGHT_QUEUES"  # where the queues lie; without it the user's folder of state


def queue_path(address: str) -> Path:
    """The file of an address' queue."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "spikesight"
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(os.environ.get(FOLDER) or state) / f"{name}.sqlite3"


class DiskQueue:
    """For one process at a time, and any of its threads. Raises SinkError where another has it, or no file can be made.

    What is put is safe from the end of this process; the write-ahead log is not flushed for every message, so that a
    loss of power may cost the last ones.
    """

    def __init__(self, path: Path, most: int = MOST) -> None:
        self._most, self._lock = most, Lock()
        self._done = 0  # messages up to this number are done, also where the disk failed to record it
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with ExitStack() as opened:
                connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
                self._file = opened.enter_context(closing(connection))
                for line in SET_UP:
                    self._file.execute(line)
                self._n = self._file.execute("SELECT count(*) FROM messages").fetchone()[0]
                opened.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise SinkError(_fault(path, error)) from None

    def __len__(self) -> int:
        return self._n

    def put(self, messages: Sequence[Message]) -> int:
        """Behind those that wait; how many of the oldest had to go. Raises sqlite3.Error where the disk is full."""
        with self._lock:
            over, last = max(0, self._n + len(messages) - self._most), self._done
            with self._file:
                self._file.execute("BEGIN")
                self._file.executemany("INSERT INTO messages (id, body) VALUES (?, ?)", messages)
                if over:
                    oldest = "SELECT number FROM messages WHERE number > ? ORDER BY number LIMIT 1 OFFSET ?"
                    (last,) = self._file.execute(oldest, (last, over - 1)).fetchone()
                self._forget(last)
            self._n, self._done = self._n + len(messages) - over, last  # only now are they on disk
            return over

    def first(self, n: int) -> list[tuple[int, Message]]:
        """The n oldest, each with the number that `done` wants. Raises sqlite3.Error where the disk does not answer."""
        wanted = "SELECT number, id, body FROM messages WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock:
            rows = self._file.execute(wanted, (self._done, n)).fetchall()
        return [(number, Message(identity, body)) for number, identity, body in rows]

    def done(self, number: int) -> None:
        """This one, the oldest, is delivered, or never will be: `first` gives it no more.

        Raises sqlite3.Error where the disk is full: it is deleted with the next, or comes again after a restart.
        """
        with self._lock:
            if number > self._done:
                self._done, self._n = number, self._n - 1
            self._forget(self._done)

    def _forget(self, last: int) -> None:
        """Delete up to this number; also what could not be deleted before."""
        self._file.execute("DELETE FROM messages WHERE number <= ?", (last,))

    def close(self) -> None:
        with self._lock:
            self._file.close()


def _fault(path: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"another Spikesight sends from the queue {path}: give this one a folder of its own with {FOLDER}"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"the queue {path} is damaged: move it away"
    return f"the queue {path} cannot be written ({error}): name a folder with {FOLDER}"
