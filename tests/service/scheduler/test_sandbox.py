"""What a process for strangers' files reaches: its own folder. Everything else of the machine is tried from within."""

import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from spikesight.service.scheduler import sandbox
from tests.support.processes import calling
from tests.support.waiting import PATIENCE_S

SECRET = "a-token-that-nobody-else-may-know"
landlock = pytest.mark.skipif(not sandbox.version(), reason="this kernel has no Landlock")


def read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as a library would
        return file.read(1 << 16)


def written(path: str) -> int:
    return Path(path).write_bytes(b"x")


def linked(path: str) -> None:
    Path(tempfile.gettempdir(), "link").symlink_to(path)
    read(str(Path(tempfile.gettempdir(), "link")))


def connected(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()


def signalled(pid: int) -> None:
    os.kill(pid, 0)


def variables() -> dict[str, str]:
    return dict(os.environ)


def kept(n: int) -> list[str]:
    """Use the folder in every way that readers do; what is there afterwards."""
    own = Path(tempfile.gettempdir())
    (own / "folder").mkdir()
    (own / "folder" / "file").write_bytes(bytes(n))
    (own / "folder" / "file").replace(own / "folder" / "other")
    with (own / "folder" / "other").open("r+b") as file:
        file.truncate(n // 2)
    assert len((own / "folder" / "other").read_bytes()) == n // 2
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    return sorted(path.name for path in own.rglob("*"))


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service's surroundings: its environment, and a file beside its temporary folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SPIKESIGHT_TOKEN", SECRET)
    (tmp_path / "private").write_text(SECRET)
    return tmp_path


@pytest.mark.attack(
    "recordings",
    "a decoder that a file took over looks for secrets in its environment",
    "there are none: no token, no key, nothing but where libraries lie",
)
@pytest.mark.usefixtures("secrets")
async def test_the_environment_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("HDF5_PLUGIN_PATH", "/somewhere")
    with calling(__name__) as call:
        fork, found = await call(os.getpid), await call(variables)
        assert found["HDF5_PLUGIN_PATH"] == "/somewhere"
        assert SECRET not in found.values()
        assert SECRET.encode() not in read(f"/proc/{fork}/environ")


@landlock
@pytest.mark.attack(
    "recordings",
    "a decoder that a file took over reads, lists, writes, links or removes files, reads /proc, calls out, signals",
    "nothing beyond its own folder (Landlock; a line in the log says where the kernel has none)",
)
async def test_nothing_else_is_reached(secrets: Path) -> None:
    before, private, own = sorted(secrets.iterdir()), str(secrets / "private"), f"/proc/{os.getpid()}"
    files = [private, __file__, "/etc/passwd", "/proc/self/environ", "/proc/self/maps"]
    files += [f"{own}/environ", f"{own}/cmdline", f"{own}/mem", f"{tempfile.gettempdir()}/../{secrets.name}/private"]
    with socket.create_server(("127.0.0.1", 0)) as server, calling(__name__) as call:
        tries: list[tuple[Callable[..., object], str | int]] = [
            *((read, path) for path in files),
            (os.listdir, "/"),
            (os.listdir, str(secrets)),
            (written, private),
            (written, str(secrets / "new")),
            (linked, private),
            (os.unlink, private),
            (connected, server.getsockname()[1]),
            (signalled, os.getpid()),
        ]
        reached: list[object] = []
        for function, what in tries:
            if sandbox.version() >= {connected: 4, signalled: 6}.get(function, 1):
                with suppress(PermissionError):
                    await call(function, what)
                    reached.append((function.__name__, what))
    assert reached == []
    assert sorted(secrets.iterdir()) == before
    assert (secrets / "private").read_text() == SECRET


async def test_its_own_folder_is_its_own_for_one_call(secrets: Path) -> None:
    with calling(__name__) as call:
        for _ in range(6):
            assert await call(kept, 100) == ["folder", "other"]
    assert [path.name for path in secrets.iterdir()] == ["private"]


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="this system has no such score")
@pytest.mark.usefixtures("secrets")
async def test_it_is_the_first_to_go_when_memory_runs_out() -> None:
    with calling(__name__) as call:
        fork = await call(os.getpid)
        assert int(read(f"/proc/{fork}/oom_score_adj")) > int(read("/proc/self/oom_score_adj"))
        nice = await call(os.getpriority, os.PRIO_PROCESS, 0)
        assert nice > os.getpriority(os.PRIO_PROCESS, 0), "and it waits where processors are few"
