"""How large the project is, in lines that hold code: comments, docstrings and blank lines cost nothing.

python -m tests.support.sizes                  each package, and the budget's rows
python -m tests.support.sizes --since REVISION the difference to an earlier commit
"""

import argparse
import dataclasses
import io
import subprocess
import tarfile
import tempfile
import token
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCT = ("spikesight", "encoders", "models", "training", "service", "app")
OTHERS = ("benchmarks", "corpora", "docs", "experiments", "tests")
RAW = {".js", ".css", ".html", ".c", ".h", ".cpp"}
LAYOUT = {token.NL, token.NEWLINE, token.INDENT, token.DEDENT, token.ENCODING, token.ENDMARKER, token.COMMENT}
BEGINS = LAYOUT - {token.NL, token.COMMENT, token.ENDMARKER}


def code_lines(path: Path) -> int:
    """Return how many lines of a Python file hold code; a string that stands alone is a docstring."""
    lines, last = set[int](), token.NEWLINE
    for one in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if one.type in LAYOUT:
            last = one.type if one.type in BEGINS else last
            continue
        if not (one.type == token.STRING and last in BEGINS):
            lines |= set(range(one.start[0], one.end[0] + 1))
        last = one.type
    return len(lines)


def files(folder: Path) -> Iterator[Path]:
    """Yield a folder's files; links and caches are passed over."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_symlink() or path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def sizes(root: Path = ROOT) -> Counter[str]:
    """Return lines of code by package, raw lines of the page with C and C++, and words of Markdown, below `root`."""
    found = Counter[str]()
    for folder in PRODUCT + OTHERS:
        for path in files(root / folder):
            if path.suffix == ".py":
                found[folder] += code_lines(path)
            elif path.suffix in RAW and folder in PRODUCT:
                found["page, C, C++"] += len(path.read_bytes().splitlines())
            elif path.suffix == ".md":
                found["words"] += len(path.read_text(encoding="utf-8").split())
    found["words"] += sum(len(path.read_text(encoding="utf-8").split()) for path in root.glob("*.md"))
    found["product"] = sum(found[folder] for folder in PRODUCT)
    return found


def settings() -> dict[str, int]:
    """Return how many settings a training and the service have."""
    from spikesight.service.settings import Settings
    from spikesight.training.config import TrainConfig

    return {"training": len(dataclasses.fields(TrainConfig)), "service": len(Settings.model_fields)}


def sizes_at(revision: str) -> Counter[str]:
    """Return `sizes` of a commit."""
    packed = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        return sizes(Path(folder))


def main() -> None:
    """Print the sizes, or what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--since", metavar="REVISION", help="the commit to compare with")
    args = parser.parse_args()
    now, then = sizes(), sizes_at(args.since) if args.since else Counter[str]()
    for name, size in now.items():
        print(f"{name:14} {size:7}" + (f" {size - then[name]:+7}" if args.since else ""))


if __name__ == "__main__":
    main()
