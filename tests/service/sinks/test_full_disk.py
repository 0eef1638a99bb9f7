"""A disk that is full for a while: what is posted meanwhile stays in memory, and all goes on when there is room."""

import json
import logging
import resource
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from spikesight.service.sinks.delivery import Deliveries, Delivery, open_deliveries, open_delivery
from spikesight.service.sinks.disk_queue import FOLDER, DiskQueue
from spikesight.service.sinks.messages import Message, SinkLost
from spikesight.service.sinks.sink import JsonLinesFile
from spikesight.service.sinks.webhook import SECRET
from tests.support.processes import in_fresh_process
from tests.support.waiting import until


class Taking:
    """A sink that keeps numbers; `before` is called with each before it is taken."""

    def __init__(self, before: Callable[[int], object] = lambda _: None) -> None:
        self.came: list[int] = []
        self._before = before

    def send(self, message: Message) -> None:
        number = json.loads(message.body)["n"]
        self._before(number)
        self.came.append(number)

    def close(self) -> None:
        pass


def limit(size: int) -> None:
    """No file of this process can grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def free() -> None:
    limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1])


def full_while_posting(path: Path) -> None:
    sink, said = Taking(), StringIO()
    logging.getLogger("spikesight").addHandler(logging.StreamHandler(said))
    delivery = Delivery("taking", sink, DiskQueue(path), (0.01,))
    limit(1)
    for n in range(51):
        delivery.post({"n": n})
    until(lambda: "the disk does not take them" in said.getvalue())
    free()
    until(lambda: len(sink.came) == 51)
    delivery.close()
    print(sink.came == list(range(51)), delivery.n_dropped, len(DiskQueue(path)))


def full_while_sending(path: Path) -> None:
    sink = Taking(lambda number: limit(1) if number == 20 else None)
    queue = DiskQueue(path)
    queue.put([Message(str(n), json.dumps({"n": n}).encode()) for n in range(51)])
    delivery = Delivery("taking", sink, queue, (0.01,))
    until(lambda: len(sink.came) == 51 and delivery.n_waiting == 0, "though none can be deleted")
    free()
    delivery.post({"n": 50})
    delivery.close()
    print(sink.came == [*range(51), 50], len(DiskQueue(path)))


def full_at_the_end(path: Path) -> None:
    delivery = Delivery("taking", Taking(), DiskQueue(path), (3600.0,))
    limit(1)
    for n in range(7):
        delivery.post({"n": n})
    delivery.close()
    free()
    print(delivery.n_dropped, len(DiskQueue(path)))


def half_a_line(path: Path) -> None:
    lines = JsonLinesFile(f"file:{path}")
    lines.send(Message("a", b"first"))
    limit(10)
    try:
        lines.send(Message("b", b"second"))
    except SinkLost as error:
        print(error, end=" ")
    free()
    lines.send(Message("b", b"second"))
    print(path.read_text().split())


CASES = (full_while_posting, full_while_sending, full_at_the_end, half_a_line)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each case prints, in a process with a limit of its own."""
    folder = tmp_path_factory.mktemp("full")
    calls = [f"cases.{case.__name__}(Path({str(folder / case.__name__)!r}))" for case in CASES]
    code = f"from pathlib import Path; from tests.service.sinks import test_full_disk as cases; {'; '.join(calls)}"
    return dict(zip((case.__name__ for case in CASES), in_fresh_process(code).splitlines(), strict=True))


@pytest.mark.attack("sinks", "a disk that is full for a while", "messages wait in memory; each comes, once")
def test_a_disk_that_is_full_for_a_while_loses_nothing(said: dict[str, str]) -> None:
    assert said["full_while_posting"] == "True 0 0"
    assert said["full_while_sending"] == "True 0", "sent once, though not deleted at once"


def test_what_a_full_disk_has_not_taken_at_the_end_is_counted(said: dict[str, str]) -> None:
    assert said["full_at_the_end"] == "7 0"


@pytest.mark.attack("sinks", "a disk that is full within a line of JSON", "the line is taken back, and whole later")
def test_a_line_is_written_whole_or_not_at_all(said: dict[str, str]) -> None:
    assert said["half_a_line"] == "no space left on device ['first', 'second']"


@pytest.mark.attack("sinks", "secrets in paths and queries of webhooks", "logs and metrics hold the host alone")
def test_metrics_and_logs_know_the_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(SECRET, "a secret of many characters")
    deliveries = Deliveries()
    hooks = ["https://host.invalid/s3cret/path@x?key=s3cret", "https://host.invalid/s3cret2"]
    addresses = [*hooks, f"file:{tmp_path}/seen.jsonl"]
    deliveries.start(open_deliveries(addresses))
    deliveries.post({"n": 1})
    until(lambda: "predictions to https://host.invalid wait" in caplog.text)
    until((tmp_path / "seen.jsonl").read_text)
    deliveries.close()
    samples = [sample for family in deliveries.collect() for sample in family.samples]
    labels = [sample.labels["sink"] for sample in samples]
    assert len(labels) == 3 * len(set(labels)), "a series a sink"
    for name, counts in (("sent_total", [0, 0, 1]), ("waiting", [0, 1, 1])):
        assert sorted(one.value for one in samples if one.name == f"spikesight_sink_{name}") == counts
    assert "s3cret" not in caplog.text + str(labels)
    assert str(tmp_path) not in caplog.text + str(labels)


def test_an_unfit_address_among_good_ones_leaves_no_queue_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    good = f"file:{tmp_path}/seen.jsonl"
    with pytest.raises(ValueError, match="no place to send to"):
        open_deliveries([good, "nowhere:"])
    open_delivery(good).close()


def test_an_address_given_twice_is_one_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    (only,) = open_deliveries([f"file:{tmp_path}/seen.jsonl"] * 2)
    only.close()
