"""JSON lines: a message a line, at the end of a file."""

from pathlib import Path

from service.sinks.messages import Message, SinkError, SinkLost


class Lines:
    """file:PATH. The file is opened for each line, so that it may be moved away while the service runs (logrotate)."""

    def __init__(self, address: str) -> None:
        self.path = Path(address.removeprefix("file:"))
        try:
            self._append(b"")
        except OSError as error:
            raise SinkError(f"cannot write to {address}: {(error.strerror or str(error)).lower()}") from None

    def _append(self, line: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(line)

    def send(self, message: Message) -> None:
        try:
            self._append(message.body + b"\n")
        except OSError as error:
            raise SinkLost((error.strerror or str(error)).lower()) from None

    def close(self) -> None:
        pass
