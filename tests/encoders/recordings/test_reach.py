"""What a container may reach: its own bytes. Every way in which a format can point elsewhere, tried."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings import hdf5
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import some_events

EVENTS = some_events(200)
KINDS = {"t": "<i8", "x": "<u2", "y": "<u2", "p": "u1"}
TABLE = np.stack([EVENTS[key].astype("<f8") for key in "txyp"], axis=1)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """Somebody else's recording on the same disk, as HDF5 and as raw numbers."""
    folder = tmp_path / "private"
    folder.mkdir()
    write_recording(folder / "other.h5", EVENTS, SensorSize(34, 34))
    with h5py.File(folder / "other.h5", "a") as file:
        file["table"] = TABLE
    for key, kind in KINDS.items():
        (folder / key).write_bytes(EVENTS[key].astype(kind).tobytes())
    (folder / "table").write_bytes(TABLE.tobytes())
    return folder


def own_but(file: h5py.File, *others: str) -> h5py.Group:
    """The group of events; all its arrays but these lie in the file itself."""
    group = file.create_group("events")
    for key, kind in KINDS.items():
        if key not in others:
            group[key] = EVENTS[key].astype(kind)
    return group


def raw(group: h5py.Group, key: str, kind: str, path: Path, shape: tuple[int, ...] = (200,)) -> None:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    group.create_dataset(key, shape, kind, external=[(str(path), 0, size)])


def virtual(group: h5py.Group, key: str, kind: str, path: Path, name: str, shape: tuple[int, ...] = (200,)) -> None:
    layout = h5py.VirtualLayout(shape, kind)
    layout[:] = h5py.VirtualSource(str(path), name, shape)
    group.create_virtual_dataset(key, layout)


def all_raw(file: h5py.File, private: Path) -> None:
    for key, kind in KINDS.items():
        raw(file.require_group("events"), key, kind, private / key)


def all_virtual(file: h5py.File, private: Path) -> None:
    for key, kind in KINDS.items():
        virtual(file.require_group("events"), key, kind, private / "other.h5", f"events/{key}")


def linked_group(file: h5py.File, private: Path) -> None:
    file["events"] = h5py.ExternalLink(str(private / "other.h5"), "/events")


def linked_arrays(file: h5py.File, private: Path) -> None:
    group = own_but(file, "x", "t")
    for key in "xt":
        group[key] = h5py.ExternalLink(str(private / "other.h5"), f"/events/{key}")


def softly_linked(file: h5py.File, private: Path) -> None:
    file["outside"] = h5py.ExternalLink(str(private / "other.h5"), "/")
    file["events"] = h5py.SoftLink("/outside/events")


def references(file: h5py.File, private: Path) -> None:
    linked_group(file, private)
    del file["events"]
    group = own_but(file, "x")
    group["own"] = EVENTS["x"]
    made = group.create_dataset("x", (200,), h5py.regionref_dtype)
    made[0] = group["own"].regionref[:10]


ELSEWHERE: dict[str, Callable[[h5py.File, Path], object]] = {
    "all raw": all_raw,
    "one raw": lambda file, private: raw(own_but(file, "p"), "p", "u1", private / "p"),
    "bytes of any file": lambda file, _: raw(own_but(file, "x"), "x", "u1", Path("/proc/self/environ")),
    "all virtual": all_virtual,
    "one virtual from itself": lambda file, _: virtual(own_but(file, "x"), "x", "<u2", Path(), "events/y"),
    "raw table": lambda file, private: raw(file, "table", "<f8", private / "table", (200, 4)),
    "virtual table": lambda file, private: virtual(file, "table", "<f8", private / "other.h5", "table", (200, 4)),
    "raw offset": lambda file, private: own_but(file) and raw(file, "t_offset", "<i8", private / "t", (1,)),
    "linked group": linked_group,
    "linked arrays": linked_arrays,
    "softly linked": softly_linked,
    "references": references,
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
def test_what_lies_in_other_files_is_not_read(
    make: Callable[[h5py.File, Path], object], private: Path, tmp_path: Path
) -> None:
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
        assert len(read_recording(tmp_path / "a.h5").events) == len(EVENTS)
    else:
        with pytest.raises(RecordingError, match="more than 10 arrays"):
            read_recording(tmp_path / "a.h5")


@pytest.mark.parametrize(("free", "said"), [(True, "damaged"), (False, "more memory than there is")])
def test_no_room_to_unpack_in_is_told_from_damage(
    free: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 itself says of both that a filter failed."""
    write_recording(tmp_path / "a.h5", EVENTS, SensorSize(34, 34))

    def read(*_: object) -> None:
        raise OSError("Can't synchronously read data (filter returned failure during read)")

    def taken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    if not free:
        monkeypatch.setattr(hdf5.np, "empty", taken)
    with pytest.raises(RecordingError, match=said):
        read_recording(tmp_path / "a.h5")


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
    write_recording(folder / "plain.npz", EVENTS, SensorSize(34, 34))
    with zipfile.ZipFile(folder / "plain.npz") as plain, zipfile.ZipFile(folder / "a.npz", "w") as made:
        for name in plain.namelist():
            member = zipfile.ZipInfo(f"../../{name}")
            member.external_attr = 0o120777 << 16  # a symbolic link
            made.writestr(member, plain.read(name))
    assert len(read_recording(folder / "a.npz").events) == len(EVENTS)
    assert {path.name for path in tmp_path.rglob("*")} == {"one", "two", "plain.npz", "a.npz"}
