"""Build the wheel, install it in a fresh environment and use it from another folder, as a stranger would."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """A command's output; its error text when it fails."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def check_service(spikesight: Path, folder: Path) -> None:
    """The installed service starts with its shipped model and answers."""
    port = free_port()
    server = subprocess.Popen([spikesight, "serve", "--port", str(port)], cwd=folder)
    try:
        base = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{base}/health/ready", timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        models = json.load(urllib.request.urlopen(f"{base}/v1/models", timeout=10))
        page = urllib.request.urlopen(f"{base}/", timeout=10).read().decode()
        assert models["models"], models
        assert "Spikesight" in page, page[:200]
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Wheel, fresh environment, commands, service."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", cwd=ROOT)
        (wheel,) = (folder / "dist").glob("*.whl")
        venv.create(folder / "env", with_pip=True)
        commands = folder / "env" / "bin"
        run(commands / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q", wheel, cwd=folder)
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        for command in ("spikesight", "train-dvs"):
            assert "usage" in run(commands / command, "--help", cwd=elsewhere)
        program = "import numpy, spikesight; print(spikesight.load().predict(numpy.eye(28, dtype='uint8') * 255).label)"
        assert run(commands / "python", "-c", program, cwd=elsewhere).strip().isdigit()
        check_service(commands / "spikesight", elsewhere)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, installs, runs and serves from another folder")


if __name__ == "__main__":
    main()
