"""Bags of robots in every container and encoding; what a container may reach: its own bytes, wherever it points."""

import io
import pickle
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings import bags, hdf5
from spikesight.encoders.recordings.files import RecordingReader, digest, packets, read_recording, write_recording
from spikesight.encoders.recordings.format import RecordingError
from spikesight.service.decoding.decode import decode
from spikesight.service.http.errors import ServiceError
from tests.support.inputs.bags import Of, bag
from tests.support.inputs.formats import written
from tests.support.inputs.samples import DAVIS, at, random_events, some_events
from tests.support.refusals import refusal

KINDS = ("bag", "db3", "mcap")
every_kind = pytest.mark.parametrize("kind", KINDS)
EVENTS = random_events(600, DAVIS)
PARTS = [EVENTS[:250], EVENTS[250:251], EVENTS[251:]]
EPOCH_US = 1_700_000_000_000_000


def moved(parts: list[Events], us: int) -> list[Events]:
    """The same events later."""
    found = [part.copy() for part in parts]
    for part in found:
        part["t"] += us
    return found


@every_kind
@pytest.mark.parametrize("encoding", ["evt3", "libcaer", "libcaer_cmp", "mono", ""])
def test_every_encoding_is_read_from_every_container(kind: str, encoding: str, tmp_path: Path) -> None:
    later = 0 if encoding == "evt3" else EPOCH_US
    of = Of(moved(PARTS, later), encoding, base=later * 1000 if encoding else 0)
    path = bag(tmp_path / f"a.{kind}", {"/camera/info": Of(texts=3), "/camera/events": of})
    recording = read_recording(path)
    assert np.array_equal(recording.events, np.concatenate(moved(PARTS, later)))
    assert (recording.size, recording.format, recording.warnings) == (DAVIS, kind, ())
    assert np.array_equal(np.concatenate(list(packets(path, 7_000))), recording.events)
    assert np.array_equal(decode(path.read_bytes(), "upload").events, recording.events)  # type: ignore[arg-type]


def test_a_clock_of_31_bits_begins_anew_within_a_packet(tmp_path: Path) -> None:
    events = at((1 << 31) - 2, (1 << 31) - 1, 1 << 31, (1 << 31) + 5)
    path = bag(tmp_path / "a.bag", {"/events": Of([events], "libcaer")})
    assert np.array_equal(read_recording(path).events, events)


def mcap(path: Path, pack: str, change: Callable[[bytes], list[bytes]] = lambda data: [data]) -> Path:
    """The messages of our own MCAP, or others in place of each, written anew by the library with another codec."""
    from mcap import reader, writer

    source = io.BytesIO(written(path.parent, "mcap")[0].read_bytes())
    with path.open("wb") as file:
        out = writer.Writer(file, 1000, compression=writer.CompressionType[pack.upper()])
        out.start()
        for schema, _, message in reader.make_reader(source).iter_messages():
            assert schema is not None
            number = out.register_channel("/events", "cdr", out.register_schema(schema.name, "ros2idl", b"struct {};"))
            for row in change(message.data):
                out.add_message(number, message.log_time, row, message.log_time)
        out.finish()
    return path


@pytest.mark.parametrize("pack", ["none", "lz4", "zstd"])
def test_packed_mcap(pack: str, tmp_path: Path) -> None:
    path = mcap(tmp_path / "a.mcap", pack)
    assert np.array_equal(read_recording(path).events, read_recording(tmp_path / "recording.mcap").events)
    if pack != "none":
        packed = path.read_bytes().replace(b"\x04\0\0\0zstd", b"\x04\0\0\0own!")
        path.write_bytes(packed.replace(b"\3\0\0\0lz4", b"\3\0\0\0own"))
        refusal(lambda: read_recording(path), "it is packed with 'own", RecordingError)


@every_kind
def test_one_of_several_topics(kind: str, tmp_path: Path) -> None:
    left, right = Of([EVENTS[:300]]), Of([EVENTS[300:]], "mono")
    path = bag(tmp_path / f"a.{kind}", {"/left/events": left, "/right/events": right, "/text": Of(texts=2)})
    recording = read_recording(path)
    assert np.array_equal(recording.events, EVENTS[:300])
    assert recording.warnings == (f"it holds events of /right/events too: read them as {path.name}#/right/events",)
    named = Path(f"{path}#/right/events")
    assert np.array_equal(read_recording(named).events, EVENTS[300:])
    assert RecordingReader(named).warnings() == ()
    assert digest(named) != digest(path)
    with pytest.raises(RecordingError, match="holds no events of /up, but of /left/events, /right/events"):
        read_recording(f"{path}#/up")


@every_kind
@pytest.mark.parametrize(
    ("of", "words"),
    [
        (Of(texts=2), r"no messages with events \(event_camera_msgs.*, but /x \(std_msgs/String\)"),
        (Of(PARTS, "trigger"), "coded as 'trigger', which is not known here"),
        (Of(PARTS, big=True), "big-endian"),
    ],
    ids=["no events", "another encoding", "big-endian"],
)
def test_what_is_not_read_gets_one_sentence(kind: str, of: Of, words: str, tmp_path: Path) -> None:
    path = bag(tmp_path / f"a.{kind}", {"/x": of})
    with pytest.raises(RecordingError, match=words) as caught:
        read_recording(path)
    assert str(caught.value).count("\n") == 0
    with pytest.raises(ServiceError, match="no events, or writes them") as refused:
        decode(path.read_bytes(), "upload")
    assert refused.value.status == 415


@every_kind
def test_a_bag_that_is_cut_short_gives_what_is_left(kind: str, tmp_path: Path) -> None:
    """Without its index, as where a recording was broken off."""
    path = tmp_path / f"a.{kind}"
    parts = [EVENTS[k : k + 1].repeat(500) for k in range(0, 600, 3)]
    mcap(path, "lz4") if kind == "mcap" else bag(path, {"/events": Of(parts, "mono")})
    data, whole = path.read_bytes(), read_recording(path).events
    for share in (0.6, 0.4, 0.2):
        path.write_bytes(data[: int(len(data) * share)])
        recording = read_recording(path)
        n = len(recording.events)
        assert 0 < n < len(whole)
        assert np.array_equal(recording.events, whole[:n])
        assert sum("cut short" in warning for warning in recording.warnings) == 1
        assert n > (share - 0.25) * len(whole)


def test_messages_that_make_no_sense_are_counted(tmp_path: Path) -> None:
    broken: list[Callable[[bytes], bytes]] = [lambda data: data[:-1], lambda data: data[:30], lambda _: b"\0\1\0\0"]
    path = mcap(tmp_path / "a.mcap", "none", lambda data: [data, *(cut(data) for cut in broken)])
    recording, whole = read_recording(path), read_recording(tmp_path / "recording.mcap")
    n = 40
    assert np.array_equal(recording.events, whole.events)
    assert recording.warnings == (f"{3 * n} messages that make no sense were left out",)


def test_a_chunk_unpacks_to_what_it_claims() -> None:
    import bz2

    import lz4.frame
    import zstandard

    zeros = bytes(1 << 24)
    packs = {"bz2": bz2.compress, "lz4": lz4.frame.compress, "zstd": zstandard.compress}
    for codec, pack in packs.items():
        notes: list[str] = []
        assert bags._chunk(codec, pack(zeros), 1000, notes).getvalue() == bytes(1000)
        assert bags._chunk(codec, pack(b"abc"), 3, notes).getvalue() == b"abc"
        assert notes == []
        bags._chunk(codec, pack(bytes(range(256)) * 9)[:-9], 2304, notes)
        bags._chunk(codec, b"no such thing", 9, notes)
        assert notes == ["a damaged chunk of messages was left out"]


def base(path: Path, *statements: str) -> Path:
    """A SQLite file."""
    made = sqlite3.connect(path)
    for statement in statements:
        made.execute(statement)
    made.commit()
    made.close()
    return path


TOPICS = "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)"
ONE = "INSERT INTO topics VALUES (1, '/events', 'event_camera_msgs/msg/EventPacket', 'cdr')"
NONE = "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)"
COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
ENDLESS = f"{COUNT} SELECT i AS id, 1 AS topic_id, x'00' AS data FROM n"


@pytest.mark.attack(
    "recordings",
    "SQLite bags whose tables are views, virtual, computed or endless, and that would attach other files",
    "400; two plain tables are read, no other file is opened",
)
@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (("CREATE TABLE a(b)",), "no ROS 2 bag"),
        ((TOPICS, ONE, f"CREATE VIEW messages AS {ENDLESS}"), "no ROS 2 bag"),
        ((TOPICS, ONE, "CREATE VIRTUAL TABLE messages USING fts5(topic_id, data)"), "no ROS 2 bag"),
        ((NONE, "CREATE VIEW topics AS SELECT 1 AS id, load_extension('x') AS name"), "no ROS 2 bag"),
        ((TOPICS, ONE, NONE), "holds no messages with events"),
        (
            (
                TOPICS,
                ONE,
                "CREATE TABLE messages(topic_id INTEGER, data BLOB GENERATED ALWAYS AS (zeroblob(200000000)))",
                "INSERT INTO messages(topic_id) VALUES (1)",
            ),
            "too big|longer than the file",
        ),
    ],
    ids=["no bag", "endless view", "virtual", "function", "empty", "computed"],
)
def test_a_sqlite_file_reaches_nothing_but_its_rows(statements: tuple[str, ...], words: str, tmp_path: Path) -> None:
    path = base(tmp_path / "a.db3", *statements)
    refusal(lambda: read_recording(path), words, RecordingError)
    assert list(tmp_path.iterdir()) == [path], "no journal, no lock"


@pytest.mark.attack(
    "recordings",
    "a SQLite bag whose pages lead to the same page again and again",
    "as many bytes as the file has, then a warning",
)
def test_a_sqlite_bag_is_not_read_for_longer_than_it_is(tmp_path: Path) -> None:
    path = bag(tmp_path / "a.db3", {"/events": Of([EVENTS, *[EVENTS[:40]] * 500], "mono")})
    made = sqlite3.connect(path)
    (size,) = made.execute("PRAGMA page_size").fetchone()
    (root,) = made.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
    made.close()
    data, page = bytearray(path.read_bytes()), (root - 1) * size
    assert data[page] == 5, "it leads to pages of rows"
    cells = struct.unpack_from(f">{int.from_bytes(data[page + 3 : page + 5], 'big')}H", data, page + 12)
    first = data[page + cells[0] : page + cells[0] + 4]  # of the first page, whose first row is long
    for cell in cells:
        data[page + cell : page + cell + 4] = first
    path.write_bytes(data)
    recording = read_recording(path)
    assert 8 * len(recording.events) <= len(data)
    assert any("longer than the file" in warning for warning in recording.warnings)


@pytest.mark.attack("recordings", "bags whose chunks hold chunks that hold chunks", "one level is unpacked")
def test_chunks_hold_no_chunks(tmp_path: Path) -> None:
    ros = b"op=\x05", b"compression=none", b"size=" + struct.pack("<I", 1 << 20)
    head = b"".join(struct.pack("<I", len(field)) + field for field in ros)
    data = ros_1 = b""
    for _ in range(2000):
        data = struct.pack("<BQQQQII", 6, 40 + len(data), 0, 0, len(data), 0, 0) + struct.pack("<Q", len(data)) + data
        ros_1 = struct.pack("<I", len(head)) + head + struct.pack("<I", len(ros_1)) + ros_1
    (tmp_path / "a.mcap").write_bytes(b"\x89MCAP0\r\n" + data)
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0\n" + ros_1)
    for name in ("a.mcap", "a.bag"):
        with pytest.raises(RecordingError, match="holds no messages with events"):
            read_recording(tmp_path / name)


FEW = some_events(200)
DTYPES = {"t": "<i8", "x": "<u2", "y": "<u2", "p": "u1"}
ROWS = np.stack([FEW[key].astype("<f8") for key in "txyp"], axis=1)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """Somebody else's recording on the same disk, as HDF5 and as raw numbers."""
    folder = tmp_path / "private"
    folder.mkdir()
    write_recording(folder / "other.h5", FEW, SensorSize(34, 34))
    with h5py.File(folder / "other.h5", "a") as file:
        file["table"] = ROWS
    for key, kind in DTYPES.items():
        (folder / key).write_bytes(FEW[key].astype(kind).tobytes())
    (folder / "table").write_bytes(ROWS.tobytes())
    return folder


def own_but(file: h5py.File, *others: str) -> h5py.Group:
    """The group of events; all its arrays but these lie in the file itself."""
    group = file.create_group("events")
    for key, kind in DTYPES.items():
        if key not in others:
            group[key] = FEW[key].astype(kind)
    return group


def raw(group: h5py.Group, key: str, kind: str, path: Path, shape: tuple[int, ...] = (200,)) -> None:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    group.create_dataset(key, shape, kind, external=[(str(path), 0, size)])


def virtual(group: h5py.Group, key: str, kind: str, path: Path, name: str, shape: tuple[int, ...] = (200,)) -> None:
    layout = h5py.VirtualLayout(shape, kind)
    layout[:] = h5py.VirtualSource(str(path), name, shape)
    group.create_virtual_dataset(key, layout)


def linked_group(file: h5py.File, private: Path) -> None:
    file["events"] = h5py.ExternalLink(str(private / "other.h5"), "/events")


def linked_arrays(file: h5py.File, private: Path) -> None:
    group = own_but(file, "x", "t")
    for key in "xt":
        group[key] = h5py.ExternalLink(str(private / "other.h5"), f"/events/{key}")


def softly_linked(file: h5py.File, private: Path) -> None:
    file["outside"] = h5py.ExternalLink(str(private / "other.h5"), "/")
    file["events"] = h5py.SoftLink("/outside/events")


ELSEWHERE: dict[str, Callable[[h5py.File, Path], object]] = {
    "bytes of any file": lambda file, _: raw(own_but(file, "x"), "x", "u1", Path("/proc/self/environ")),
    "one virtual from itself": lambda file, _: virtual(own_but(file, "x"), "x", "<u2", Path(), "events/y"),
    "raw table": lambda file, private: raw(file, "table", "<f8", private / "table", (200, 4)),
    "virtual table": lambda file, private: virtual(file, "table", "<f8", private / "other.h5", "table", (200, 4)),
    "raw offset": lambda file, private: own_but(file) and raw(file, "t_offset", "<i8", private / "t", (1,)),
    "linked group": linked_group,
    "linked arrays": linked_arrays,
    "softly linked": softly_linked,
    "texts": lambda file, private: own_but(file, "x").create_dataset(
        "x", data=[str(private)] * 200, dtype=h5py.string_dtype()
    ),
}


@pytest.mark.attack(
    "recordings",
    "HDF5 whose arrays lie elsewhere: in raw files, in other HDF5 files, behind links, behind references",
    "400; no byte of another file is read, whoever opens the recording",
)
@pytest.mark.parametrize("make", ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_files_are_not_read(make: Callable[[h5py.File, Path], object], private: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, private)
        file.attrs.update({"width": 34, "height": 34})
    with pytest.raises(RecordingError, match=r"in another file|holds no (plain numbers|arrays)"):
        read_recording(tmp_path / "a.h5")


@pytest.mark.attack("recordings", "HDF5 of tens of thousands of arrays", "400 after a bounded look")
@pytest.mark.parametrize(("many", "good"), [(4, True), (5, True), (6, False)])
def test_arrays_are_counted(many: int, good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 10)  # the group and its four arrays are five
    with h5py.File(tmp_path / "a.h5", "w") as file:
        own_but(file)
        for n in range(many):
            file[f"picture{n}"] = [n]
    if good:
        assert len(read_recording(tmp_path / "a.h5").events) == len(FEW)
    else:
        refusal(lambda: read_recording(tmp_path / "a.h5"), "more than 10 arrays", RecordingError)


@pytest.mark.parametrize(("free", "said"), [(True, "damaged"), (False, "more memory than there is")])
def test_no_room_is_told_from_damage(free: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 itself says of both that a filter failed."""
    write_recording(tmp_path / "a.h5", FEW, SensorSize(34, 34))

    failed = OSError("Can't synchronously read data (filter returned failure during read)")
    monkeypatch.setattr(h5py.Dataset, "__getitem__", Mock(side_effect=failed))
    if not free:
        monkeypatch.setattr(hdf5.np, "empty", Mock(side_effect=MemoryError))
    refusal(lambda: read_recording(tmp_path / "a.h5"), said, RecordingError)


class Touching:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.attack("recordings", "pickles in npy and npz", "400; nothing is unpickled")
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_nothing_is_unpickled(name: str, tmp_path: Path) -> None:
    made = np.array([Touching(tmp_path / "made")], object)
    if name == "a.npy":
        np.save(tmp_path / name, made, allow_pickle=True)
    else:
        np.savez(tmp_path / name, t=made, x=made, y=made, p=made)
    assert pickle.dumps(made[0]), "it is a pickle that could be read"
    with pytest.raises(RecordingError):
        read_recording(tmp_path / name)
    assert not (tmp_path / "made").exists()


@pytest.mark.attack(
    "recordings", "zip members called ../../t.npy, or that are links", "read where they are, never put on disk"
)
def test_names_in_a_zip_file_are_no_paths(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    write_recording(folder / "plain.npz", FEW, SensorSize(34, 34))
    with zipfile.ZipFile(folder / "plain.npz") as plain, zipfile.ZipFile(folder / "a.npz", "w") as made:
        for name in plain.namelist():
            member = zipfile.ZipInfo(f"../../{name}")
            member.external_attr = 0o120777 << 16  # a symbolic link
            made.writestr(member, plain.read(name))
    assert len(read_recording(folder / "a.npz").events) == len(FEW)
    assert {path.name for path in tmp_path.rglob("*")} == {"one", "two", "plain.npz", "a.npz"}
