"""The `spikesight` command: one word a job. Each job is a module with `configure(parser)` and `run(args)`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from spikesight.models.native.memory import keep_memory

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "classify": {
        "serve": ("spikesight.app.commands.serve", "start the prediction service and the page"),
        "predict": ("spikesight.app.commands.predict", "classify images and recordings"),
        "evaluate": ("spikesight.app.commands.evaluate", "how often a model is right on a folder or a named set"),
        "webcam": ("spikesight.app.webcam.demo", "live predictions from a webcam, a video or a recording"),
    },
    "networks": {
        "train": ("spikesight.app.commands.train", "train a spiking classifier on recordings or images"),
        "teach": ("spikesight.app.commands.teach", "learn one's own classes from few recordings, in seconds"),
        "convert": ("spikesight.app.commands.convert", "turn a trained ANN into a spiking network"),
        "compare": ("spikesight.app.commands.compare", "direct training, conversion and STDP side by side: one report"),
        "calibrate": ("spikesight.app.commands.calibrate", "let a model say when it does not know, and how sure it is"),
        "export": (
            "spikesight.app.commands.export",
            "write a checkpoint for other runtimes, or as a page without a server",
        ),
        "models": ("spikesight.app.commands.models", "the networks that training knows, with their parameter counts"),
    },
    "recordings": {
        "info": ("spikesight.app.recordings.info", "what is in a recording of events"),
        "label": ("spikesight.app.recordings.label", "cut a recording into named pieces by hand"),
        "transcode": ("spikesight.app.recordings.transcode", "a recording from one format into another"),
        "play": ("spikesight.app.recordings.play", "a recording in the terminal, or as a network camera"),
        "record": ("spikesight.app.recordings.record", "a live event source into a file"),
        "emulate": ("spikesight.app.recordings.emulate", "images or a video into recordings of events"),
    },
    "installation": {
        "cameras": ("spikesight.app.commands.cameras", "event cameras and webcams that are plugged in"),
        "doctor": ("spikesight.app.commands.doctor", "look at this installation and say how to mend what is missing"),
    },
}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}
ALIASES = {"convert-events": "transcode"}  # names that commands had before
EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command's name and one line of help; a command's own flags are added when it is chosen."""
    parser = argparse.ArgumentParser(
        prog="spikesight",
        description="Event-based vision with spiking classifiers.",
        epilog=_listing(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="spikesight COMMAND [options]",
    )
    parser.add_argument("command", metavar="COMMAND", choices=tuple(COMMANDS), help=argparse.SUPPRESS)
    return parser


def _listing() -> str:
    lines = []
    for group, commands in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:12} {summary}" for name, (_, summary) in commands.items()), ""]
    return "\n".join([*lines, "spikesight COMMAND --help says more about each."])


def run_command(name: str, arguments: Sequence[str], prog: str) -> int:
    """Run one command; a mistake of the user's is one sentence and exit code 2, Ctrl-C is 130."""
    module_name, summary = COMMANDS[name]
    keep_memory()
    module = import_module(module_name)
    parser = argparse.ArgumentParser(
        prog=prog,
        description=getattr(module, "DESCRIPTION", summary),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    args = parser.parse_args(arguments)
    try:
        return module.run(args)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: nothing left to say
        sys.stderr.close()
        return EXIT_FAILURE
    except (ValueError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return EXIT_USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `spikesight`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = ALIASES.get(words[0], words[0]) if words else ""
    if name in COMMANDS:
        return run_command(name, words[1:], f"spikesight {name}")
    build_parser().parse_args(words or ["--help"])
    return EXIT_USAGE


def train_dvs(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `train-dvs`: the same as `spikesight train`."""
    return run_command("train", list(sys.argv[1:] if arguments is None else arguments), "train-dvs")
