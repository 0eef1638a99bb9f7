"""JSON lines: a message a line, at the end of a file."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from spikesight.service.sinks.messages import Message, SinkError, SinkLost


class Lines:
    """file:PATH. The file is opened for each line, so that it may be moved away while the service runs (logrotate)."""

    def __init__(self, address: str) -> None:
        self.path = Path(address.removeprefix("file:"))
        try:
            self._append(b"")
        except OSError as error:
            raise SinkError(f"cannot write to {address}: {(error.strerror or str(error)).lower()}") from None

    def _append(self, line: bytes) -> None:
        """Whole or not at all, also on a disk that is full."""
        with self.path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                taken = file.write(line)
                if taken != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):  # a pipe
                    file.truncate(before)
                raise

    def send(self, message: Message) -> None:
        try:
            self._append(message.body + b"\n")
        except OSError as error:
            raise SinkLost((error.strerror or str(error)).lower()) from None

    def close(self) -> None:
        pass
