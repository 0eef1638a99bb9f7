"""Every command's flags as they are parsed: kind, type, default, count; the table is kept in flags.json beside."""

import argparse
from importlib import import_module
from pathlib import Path

from app import cli
from tests.support.kept import compare
from training.flags import SETTINGS

MODULES = (
    "app.commands.serve", "app.commands.predict", "app.commands.evaluate", "app.webcam.demo", "app.commands.train",
    "app.commands.teach", "app.commands.convert", "app.commands.compare", "app.commands.calibrate",
    "app.commands.export", "app.commands.models", "app.recordings.info", "app.recordings.label",
    "app.recordings.transcode", "app.recordings.play", "app.recordings.record", "app.recordings.emulate",
    "app.commands.cameras", "app.commands.doctor",
)  # fmt: skip


def flags_of(module: str) -> list[str]:
    """A line a flag; those that a training's settings bring are told by their own table."""
    parser = argparse.ArgumentParser()
    import_module(module).configure(parser)
    told_elsewhere = {"help", *(SETTINGS if module.endswith(".train") else ())}
    return [line_of(action) for action in parser._actions if action.dest not in told_elsewhere]


def line_of(action: argparse.Action) -> str:
    kind = type(action).__name__.strip("_").removesuffix("Action")
    values = {name: getattr(action, name) for name in ("type", "default", "const", "nargs", "required")}
    told = [f"{n}={getattr(v, '__name__', v)}" for n, v in values.items() if v is not None and v is not False]
    return " ".join([*(action.option_strings or [action.dest]), kind, *told])


def test_flags_are_what_they_were() -> None:
    assert tuple(module for module, _ in cli.COMMANDS.values()) == MODULES
    compare(Path(__file__).parent / "flags.json", {module: flags_of(module) for module in MODULES})
