"""Tonic's data sets by name, and any data set like them: indexable, with samples (events, label) and a `sensor_size`.

A sample is one recording: its window begins with the first event. Tonic (GPL-3.0) is imported when a set is named.
"""

import ast
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.binning import CEILINGS
from spikesight.encoders.events import Events, SensorSize, as_events, make_events, sanitise
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.words import counted
from spikesight.training.config import TrainConfig
from spikesight.training.data.sets import DataError, Item, Listing, MissingDataError, Read, WindowShape
from spikesight.training.data.windows import LONGEST_CLIP_US, clip_window

WINDOWS = {
    "NMNIST": WindowShape(10, 31_000, 34, 34, 1000),
    "DVSGesture": WindowShape(16, 100_000, 64, 64),
    "CIFAR10DVS": WindowShape(10, 130_000, 48, 48),
    "NCALTECH101": WindowShape(10, 31_000, 60, 80),
    "ASLDVS": WindowShape(10, 15_000, 45, 60),
}
"""Windows of the sets with a name of their own, by Tonic's classes; of others the recordings' length tells them."""
NAMED = {kind.lower(): kind for kind in WINDOWS}
SIZES = {"NCALTECH101": (240, 180)}  # whose recordings differ in size, and are all within this one
MEASURED = 100  # recordings whose length tells a window
MISSING = "needs Tonic: pip install 'spikesight[datasets]', then pip install --no-deps tonic"


def kind_of(data: str) -> str:
    """Return the name of Tonic's class that the setting `data` asks for; empty if it asks for none.

    >>> kind_of("dvsgesture"), kind_of("tonic:POKERDVS"), kind_of("mnist")
    ('DVSGesture', 'POKERDVS', '')
    """
    return data.removeprefix("tonic:") if data.startswith("tonic:") else NAMED.get(data, "")


def list_named(config: TrainConfig) -> Listing:
    """List the set of Tonic's that `config.data` names, below `config.root`, downloaded if it is not there.

    `config.transform` names Tonic's transforms. Raises DataError.
    """
    kind = kind_of(config.data)
    cls, root = _class_of(kind, config.data), Path(config.root)
    parts = [{"train": True}, {"train": False}] if "train" in inspect.signature(cls).parameters else [{}]
    found = [_opened(cls, root, **part) for part in parts]
    for dataset in found if config.transform else ():
        dataset.transform = _transforms(config.transform, cls.sensor_size or (*SIZES[kind], 2))
    listing = _list(config.data, found, config, config.transform or "", WINDOWS.get(kind))
    few = [counted(len(dataset), "recording") for dataset in found if not cls._check_exists(dataset)]
    note = (f"WARNING: there is only a part of {kind}: {' and '.join(few)}",) if few else ()
    return replace(listing, notes=(*listing.notes, *note))


def list_given(train: Any, test: Any | None, config: TrainConfig) -> Listing:
    """List a data set as Tonic's are, or one that wraps such. Every sample is read once, for its label and its digest.

    Raises DataError.
    """
    found = [train] if test is None else [train, test]
    return replace(_list(config.data, found, config), own=True)


def _class_of(kind: str, data: str) -> Any:
    """Return Tonic's class. Raises DataError if there is none, or none of recordings with a class each."""
    try:
        import tonic.datasets as sets
    except ImportError:
        raise MissingDataError(f"--data {data} {MISSING}") from None
    known = {name.lower(): name for name in sets.__all__}
    cls = getattr(sets, known.get(kind.lower(), ""), None)
    if cls is None:
        raise DataError(f"Tonic has no data set {kind!r}; it has {', '.join(sets.__all__)}")
    if not (hasattr(cls, "classes") or kind in SIZES) or "y" not in cls.ordering:
        raise DataError(f"Tonic's {kind} does not hold recordings of an event camera with a class each")
    return cls


def _opened(cls: Any, root: Path, **part: bool) -> Any:
    """Return a part of a set from the folder that holds it, fetched by Tonic if there is none. Raises DataError."""
    if (found := _found(cls, root, part)) is not None:
        return found
    error, new = None, [folder for folder in (root / cls.__name__, root) if not folder.exists()]
    try:
        with redirect_stdout(sys.stderr):
            cls(str(root), **part)
        found = _found(cls, root, part)
    except (Exception, SystemExit) as caught:  # Tonic's loaders differ in what they raise
        error = caught
    if found is None:
        for folder in new:  # Tonic makes them before it fetches
            with suppress(OSError):
                folder.rmdir()
        which = "train" if part.get("train") else "test" if part else "data"
        places = (f"{which}_url", "url", "base_url", f"{which}_filename")
        archive = next((getattr(cls, place) for place in places if hasattr(cls, place)), "its archive")
        raise MissingDataError(
            f"{cls.__name__} ({which}) is not in {root}, and Tonic did not fetch it ({error or 'nothing was found'}): "
            f"fetch {archive} and unpack it in {root / cls.__name__}"
        )
    return found


def _found(cls: Any, root: Path, part: dict[str, bool]) -> Any | None:
    """Return a part of a set from the first folder that holds any of its recordings; nothing is downloaded."""
    for folder in (root / cls.__name__, root / cls.__name__.lower(), root):
        here: dict[str, Any] = {"location_on_system": property(lambda _, at=str(folder): at, lambda *_: None)}
        here |= {"_check_exists": lambda _: True, "_is_file_present": lambda _: True}
        if cls.__name__ == "CIFAR10DVS":
            here["__getitem__"] = _by_our_reader
        try:
            found = type(cls.__name__, (cls,), here)(str(folder), **part)
        except (KeyError, ValueError, OSError) as error:  # what lies there has another layout
            if folder == root or isinstance(error, OSError):
                continue
            raise DataError(f"{folder} is not laid out as Tonic's {cls.__name__}: {error}") from None
        if len(found):
            return found
    return None


def _by_our_reader(dataset: Any, index: int) -> tuple[Any, int]:
    """Return a sample of AEDAT 4 files, for which Tonic needs a package that has no wheels."""
    events = read_recording(Path(dataset.data[index])).events
    return (events if dataset.transform is None else dataset.transform(events)), dataset.targets[index]


def _transforms(text: str, sensor_size: tuple[int, ...] | None) -> Callable[[Any], Any]:
    """Return Tonic's transforms named as in "Denoise(filter_time=10000), DropEvent(p=0.1)". Raises DataError."""
    from tonic import transforms

    made = []
    try:
        calls = ast.parse(f"[{text}]", mode="eval").body
        for call in calls.elts:  # type: ignore[attr-defined]
            kind = getattr(transforms, call.func.id)
            options = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
            if "sensor_size" in inspect.signature(kind).parameters:
                options.setdefault("sensor_size", sensor_size)
            made.append(kind(*map(ast.literal_eval, call.args), **options))
    except (SyntaxError, AttributeError, ValueError, TypeError, AssertionError) as error:
        raise DataError(
            f"--transform {text!r} is no list of Tonic's transforms, such as Denoise(filter_time=10000): {error}"
        ) from None
    return transforms.Compose(made)


class _Labelled(NamedTuple):
    events: Events
    sensor: SensorSize
    label: Any
    steps: int  # of a sample that is frames; 0: it is events


@dataclass(frozen=True)
class _Reader:
    """Reads the samples of a data set; random transforms draw the same at each reading."""

    dataset: Any
    sensor: SensorSize
    bin_us: int  # of samples that are frames; 0: unknown

    def events(self, index: int) -> Read:
        """Return (events, sensor size) of a sample. Raises what the data set raises."""
        return self._read(index)[:2]

    def labelled(self, index: int) -> _Labelled:
        """Return a sample. Raises DataError."""
        try:
            return self._read(index)
        except Exception as error:  # a data set of somebody else may raise anything
            raise DataError(f"sample {index} of {type(self.dataset).__name__} cannot be read: {error}") from error

    def _read(self, index: int) -> _Labelled:
        with _seeded(index):
            given, label = self.dataset[index]
        array = np.asarray(given)
        if array.dtype.names is None:
            return _Labelled(*events_of_frames(array, self.bin_us), label, len(array))
        return _Labelled(sanitise(as_events(array.reshape(-1)), self.sensor)[0], self.sensor, label, 0)


@contextmanager
def _seeded(index: int) -> Iterator[None]:
    """Seed NumPy's global random numbers, of which Tonic's transforms draw; afterwards they are as before."""
    before = np.random.get_state()
    np.random.seed(index)
    try:
        yield
    finally:
        np.random.set_state(before)


def events_of_frames(frames: NDArray[Any], bin_us: int) -> Read:
    """Return counts [T, 2, H, W] as (events at the beginnings of bins, sensor size H x W). Raises ValueError."""
    if frames.ndim != 4 or frames.shape[1] != 2 or frames.dtype.kind not in "biuf":
        raise ValueError(f"a sample is events, or frames [T, 2, H, W], not {frames.dtype} {frames.shape}")
    if not bin_us:
        raise ValueError("frames do not tell how long one is: give bin_us")
    cells = np.argwhere(frames)
    counts = frames[tuple(cells.T)]
    if (counts < 0).any() or (counts % 1).any():
        raise ValueError("frames hold counts of events, not other numbers")
    step, p, y, x = np.repeat(cells, counts.astype(np.int64).clip(max=CEILINGS["count"]), 0).T
    return make_events(step * bin_us, x, y, p), SensorSize(frames.shape[3], frames.shape[2])


def _list(
    name: str, found: Sequence[Any], config: TrainConfig, mark: str | None = None, window: WindowShape | None = None
) -> Listing:
    """List the training part, and perhaps the test part, of a set; `mark` is what its files do not tell of its events,
    None if they tell nothing.
    """
    size = _below(found[0], "sensor_size") or SIZES.get(type(found[0]).__name__)
    if size is None:
        raise DataError(f"{name} does not tell its `sensor_size`, (width, height, polarities): set that attribute")
    readers = [_Reader(one, SensorSize(*size[:2]), _bin_of(one) or config.bin_us or 0) for one in found]
    train, *held = ([*_samples(reader, part, mark)] for reader, part in zip(readers, ("train", "test")))
    labels = _ordered({label for label, _ in train}, _below(found[0], "classes"))
    if strange := {label for samples in held for label, _ in samples} - {*labels}:
        raise DataError(f"class {min(strange)!r} of the test split of {name} is not among the training classes")
    if len(labels) < 2:
        raise MissingDataError(f"{name} needs recordings of at least two classes; found {', '.join(labels) or 'none'}")
    items, test = (
        tuple(replace(item, label=labels.index(label)) for label, item in samples)
        for samples in (train, [sample for samples in held for sample in samples])
    )
    if window is None or mark:
        window = _window(readers[0], window)
    note = f"{counted(len(labels), 'class')}, {counted(len(items), 'recording')} to train on and {len(test)} to test on"
    note += ": each is one window from its first event (--steps, --bin-us)"
    return Listing(name, labels, items, test, readers[0].sensor, window, notes=(note,))


def _below(dataset: Any, name: str) -> Any:
    """Return an attribute of a data set, or else of that which it wraps; None if there is none."""
    while dataset is not None and getattr(dataset, name, None) is None:
        dataset = getattr(dataset, "dataset", None)
    return getattr(dataset, name, None)


def _bin_of(dataset: Any) -> int:
    """Return the length of a frame that a data set's last transform to tell one makes, microseconds; 0 if none does."""
    transform = _below(dataset, "transform")
    every = getattr(transform, "transforms", None) or [transform]
    lengths = (getattr(one, "bin_us", None) or getattr(one, "time_window", None) for one in every)
    return round([0, *filter(None, lengths)][-1])


def _samples(reader: _Reader, part: str, mark: str | None) -> Iterator[tuple[str, Item]]:
    """Yield (class, sample without it); samples are read unless `mark` is given and a file holds each."""
    dataset, classes = reader.dataset, list(_below(reader.dataset, "classes") or ())
    for index in range(len(dataset)):
        if mark is not None and isinstance(dataset.data[index], str):
            path, stamp, label = Path(dataset.data[index]), mark, _name(dataset.targets[index], classes)
        else:
            events, sensor, given, _ = reader.labelled(index)
            label, stamp = _name(given, classes), hashlib.sha256(f"{sensor}".encode() + events.tobytes()).hexdigest()
            path = Path(part, label, str(index))
        yield label, Item(path, 0, read=partial(reader.events, index), mark=stamp, group=_group(dataset, index))


def _name(label: Any, classes: Sequence[str]) -> str:
    """Return a class's name of its number or name. Raises DataError.

    >>> _name(1, ["0 - zero", "1 - one"]), _name(np.int64(3), []), _name(b"cup", [])
    ('1', '3', 'cup')
    """
    value = label.item() if getattr(label, "ndim", None) == 0 else label
    value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, int | str):
        raise DataError(f"a label is a class's number or name, not {type(label).__name__}")
    if isinstance(value, int) and 0 <= value < len(classes):
        value = classes[value]
    return re.sub(r"^(\d) - \w+$", r"\1", str(value))  # N-MNIST's digits


def _ordered(found: set[str], classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes found, in the order of the data set's own, else numbers first and then names, sorted."""
    own = [_name(label, ()) for label in classes or ()]
    rest = sorted(found - {*own}, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    return tuple(name for name in (*own, *rest) if name in found)


def _group(dataset: Any, index: int) -> str:
    """Return what a sample shares with others that may not lie in another part: its user, or its recording if the set
    is cut into slices; empty if nothing is known.
    """
    if users := getattr(dataset, "users", None):
        return f"user {users[index]}"
    below, slices = getattr(dataset, "dataset", None), getattr(dataset, "slice_dataset_map", None)
    if below is None:
        return ""
    inner = slices[index][0] if slices else getattr(dataset, "indices", range(len(dataset)))[index]
    return _group(below, inner) or (f"recording {inner}" if slices else "")


def _window(reader: _Reader, usual: WindowShape | None) -> WindowShape:
    """Return the window of frames that are as many as the most, else the `usual` one, else that which covers the median
    recording, or its first 5 s.
    """
    count = len(reader.dataset)
    found = [reader.labelled(int(n)) for n in np.linspace(0, count - 1, min(MEASURED, count)).round()]
    if steps := max(one.steps for one in found):
        return WindowShape(steps, reader.bin_us, found[0].sensor.height, found[0].sensor.width)
    length = float(np.median([np.ptp(one.events["t"]) for one in found if len(one.events)] or [0])) + 1
    return usual or clip_window(min(length, LONGEST_CLIP_US), reader.sensor)
