"""Read the messages of an older ROS 2 bag, a SQLite file with the tables `topics` and `messages`.

The file may be hostile, and a schema can make SQLite do a lot. So the file is opened read-only and without its journal;
both must be plain tables; only they are read, no function is called and nothing is attached.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.recordings.bags.messages import Topic
from spikesight.encoders.recordings.format import NoEventsKnown, RecordingError, shown

if TYPE_CHECKING:
    import sqlite3

READ = {"sqlite_master", "topics", "messages", "message_definitions"}
STEPS = 1000  # SQLite instructions between two checks of progress
STEPS_A_BYTE = 4  # limit of instructions per byte of the file: a row takes about 10, and 8 bytes or more
SETTINGS = ("trusted_schema=0", "query_only=1", "cell_size_check=1", "mmap_size=0", "temp_store=2", "writable_schema=1")
"""Pragmas; the last lets a truncated file be read as far as it goes, although nothing is written."""


def messages(path: Path, wanted: Callable[[Topic], bool], notes: list[str]) -> Iterator[tuple[Topic, bytes]]:
    """Yield messages of the wanted topics. Raises RecordingError for a SQLite file that is not a bag."""
    import sqlite3

    journal = path.with_name(f"{path.name}-wal")
    if journal.is_file() and journal.stat().st_size:
        notes.append(f"{journal.name} is not read: `sqlite3 {path.name} 'PRAGMA wal_checkpoint'` adds it to the bag")
    with closing(_opened(path)) as base:
        try:
            plain = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
            tables = {name for (name,) in base.execute(plain)}
            if not {"topics", "messages"} <= tables:
                raise NoEventsKnown(
                    "; ".join(["it is a SQLite file but no ROS 2 bag: it lacks topics and messages", *notes])
                )
            topics = _topics(base, "message_definitions" in tables)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise RecordingError(f"its tables cannot be read ({shown(error)})") from error
        chosen = {number: topic for number, topic in topics.items() if wanted(topic)}
        numbers = ",".join(map(str, chosen))
        left = path.stat().st_size
        try:
            rows = base.execute(f"SELECT topic_id, data FROM messages NOT INDEXED WHERE topic_id IN ({numbers})")
            for number, data in rows:
                left -= len(data) if isinstance(data, bytes) else 8
                if left < 0:
                    notes.append("its messages are longer than the file; what follows is lost")
                    return
                if isinstance(data, bytes):
                    yield chosen[number], data
        except sqlite3.Error as error:
            notes.append(f"it is damaged or cut short; what follows is lost ({shown(error)})")


def _topics(base: "sqlite3.Connection", defined: bool) -> dict[int, Topic]:
    """Return topics by number, with the definitions of their messages if the bag has them."""
    texts: dict[str, str] = {}
    if defined:
        texts = dict(
            base.execute(
                "SELECT topic_type, encoded_message_definition FROM message_definitions WHERE encoding = 'ros2msg'"
            )
        )
    found = {}
    for number, name, kind, form in base.execute("SELECT id, name, type, serialization_format FROM topics"):
        if isinstance(number, int) and form == "cdr":
            found[number] = Topic(str(name), str(kind).replace("/msg/", "/"), str(texts.get(kind, "")), cdr=True)
    return found


def _opened(path: Path) -> "sqlite3.Connection":
    import sqlite3

    base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    for setting in SETTINGS:
        base.execute(f"PRAGMA {setting}")
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_PACKET)
    base.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    base.set_authorizer(_allowed)
    steps, most = itertools.count(), path.stat().st_size * STEPS_A_BYTE // STEPS + 1000
    base.set_progress_handler(lambda: next(steps) > most, STEPS)
    return base


def _allowed(action: int, first: str | None, *_: str | None) -> int:
    import sqlite3

    read = action == sqlite3.SQLITE_SELECT or (action == sqlite3.SQLITE_READ and first in READ)
    return sqlite3.SQLITE_OK if read else sqlite3.SQLITE_DENY
