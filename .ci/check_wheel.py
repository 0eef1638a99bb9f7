"""Build the wheel, install it in a fresh environment and use it as a stranger would: from another folder, one that has
packages app, encoders, models, service and training of its own.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    """A command's output, with more environment variables; its error text when it fails."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | more
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


READ = """
import cv2, hashlib, numpy, spikesight, torch
from spikesight.models.classifier import Classifier
from spikesight.models.engine.engine import MEMBRANES, Engine, engine_status
from spikesight.models.shipped import find

three = cv2.putText(numpy.zeros((280, 280), "uint8"), "3", (62, 226), 0, 7.2, 255, 30, cv2.LINE_AA)
print(spikesight.load().predict(three).label, engine_status(), sep=", ")
network = Classifier.load(find("nmnist")).network
x_seq = (torch.rand(4, 2, 2, 34, 34, generator=torch.Generator().manual_seed(1)) < 0.1).to(torch.uint8)
with torch.inference_mode():
    logits, _ = network(x_seq.float())
for choice in ("events", "dense"):
    result = Engine(network, 34, 34, choice=choice).run(x_seq)
    assert (result.logits - logits).abs().max() < 1e-4, "the engine differs from the network"
    numbers = torch.cat([part.flatten() for part in (result.logits, result.state[MEMBRANES])])
    print(hashlib.sha256(numbers.numpy()).hexdigest())
"""


def check_kernels(python: Path, folder: Path) -> str:
    """The wheel's own kernels are in use, with no compiler on the PATH. With every instruction set that this processor
    has, a digit is read and the engine computes what the network does, by events and densely to the same bits. Answers
    their names.
    """
    nothing = {"PATH": str(folder), "CXX": "", "SPIKESIGHT_NATIVE": "1", "SPIKESIGHT_CACHE": str(folder / "cache")}
    program = "print(*supported_isas(), this_system() in SYSTEMS, sep=',')"
    program = f"from spikesight.encoders.native.targets import *; {program}"
    isas, _, known = run(python, "-c", program, cwd=folder).strip().rpartition(",")
    bits = {}
    for isa in isas.split(",") if known == "True" else ():
        said, by_events, densely = run(python, "-c", READ, cwd=folder, SPIKESIGHT_ISA=isa, **nothing).splitlines()
        assert f"{isa}, prebuilt" in said, said
        assert said.startswith("3, "), said
        assert by_events == densely or "amx" in isa, isa  # a matrix unit sums dense frames in another order
        bits[isa] = by_events
    bits.pop("portable", None)  # which has no fused multiply-add
    assert len({*bits.values()}) <= 1, f"instruction sets differ in bits: {bits}"
    assert not [*(folder / "cache").rglob("*.so")], "compiled in spite of the wheel"
    return isas


def check_tonic(python: Path, command: Path, folder: Path) -> None:
    """A set of Tonic's by its name gives a batch to train on."""
    write = "events = bytes([9, 9, 128, 0, 9]) * 40; [path.parent.mkdir(parents=True, exist_ok=True) or "
    write += "path.write_bytes(events) for part in ('Train', 'Test') for digit in '01' for n in range(4) "
    write += "for path in [pathlib.Path('data', part, digit, f'{n}.bin')]]"
    run(python, "-c", f"import pathlib; {write}", cwd=folder)
    said = run(command, "--data", "nmnist", "--dry-run", "--network", "event-small", cwd=folder)
    assert "one batch went through" in said, said


def check_service(spikesight: Path, folder: Path) -> None:
    """The installed service starts with its shipped model and answers."""
    port = free_port()
    server = subprocess.Popen([spikesight, "serve", "--port", str(port)], cwd=folder)
    try:
        base = f"http://127.0.0.1:{port}"
        while server.poll() is None:
            with suppress(OSError):
                urllib.request.urlopen(f"{base}/health/ready", timeout=5).read()
                break
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
        venv.create(folder / "env", with_pip=False)  # this environment's pip fills it: Debian's Python has no ensurepip
        commands = folder / "env" / "bin"
        pip = (sys.executable, "-m", "pip", "--python", commands / "python", "--disable-pip-version-check")
        run(*pip, "install", "-q", f"{wheel}[datasets]", cwd=folder)
        run(*pip, "install", "-q", "--no-deps", "tonic>=1.7", cwd=folder)
        elsewhere = folder / "elsewhere"
        for own in ("app", "encoders", "models", "service", "training"):
            (elsewhere / own).mkdir(parents=True)
            (elsewhere / own / "__init__.py").write_text("raise ImportError('this is not Spikesight')\n")
        for command in ("spikesight", "train-dvs"):
            assert "usage" in run(commands / command, "--help", cwd=elsewhere)
        check_tonic(commands / "python", commands / "train-dvs", elsewhere)
        isas = check_kernels(commands / "python", elsewhere)
        check_service(commands / "spikesight", elsewhere)
        megabytes = wheel.stat().st_size / 1e6
        print(f"{wheel.name}: {megabytes:.2f} MB, installs, runs and serves from another folder; kernels: {isas}")


if __name__ == "__main__":
    main()
