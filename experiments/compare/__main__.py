"""The comparison of the seed paper as one command: `python -m experiments.compare`."""

import argparse
from collections.abc import Sequence
from typing import get_args

from experiments.compare.comparison import QUICK, CompareConfig, Comparison
from experiments.compare.report import write_report
from spikesight.training.flags import read_settings

DESCRIPTION = """Train an ANN and a spiking network of the same shape, convert the ANN in every way, train an STDP
layer, and write one report (report.html). An interrupted comparison goes on where it stopped.

  python -m experiments.compare --data mnist --root DATA --quick
  python -m experiments.compare --data cifar10 --network cifar-resnet20 --weights resnet20.th --direct none"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting; lists are separated by commas, `none` is an empty list."""
    for name, setting in read_settings(CompareConfig).items():
        kind, default = type(setting.default), setting.default
        if kind is tuple:
            kind = whole_numbers if get_args(setting.hint)[0] is int else listed
            default = ",".join(map(str, default))
        help_text = f"{setting.help} (default {default})"
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=argparse.SUPPRESS, help=help_text)
    parser.add_argument(
        "--quick", action="store_true", help="minutes instead of hours: fewer images, methods and epochs"
    )


def listed(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip() not in ("", "none"))


def whole_numbers(text: str) -> tuple[int, ...]:
    """Parse a comma-separated list of whole numbers."""
    return tuple(map(int, listed(text)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, convert and report, continuing an interrupted comparison."""
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    configure(parser)
    args = parser.parse_args(arguments)
    given = {name: value for name, value in vars(args).items() if name != "quick"}
    comparison = Comparison(CompareConfig(**{**(QUICK if args.quick else {}), **given}))
    print(f"report: {write_report(comparison.run(), comparison.folder)}")


if __name__ == "__main__":
    main()
