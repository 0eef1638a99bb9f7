"""Queue of messages in one SQLite file, oldest first: it survives restarts of the receiver and of the service."""

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Lock

from spikesight.service.sinks.messages import Message, SinkError

MOST = 100_000  # messages of one queue, about 30 MB; beyond that the oldest are dropped
SET_UP = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, body BLOB)",
)
FOLDER = "SPIKESIGHT_QUEUES"  # environment variable: folder of the queues; default: the user's state folder


def queue_path(address: str) -> Path:
    """Return the path of the queue file for a sink's address."""
    name = f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.sqlite3"
    if folder := os.environ.get(FOLDER):
        return Path(folder) / name
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "spikesight" / name


class DiskQueue:
    """A queue for one process at a time and any of its threads. Raises SinkError if it is in use or cannot be written.

    A message survives the end of this process; but as the write-ahead log is not flushed for every message, a loss of
    power may lose the last ones.
    """

    def __init__(self, path: Path, most: int = MOST) -> None:
        self._most, self._lock = most, Lock()
        self._done = 0  # messages up to this number are done, even if the disk failed to record it
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
        """Append messages; return how many of the oldest were dropped. Raises sqlite3.Error if the disk is full."""
        with self._lock:
            over, last = max(0, self._n + len(messages) - self._most), self._done
            with self._file:
                self._file.execute("BEGIN")
                self._file.executemany("INSERT INTO messages (id, body) VALUES (?, ?)", messages)
                if over:
                    oldest = "SELECT number FROM messages WHERE number > ? ORDER BY number LIMIT 1 OFFSET ?"
                    (last,) = self._file.execute(oldest, (last, over - 1)).fetchone()
                self._forget(last)
            self._n, self._done = self._n + len(messages) - over, last  # after the commit
            return over

    def first(self, n: int) -> list[tuple[int, Message]]:
        """Return the n oldest messages, each with its number for `done`. Raises sqlite3.Error if the disk fails."""
        wanted = "SELECT number, id, body FROM messages WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock:
            rows = self._file.execute(wanted, (self._done, n)).fetchall()
        return [(number, Message(identity, body)) for number, identity, body in rows]

    def done(self, number: int) -> None:
        """Remove the oldest message, of this number: it was delivered or is dropped, and `first` skips it from now on.

        Raises sqlite3.Error if the disk is full: then it is deleted with the next one, or sent again after a restart.
        """
        with self._lock:
            if number > self._done:
                self._done, self._n = number, self._n - 1
            self._forget(self._done)

    def _forget(self, last: int) -> None:
        """Delete all messages up to this number."""
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
