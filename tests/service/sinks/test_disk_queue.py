"""The queue on disk: in order, bounded, and what is no queue is said in a sentence."""

import sys
from pathlib import Path

import pytest

from spikesight.service.sinks.disk_queue import FOLDER, DiskQueue, queue_path
from spikesight.service.sinks.messages import Message, SinkError


def messages(*ids: int) -> list[Message]:
    return [Message(str(n), b"{}") for n in ids]


@pytest.mark.attack("sinks", "a receiver that never comes back", "100,000 messages on disk, then the oldest go")
def test_the_oldest_give_way(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path / "a" / "q.sqlite3", most=10)
    assert queue.put(messages(*range(8))) == 0
    assert queue.put(messages(*range(8, 15))) == 5
    kept = queue.first(100)
    assert [message.id for _, message in kept] == [str(n) for n in range(5, 15)]
    queue.done(kept[0][0])
    queue.done(kept[0][0])
    assert len(queue) == 9
    queue.close()
    again = DiskQueue(tmp_path / "a" / "q.sqlite3", most=10)
    assert [message.id for _, message in again.first(2)] == ["6", "7"]
    again.close()


def test_what_counts_as_on_disk_is_there(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path / "q.sqlite3")
    counted: dict[str, int] = {}
    queue._file.set_trace_callback(lambda statement: counted.setdefault(statement, len(queue)))
    queue.put(messages(1, 2))
    assert counted["COMMIT"] == 0, "a process that is killed before loses them"
    assert len(queue) == 2
    queue.close()


def test_a_user_without_a_home_names_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert queue_path("file:a").parent == tmp_path


@pytest.mark.attack("sinks", "a queue that was damaged", "one sentence")
def test_a_file_that_is_no_queue(tmp_path: Path) -> None:
    path = tmp_path / "q.sqlite3"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(SinkError, match="is damaged: move it away") as refused:
        DiskQueue(path)
    held = Path("/proc/self/fd").iterdir() if sys.platform == "linux" else ()
    assert path not in [link.readlink() for link in held if link.is_symlink()], f"{refused.value}, and closed"
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"cannot be written .* SPIKESIGHT_QUEUES"):
        DiskQueue(tmp_path / "file" / "q.sqlite3")
