"""Fill .venv with Spikesight and what it needs. `make` calls this; it wants nothing but Python's standard library.

    python3 .ci/install.py                what `make serve` needs
    python3 .ci/install.py --dev          what `make test` needs as well
    python3 .ci/install.py --torch cpu    PyTorch without CUDA

Only wheels are installed, so that nothing is ever compiled here and what fails is said in a sentence.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PIP_OPTIONS = ("--disable-pip-version-check", "install", "--only-binary=:all:")
TEST_PACKAGES = {  # Debian's
    "chromium": "the browser tests",
    "firefox-esr": "the test of the page in Firefox",
    "webkit2gtk-driver": "the test of the page in WebKit",
    "xvfb": "the display that it wants",
    "xauth": "the display that it wants",
    "mosquitto": "the test of predictions sent to a broker",
    "caddy": "the tests of the proxy before the service",
    "libatomic1": "the tests of dv-processing",
}
TONIC, NEUROBENCH = (
    "tonic>=1.7",
    "neurobench>=2.3",
)  # alone: expelliarmus, which they name, lacks wheels
COMPILERS = ("g++", "clang++", "c++")


def fail(sentence: str) -> None:
    sys.exit(f"make: {sentence}")


def quiet(*command: str | Path, cwd: Path | None = None) -> bool:
    """Whether a command succeeds; what it prints is dropped."""
    return subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def make_environment() -> None:
    """.venv with pip in it. Debian and Ubuntu ship Python without ensurepip: there pip comes as their own wheel."""
    if PYTHON.is_file() and quiet(PYTHON, "-m", "pip", "--version"):
        return
    if not quiet(sys.executable, "-m", "venv", "--clear", ENVIRONMENT):
        venv.create(ENVIRONMENT, clear=True, with_pip=False, symlinks=os.name != "nt")
        with tempfile.TemporaryDirectory() as folder:
            pip = pip_of_the_system() or pip_of_debian(Path(folder))
            if not pip or not quiet(*pip, "install", "--only-binary=:all:", "pip"):
                shutil.rmtree(ENVIRONMENT)
                fail("this Python has neither venv nor pip, and apt-get could not bring it: install python3-venv")


def pip_of_the_system() -> tuple[str | Path, ...]:
    """The system's pip at work on .venv, or nothing where there is none."""
    command = (sys.executable, "-m", "pip", "--python", PYTHON)
    return command if quiet(*command, "--version") else ()


def pip_of_debian(folder: Path) -> tuple[str | Path, ...]:
    """pip's wheel out of Debian's package, fetched without being root and without a change to the system."""
    if not shutil.which("apt-get"):
        return ()
    (folder / "lists" / "partial").mkdir(parents=True)
    own = ("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}", "-o", "Debug::NoLocking=1")
    quiet("apt-get", *own, "update")
    quiet("apt-get", *own, "-o", "APT::Sandbox::User=", "download", "python3-pip-whl", cwd=folder)
    for package in folder.glob("python3-pip-whl*.deb"):
        quiet("dpkg", "-x", package, folder)
    wheels = sorted(folder.glob("usr/share/python-wheels/pip-*.whl"))
    return (PYTHON, f"{wheels[-1]}/pip") if wheels else ()


def has_gpu() -> bool:
    """Whether an NVIDIA or AMD card with its driver is here."""
    return bool(shutil.which("nvidia-smi") or any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists())


def announce(torch: str) -> None:
    """What is about to be fetched, and the smaller way."""
    if sys.platform != "linux" or torch or quiet(PYTHON, "-c", "import torch"):
        print("Installing Spikesight into .venv", flush=True)
    elif has_gpu():
        print("A GPU was found: PyTorch with its libraries, about 3 GB to fetch and 6 GB on disk.", flush=True)
    else:
        print(
            "No GPU was found. PyTorch's usual build brings CUDA all the same: about 3 GB to fetch, 6 GB on disk.\n"
            "The small build, 0.2 GB to fetch and 1.5 GB on disk: stop this with Ctrl-C, then  make serve TORCH=cpu",
            flush=True,
        )


def install(*wanted: str | Path) -> None:
    """pip with its progress on the terminal; a failure ends with one sentence that says what to do."""
    command = [PYTHON, "-m", "pip", *PIP_OPTIONS, *wanted]
    environment = {**os.environ, "SPIKESIGHT_WHEEL": "none"}  # one library, compiled below, in place of a wheel's many
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if not line.startswith("ERROR"):
            sys.stderr.write(line)
    if process.wait():
        fail(reason("".join(said)))


def reason(said: str) -> str:
    """One sentence out of pip's errors."""
    missing = re.search(r"No matching distribution found for ([^\s(]+)", said)
    if missing:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            f"{missing[1]} has no wheel for Python {python} on this machine: try another Python "
            "(make PYTHON=python3.13 serve), or see the table of wheels in docs/service/deployment.md"
        )
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR")]
    if "No space left" in said:
        return "the disk is full: PyTorch's usual build needs 6 GB, make serve TORCH=cpu 1.5 GB"
    return f"pip could not install it: {errors[-1] if errors else 'no reason was given'}"


def install_small_torch() -> None:
    """PyTorch's CPU build. uv knows where PyTorch keeps it; pip would have to be told."""
    install("uv")
    uv = PYTHON.parent / "uv"
    if subprocess.run([uv, "pip", "install", "--python", PYTHON, "--torch-backend=cpu", "torch>=2.10"]).returncode:
        fail("PyTorch's CPU build could not be fetched: is its server reachable? `make serve` takes the usual build")


def install_test_packages() -> None:
    """What the tests want of the system: installed where we may, named where we may not."""
    missing = {name: use for name, use in TEST_PACKAGES.items() if not quiet("dpkg", "-s", name)}
    if not missing or not shutil.which("apt-get"):
        return
    if os.geteuid() == 0:
        print(f"Installing {', '.join(missing)} with apt-get, for the tests", flush=True)
        quiet("apt-get", "update")
        for name in list(missing):
            if quiet("apt-get", "install", "-y", "--no-install-recommends", name):
                del missing[name]
    for name, use in missing.items():
        print(f"{use} will skip: apt install {name}", flush=True)


def main() -> None:
    """The environment, PyTorch, Spikesight, and the compiled kernels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dev", action="store_true", help="the tests' tools as well")
    parser.add_argument("--torch", choices=("", "cpu"), default="", help="PyTorch's small build, without CUDA")
    args = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python gets to read
        fail("Spikesight needs Python 3.11 or newer: make PYTHON=python3.13 serve")
    make_environment()
    announce(args.torch)
    if args.torch == "cpu":
        install_small_torch()
    install("-e", ".[dev,export,datasets,formats]" if args.dev else ".[datasets]")
    install("--no-deps", TONIC, *([NEUROBENCH] if args.dev else []))
    if args.dev:
        install_test_packages()
    if not any(map(shutil.which, COMPILERS)):
        print("No C++ compiler was found: ziglang brings one", flush=True)
        install("ziglang")
    print("Compiling the kernels for this processor, once; under a minute", flush=True)
    program = "from spikesight.models.engine.engine import engine_status; print(engine_status())"
    subprocess.run([PYTHON, "-c", program], cwd=ROOT)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nmake: stopped; what was fetched is kept")
