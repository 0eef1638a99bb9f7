"""Decode one recording of a vendor's format: bytes on standard input, events on standard output, limits on both.

Started by the service for each upload, so that a hostile file can exhaust or crash this process only.
"""

import resource
import sys

from encoders.recordings.files import read_recording_bytes
from encoders.recordings.format import RecordingError

MEMORY = 3 * 2**30  # bytes of address space
CPU_S = 20


def main() -> int:
    """Exit code 0: width and height (uint32), then EVENTS; 1: damaged."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    data = sys.stdin.buffer.read()
    try:
        recording = read_recording_bytes(data, f"upload{sys.argv[1] if len(sys.argv) > 1 else ''}")
    except (RecordingError, MemoryError):
        return 1
    size = recording.size
    sys.stdout.buffer.write(size.width.to_bytes(4, "little") + size.height.to_bytes(4, "little"))
    sys.stdout.buffer.write(recording.events.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
