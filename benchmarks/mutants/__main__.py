"""Kill rates: of small faults written into each package, how many the tests notice.

Every mutant stands alone in a copy of the project. The tests that answer for its module run against it, the nearest
first, until one fails or their time is over. One line each, then the rates with their 95 % intervals (Wilson).
"""

import argparse
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
from pathlib import Path

import pytest
from numba.core import config

from benchmarks.common import report
from benchmarks.mutants.make import Mutant, sample
from benchmarks.mutants.reach import answering

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("encoders", "models", "service", "training", "app")
HEAVY = ("torch", "numba", "cv2", "h5py", "scipy", "safetensors.torch", "pydantic")
HANG_S = 120  # of processor beyond the budget: no test file takes as long
PASSED, NONE_COLLECTED = pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED
Fate = str  # "killed", "hung", "survived"


def copied(folder: Path) -> Path:
    """A copy of the project's files in which faults may be written."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for path in ROOT.glob("*/**/__pycache__/*.nb?"):  # numba's, valid by the times of the sources
        if path.parts[len(ROOT.parts)] in PACKAGES:
            (folder / path.relative_to(ROOT).parent).mkdir(exist_ok=True)
            shutil.copy2(path, folder / path.relative_to(ROOT))
    compileall.compile_dir(folder, quiet=1)
    return folder


def attempt(copy: Path, tests: list[str], compiled: Path | None, budget_s: int) -> None:
    """In a fork, where what is heavy has been imported: run the tests in the copy. Exit code 1 when one fails."""
    os.setsid()
    os.chdir(copy)
    end = time.process_time() + budget_s
    resource.setrlimit(resource.RLIMIT_CPU, (int(end) + HANG_S, resource.RLIM_INFINITY))
    sys.path[0] = str(copy)
    os.environ["PYTHONPATH"] = str(copy)
    os.environ.setdefault("SPIKESIGHT_DATA", str(ROOT.parent / "shared" / "data"))
    sys.dont_write_bytecode = True
    if compiled is not None:
        os.environ["NUMBA_CACHE_DIR"] = str(compiled)
        config.reload_config()  # numba has read its variables
    for name in [name for name in sys.modules if name.split(".")[0] in (*PACKAGES, "benchmarks", "tests")]:
        del sys.modules[name]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for test in tests:  # one after the other: collecting all would cost more than most of them
        if time.process_time() > end:
            break
        if pytest.main(["-x", "-p", "no:cacheprovider", test]) not in (PASSED, NONE_COLLECTED):
            os._exit(1)
    os._exit(0)


def fate(copy: Path, mutant: Mutant, budget_s: int) -> Fate:
    """What becomes of one mutant."""
    tests = answering(copy, mutant.path)
    with written(copy, mutant) as compiled:
        process = multiprocessing.get_context("fork").Process(target=attempt, args=(copy, tests, compiled, budget_s))
        process.start()
        process.join(4 * (budget_s + HANG_S))  # on the wall: others may want the processor
        code = process.exitcode
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
    return {None: "hung", -signal.SIGXCPU: "hung", 0: "survived"}.get(code, "killed")


@contextlib.contextmanager
def written(copy: Path, mutant: Mutant) -> Iterator[Path | None]:
    """The fault in its file; a folder for compiled loops where the fault may be in one of them."""
    file = copy / mutant.path
    source, stat = file.read_text(), file.stat()
    compiled = Path(tempfile.mkdtemp()) if "njit" in source else None
    file.write_text(mutant.applied(source))
    try:
        yield compiled
    finally:
        file.write_text(source)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        if compiled is not None:
            shutil.rmtree(compiled)


def check(copy: Path, package: str) -> None:
    """A file without a fault must survive, or every verdict would be void."""
    path = min(map(str, (copy / package).glob("*.py")))
    nothing = Mutant(Path(path).relative_to(copy).as_posix(), 1, 0, 0, "", "")
    if (found := fate(copy, nothing, 10)) != "survived":
        raise SystemExit(f"{nothing.path} without a fault was {found}: see that its tests pass first")


def fates(copy: Path, chosen: list[Mutant], budget_s: int) -> Iterator[Fate]:
    """What becomes of each, one line each."""
    for mutant in chosen:
        found = fate(copy, mutant, budget_s)
        print(f"{found:9} {mutant}", flush=True)
        yield found


def summary(package: str, found: list[Fate]) -> None:
    """One package's row."""
    from models.known import interval  # not before: a fork would have it from here, without its fault

    noticed = sum(one in ("killed", "hung") for one in found)
    low, high = interval(noticed, len(found))
    print(f"{package}: {noticed} of {len(found)} noticed, {noticed / len(found):.1%} ({low:.1%} to {high:.1%})")
    report.row(package, len(found), noticed, found.count("hung"), low, high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--count", type=int, default=50, help="mutants of each package")
    parser.add_argument(
        "--budget-s", type=int, default=60, help="no further file of tests after so much processor time"
    )
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=PACKAGES)
    report.option(parser)
    args = parser.parse_args()
    found: dict[str, list[Fate]] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for name in HEAVY:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        for package in args.packages:
            check(copy, package)
            found[package] = list(fates(copy, sample(copy, package, args.count, args.seed), args.budget_s))
    report.table(f"mutants, seed {args.seed}", "package", "mutants", "noticed", "of them hung", "low", "high")
    for package in args.packages:
        summary(package, found[package])
    report.write("mutants", args.json)


if __name__ == "__main__":
    main()
