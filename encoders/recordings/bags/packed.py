"""Decompress chunks of messages, to no more than the size that they claim."""

import importlib
import io

from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.recordings.format import NoEventsKnown, RecordingError, shown

CUT_SHORT = "the file is cut short"
DAMAGED = "a damaged chunk of messages was left out"


def unpacked(codec: str, data: bytes, size: int, notes: list[str]) -> bytes:
    """Return `size` bytes; fewer, and a note, for a damaged chunk. Raises NoEventsKnown for an unknown codec."""
    try:
        match codec:
            case "" | "none":
                return data
            case "bz2":
                found = importlib.import_module("bz2").BZ2Decompressor().decompress(data, min(size, LARGEST_PACKET))
            case "lz4":
                frame = importlib.import_module("lz4.frame").LZ4FrameDecompressor()
                found = frame.decompress(data, min(size, LARGEST_PACKET))
            case "zstd":
                stream = importlib.import_module("zstandard").ZstdDecompressor().stream_reader(io.BytesIO(data))
                found = stream.read(min(size, LARGEST_PACKET))
            case _:
                raise NoEventsKnown(f"it is packed with '{shown(codec)}', which is not known here")
    except ImportError as error:
        raise RecordingError(f"it is packed with {codec}, which this Python lacks ({error})") from error
    except (RecordingError, MemoryError):
        raise
    except Exception:  # each library raises its own types
        found = b""
    if len(found) < size and DAMAGED not in notes:
        notes.append(DAMAGED)
    return found
