"""Build what a release consists of and check it; nothing is published.

    python .ci/release.py          the source distribution and the wheel of every system into dist/, checked
    python .ci/release.py NAME     of these systems alone, such as linux-x86_64

Every wheel is opened and compared with what it promises; the one of this machine is installed in a fresh environment
and serves (check_wheel.py). dist/SHA256SUMS is for whoever fetches them.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

from spikesight.encoders.native.targets import SYSTEMS

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
MACHINES = {  # how a library of each system begins
    "linux-x86_64": lambda head: head[:4] == b"\x7fELF" and head[18:20] == b"\x3e\0",
    "linux-arm64": lambda head: head[:4] == b"\x7fELF" and head[18:20] == b"\xb7\0",
    "macos-arm64": lambda head: head[:8] == bytes.fromhex("cffaedfe0c000001"),
    "macos-x86_64": lambda head: head[:8] == bytes.fromhex("cffaedfe07000001"),
}
FOREIGN = re.compile(r"^(?!spikesight/|spikesight-[^/]+\.dist-info/)|/__pycache__/|\.pyc$")


def version() -> str:
    """The one in pyproject.toml, which CHANGELOG.md and CITATION.cff must name as well."""
    number = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, wanted in (("CHANGELOG.md", f"\n## {number} "), ("CITATION.cff", f"\nversion: {number}\n")):
        if wanted not in (ROOT / name).read_text():
            sys.exit(f"release: {name} does not speak of version {number}")
    return number


def check_clean() -> None:
    """A release is made of what is committed."""
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    if changed.stdout.strip():
        sys.exit(f"release: commit or remove first:\n{changed.stdout}")


def build(kind: str, system: str = "") -> Path:
    """One file in dist/."""
    print(f"Building the {kind} {system}".rstrip(), flush=True)
    before = set(DIST.glob("*"))
    environment = os.environ | ({"SPIKESIGHT_WHEEL": system} if system else {})
    command = [sys.executable, "-m", "build", f"--{kind}", "--outdir", DIST]
    if subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"release: the {kind} {system} could not be built")
    (made,) = set(DIST.glob("*")) - before
    return made


def check_wheel(path: Path, system: str, number: str) -> None:
    """Its name, its kernels for every instruction set, its models whole, and nothing that is not for users."""
    assert path.name == f"spikesight-{number}-py3-none-{SYSTEMS[system].tag}.whl", path.name
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        names = wheel.namelist()
        stray = [name for name in names if FOREIGN.search(name)]
        assert not stray, stray
        kernels = {Path(name).stem: wheel.read(name) for name in names if "/prebuilt/" in name}
        assert set(kernels) == set(SYSTEMS[system].isas), set(kernels)
        assert all(MACHINES[system](library) for library in kernels.values())
        metadata = wheel.read(f"spikesight-{number}.dist-info/METADATA").decode()
        assert f"\nVersion: {number}\n" in metadata
        for config in sorted(ROOT.glob("models/shipped/*/config.json")):
            for file in config.parent.glob("*.*"):
                assert wheel.read(f"spikesight/{file.relative_to(ROOT).as_posix()}") == file.read_bytes(), file


def check_source(path: Path, number: str) -> None:
    """It holds what a wheel is built from, and says whose it is."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "pyproject.toml",
        "LICENSE",
        "README.md",
        ".ci/hatch_build.py",
        "encoders/native/kernels/encoders.cpp",
        "models/native/kernels/engine/engine.cpp",
    }
    assert path.name == f"spikesight-{number}.tar.gz"
    assert needed <= names, needed - names


def main() -> None:
    """All of it, or the systems named."""
    systems = sys.argv[1:] or list(SYSTEMS)
    if unknown := set(systems) - set(SYSTEMS):
        sys.exit(f"release: no system {unknown.pop()}; choose from {', '.join(SYSTEMS)}")
    number = version()
    check_clean()
    DIST.mkdir(exist_ok=True)
    for old in DIST.iterdir():
        old.unlink()
    source = build("sdist")
    check_source(source, number)
    made = [source]
    for system in systems:
        made.append(build("wheel", system))
        check_wheel(made[-1], system, number)
    subprocess.run([sys.executable, ROOT / ".ci" / "check_wheel.py"], check=True)
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (DIST / "SHA256SUMS").write_text(sums)
    print(f"{sums}All checked; nothing was published.")


if __name__ == "__main__":
    main()
