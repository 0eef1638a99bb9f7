"""Write docs/service/deploy/locked/: every Python package of the image with its version and its files' SHA-256.

    python .ci/lock.py       ask the package index (uv and a network are needed), and write the lists anew

The versions are those for the image's Python. No list says where files are from: that is pip's own setting.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKED = ROOT / "docs" / "service" / "deploy" / "locked"
PYTHON = "3.13"  # Debian 13's
OPTIONS = ("--universal", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--quiet")
TORCH = re.compile(r"torch|triton|nvidia-.*|cuda-.*")  # what PyTorch's build for processors alone comes without
BUILD = ("hatchling>=1.26", "ziglang>=0.14", "uv")  # what the stage with the compiler needs; uv finds that build
HEAD = "# Made by `make lock`.\n"


def compiled(*given: str, text: str = "") -> dict[str, str]:
    """Each package's lines by its name."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.in"
        wanted.write_text(text)
        command = ["uv", "pip", "compile", *OPTIONS, "--only-binary", ":all:", "--python-version", PYTHON, *given]
        done = subprocess.run([*command, *([wanted] if text else [])], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lock: {done.stderr.strip()}")
    entries = re.split(r"^(?=[a-z0-9])", done.stdout, flags=re.MULTILINE)[1:]
    return {re.split(r"[=\[ ]", entry, maxsplit=1)[0]: entry for entry in entries}


def main() -> None:
    """The lists: what every image has, what a GPU's and a cluster's have beside it, and what builds our wheel."""
    everything = compiled("--extra", "cluster", "pyproject.toml")
    with tempfile.TemporaryDirectory() as folder:
        same = Path(folder) / "same.txt"
        same.write_text("".join(everything.values()))
        plain = compiled("--constraint", str(same), "pyproject.toml")
    lists = {
        "requirements": {name: entry for name, entry in plain.items() if not TORCH.fullmatch(name)},
        "torch": {name: entry for name, entry in plain.items() if TORCH.fullmatch(name)},
        "cluster": {name: entry for name, entry in everything.items() if name not in plain},
        "build": compiled(text="\n".join(BUILD)),
    }
    LOCKED.mkdir(exist_ok=True)
    for name, entries in lists.items():
        (LOCKED / f"{name}.txt").write_text(HEAD + "".join(entries.values()))
        print(f"{name}.txt: {len(entries)} packages")


if __name__ == "__main__":
    main()
