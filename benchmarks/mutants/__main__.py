"""Mutation testing: the share of small faults, written into each package, that the tests notice.

Each mutant is written alone into a copy of the project. The tests responsible for its line run, the nearest first,
until one fails or the time is over. They run in a fork of a process that has already imported what the fault cannot
affect: third-party packages, and our packages below the mutant's. Rates have 95 % intervals (Wilson).

As a control, the same tests also run on some modules without a fault; a failure there is a flaky test.
"""

import compileall
import contextlib
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import spikesight
from benchmarks.common import report
from benchmarks.mutants.make import Mutant, sample
from benchmarks.mutants.reach import importers, tests_for
from spikesight.models.statistics import interval

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("encoders", "models", "service", "training", "app")
BELOW = {"encoders": (), "models": ("encoders",)}  # packages below each package; both of these for the others
HEAVY = "torch numba cv2 h5py scipy.io safetensors.torch pydantic pydantic_settings fastapi.testclient uvicorn httpx"
HEAVY += " websockets.sync.client prometheus_client hypothesis.strategies matplotlib.pyplot eventcv yaml"
HANG_S = 30  # processor time beyond the budget after which a test file counts as hung
STILL_S = 240  # wall time after which a test file counts as hung, long enough for a busy machine
CONTROL = 12  # one control without a fault for so many mutants
OPTIONS = ("-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins are imported
PASSED, NONE_COLLECTED = pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED
COLUMNS = ("low", "high", "without a fault", "of them noticed")
Fate = str  # "killed", "hung", "survived"


def copied(folder: Path) -> Path:
    """Copy the project's files to a folder in which faults may be written."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    for path in ROOT.glob("*/**/__pycache__/*.nb?"):  # numba's, valid by the times of the sources
        if path.parts[len(ROOT.parts)] in PACKAGES:
            (folder / path.relative_to(ROOT).parent).mkdir(exist_ok=True)
            shutil.copy2(path, folder / path.relative_to(ROOT))
    compileall.compile_dir(folder, quiet=1)
    return folder


def preload(packages: tuple[str, ...]) -> None:
    """Import modules that forks then share: third-party ones and all modules of these packages of ours."""
    for point in entry_points(group="pytest11"):
        point.load()
    ours = [path.relative_to(ROOT) for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    names = [".".join(("spikesight", *path.with_suffix("").parts)).removesuffix(".__init__") for path in ours]
    for name in [*HEAVY.split(), *names]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def unload(copy: Path, kept: tuple[str, ...]) -> None:
    """Remove our packages except `kept` from memory, so that they are imported again from the copy."""
    for name in list(sys.modules):
        top, _, rest = name.partition(".")
        if top in ("benchmarks", "tests") or (top == "spikesight" and rest and rest.split(".")[0] not in kept):
            del sys.modules[name]
            if hasattr(spikesight, rest):
                delattr(spikesight, rest)
    spikesight.__path__[:] = [str(copy / "spikesight")]


def attempt(copy: Path, tests: list[str], kept: tuple[str, ...], budget_s: int) -> None:
    """In a fork: run the tests in the copy, with only the packages `kept` in memory; exit with 1 if one fails."""
    os.setsid()
    os.chdir(copy)
    end = time.process_time() + budget_s
    resource.setrlimit(resource.RLIMIT_CPU, (int(end) + HANG_S, resource.RLIM_INFINITY))
    sys.path[0] = str(copy)
    os.environ["PYTHONPATH"] = str(copy)
    os.environ.setdefault("SPIKESIGHT_DATA", str(ROOT.parent / "shared" / "data"))
    sys.dont_write_bytecode = True
    unload(copy, kept)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for test in tests:  # one at a time: collecting all would take longer than most tests
        if time.process_time() > end:
            break
        signal.alarm(STILL_S)
        if pytest.main([*OPTIONS, test]) not in (PASSED, NONE_COLLECTED):
            os._exit(1)
    os._exit(0)


def fate(copy: Path, mutant: Mutant, budget_s: int) -> Fate:
    """Run the tests against one mutant; return whether it was killed, hung or survived."""
    tests, kept = tests_for(copy, mutant.path, mutant.line), BELOW.get(mutant.package, ("encoders", "models"))
    with written(copy, mutant):
        process = multiprocessing.get_context("fork").Process(target=attempt, args=(copy, tests, kept, budget_s))
        process.start()
        process.join()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
    hung = process.exitcode in (-signal.SIGXCPU, -signal.SIGALRM)
    return "hung" if hung else "killed" if process.exitcode else "survived"


@contextlib.contextmanager
def written(copy: Path, mutant: Mutant) -> Iterator[None]:
    """Write the fault into its file for the time of the context; numba's caches that depend on it are set aside."""
    file = copy / mutant.path
    source, stat = file.read_text(), file.stat()
    stale = [file, *(copy / user for user in importers(copy, mutant.path))]
    compiled = {
        loop: loop.read_bytes() for path in stale for loop in path.parent.glob(f"__pycache__/{path.stem}.*.nb?")
    }
    for loop in compiled:
        loop.unlink()
    file.write_text(mutant.applied(source))
    try:
        yield
    finally:
        file.write_text(source)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        for path in stale:
            for loop in path.parent.glob(f"__pycache__/{path.stem}.*.nb?"):
                loop.unlink()
        for loop, content in compiled.items():
            loop.write_bytes(content)


def unharmed(mutant: Mutant) -> Mutant:
    """Return a control: the same place without a fault."""
    return replace(mutant, after=mutant.before)


def fates(copy: Path, chosen: list[Mutant], budget_s: int) -> Iterator[Fate]:
    """Yield and print the fate of each mutant. A hang counts only if the same tests end without the fault."""
    for mutant in chosen:
        begin = time.monotonic()
        found = fate(copy, mutant, budget_s)
        if found == "hung" and fate(copy, unharmed(mutant), budget_s) == "hung":
            found = "survived"
        print(f"{found:9} {time.monotonic() - begin:4.0f} s  {mutant}", flush=True)
        yield found


def summary(package: str, seed: int, found: list[Fate], controls: list[Fate]) -> None:
    """Print and report the rates of one package."""
    noticed, false = (sum(one != "survived" for one in fates) for fates in (found, controls))
    low, high = interval(noticed, len(found))
    print(f"{package}: {noticed} of {len(found)} noticed, {noticed / len(found):.1%} ({low:.1%} to {high:.1%})")
    print(f"{package}: without a fault {false} of {len(controls)} noticed\n")
    report.table(f"mutants of {package}, seed {seed}", "package", "mutants", "noticed", "of them hung", *COLUMNS)
    report.row(package, len(found), noticed, found.count("hung"), low, high, len(controls), false)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--count", type=int, default=50, help="mutants of each package")
    parser.add_argument(
        "--budget-s", type=int, default=60, help="no further file of tests after so much processor time"
    )
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=PACKAGES)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for package in args.packages:
            preload(BELOW.get(package, ("encoders", "models")))
            chosen = sample(copy, package, args.count, args.seed)
            found = list(fates(copy, chosen, args.budget_s))
            controls = list(fates(copy, [unharmed(one) for one in chosen[::CONTROL]], args.budget_s))
            summary(package, args.seed, found, controls)
            report.write("mutants", args.json)  # after each package: a run may be interrupted


if __name__ == "__main__":
    main()
