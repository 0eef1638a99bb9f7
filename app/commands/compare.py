"""`spikesight compare`: the seed paper as one command."""

import argparse
from dataclasses import fields, replace

from spikesight.training.compare.comparison import Comparison
from spikesight.training.compare.config import QUICK, CompareConfig
from spikesight.training.compare.report import write_report
from spikesight.training.flags import read_settings

DESCRIPTION = """Train an ANN and a spiking network of the same shape, convert the ANN in every way, train an STDP
layer, and write one report (report.html, report.md). An interrupted comparison goes on where it stopped.

  spikesight compare --data mnist --root DATA --quick
  spikesight compare --data cifar10 --root DATA --network cifar-resnet20 --weights resnet20.th --direct none"""


def configure(parser: argparse.ArgumentParser) -> None:
    """One flag a setting; lists are separated by commas, `none` is an empty one."""
    for name, setting in read_settings(CompareConfig).items():
        kind = type(setting.default)
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=str if kind is tuple else kind,
            default=None,
            help=f"{setting.help} (default {default_text(setting.default)})",
        )
    parser.add_argument(
        "--quick", action="store_true", help="minutes instead of hours: fewer images, methods and epochs"
    )


def default_text(default: object) -> str:
    """A default as the flag takes it."""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def listed(text: str, example: tuple[object, ...]) -> tuple[object, ...]:
    """A comma-separated list, of numbers where the example has numbers."""
    parts = [p.strip() for p in text.split(",") if p.strip() and p.strip() != "none"]
    return tuple(int(p) for p in parts) if example and isinstance(example[0], int) else tuple(parts)


def settings(args: argparse.Namespace) -> CompareConfig:
    """Defaults, then --quick, then the flags that were given."""
    config = replace(CompareConfig(), **QUICK) if args.quick else CompareConfig()
    for f in fields(CompareConfig):
        value = getattr(args, f.name)
        if value is not None:
            config = replace(config, **{f.name: listed(value, f.default) if isinstance(f.default, tuple) else value})
    return config


def run(args: argparse.Namespace) -> int:
    """Train, convert and report, or go on where a stopped comparison was; the exit code."""
    comparison = Comparison(settings(args))
    markdown, page = write_report(comparison.run(), comparison.folder)
    print(f"report: {page} and {markdown}")
    return 0
