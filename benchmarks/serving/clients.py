"""Servers to measure, in processes of their own, and the clients that load them."""

import asyncio
import atexit
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

START_S = 60.0


class Served:
    """A server in processes of its own that listens on `port`; the constructor waits until it does."""

    def __init__(self, command: list[str], port: int, **environment: str) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process runs
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env={**os.environ, **environment}, start_new_session=True
        )
        atexit.register(self.stop)  # a session of its own hears no Ctrl-C
        self.port = port
        end = time.monotonic() + START_S
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                raise SystemExit(f"the server did not start: {self.log.read()[-2000:]}")
            time.sleep(0.1)

    def listens(self) -> bool:
        """Return whether the server accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def processes(self) -> list[int]:
        """Return the ids of the server's process and all its descendants."""
        parents: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parents.setdefault(int(fields_of(path)[1]), []).append(int(path.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def cpu_s(self) -> float:
        """Return the CPU seconds that all its processes have used so far."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                fields = fields_of(Path(f"/proc/{pid}/stat"))
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Return the resident memory of all its processes in MiB; shared pages count in each."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return total * 4096 / 2**20

    def stop(self) -> None:
        """Terminate the server; after 20 s kill the remaining processes."""
        atexit.unregister(self.stop)
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def fields_of(path: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the command name."""
    return path.read_text().rpartition(")")[2].split()


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spikesight(model: Path, *flags: str, **environment: str) -> Served:
    """Start our service on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "spikesight", "serve", "--port", str(port), "--model", str(model), *flags]
    return Served(command, port, **environment)


@dataclass
class Load:
    """Results of a closed loop of clients; times in milliseconds unless a name says seconds."""

    good: int
    refused: int
    seconds: float
    ms: list[float]
    refused_ms: list[float]
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.good / self.seconds

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.ms, q)) if self.ms else float("nan")


async def closed_loop(
    served: Served, path: str, body: bytes, kind: str, clients: int, seconds: float, offered: float = 0.0
) -> Load:
    """Let each client, on its own connection, send its next request as soon as the last is answered.

    With `offered` all clients together send so many requests a second, unless all connections are busy.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    load = Load(0, 0, seconds, [], [], 0.0)
    start = time.perf_counter()
    end = start + seconds
    turn = itertools.count()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        while time.perf_counter() < end:
            if offered:
                await asyncio.sleep(max(0.0, start + next(turn) / offered - time.perf_counter()))
            begin = time.perf_counter()
            writer.write(request)
            status = await answered(reader)
            took = (time.perf_counter() - begin) * 1e3
            if status == 200:
                load.good += 1
                load.ms.append(took)
            else:
                load.refused += 1
                load.refused_ms.append(took)
        writer.close()

    cpu = served.cpu_s()
    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = time.perf_counter() - start
    load.cpu_s = served.cpu_s() - cpu
    return load


async def answered(reader: asyncio.StreamReader) -> int:
    """Read one HTTP response; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    await reader.readexactly(int(length.group(1)) if length else 0)
    return int(head.split(b" ", 2)[1])
