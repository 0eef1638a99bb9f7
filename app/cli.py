"""The `spikesight` command. Each subcommand is a module with `configure(parser)` and `run(args)`."""

import argparse
import io
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

from spikesight.models.native.memory import keep_memory

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "classify": {
        "serve": ("commands.serve", "start the prediction service and the page"),
        "predict": ("commands.predict", "classify images and recordings"),
        "evaluate": ("commands.evaluate", "how often a model is right on a folder or a named set"),
        "webcam": ("webcam.demo", "live predictions from a webcam, a video or a recording"),
    },
    "networks": {
        "train": ("commands.train", "train a spiking classifier on recordings or images"),
        "teach": ("commands.teach", "learn one's own classes from few recordings, in seconds"),
        "convert": ("commands.convert", "turn a trained ANN into a spiking network"),
        "import": ("commands.import_network", "make a checkpoint of another library's network, from NIR"),
        "calibrate": ("commands.calibrate", "let a model say when it does not know, and how sure it is"),
        "export": ("commands.export", "write a checkpoint for other runtimes, or as a page without a server"),
        "models": ("commands.models", "the networks that training knows, with their parameter counts"),
    },
    "recordings": {
        "info": ("recordings.info", "what is in a recording of events"),
        "transcode": ("recordings.transcode", "a recording from one format into another"),
        "play": ("recordings.play", "a recording as a network camera"),
        "record": ("recordings.record", "a live event source into a file"),
        "emulate": ("recordings.emulate", "images or a video into recordings of events"),
    },
    "installation": {
        "cameras": ("commands.cameras", "event cameras and webcams that are plugged in"),
        "doctor": ("commands.doctor", "look at this installation and say how to mend what is missing"),
    },
}
"""Commands by topic: for each the module in this package, and a line of help."""
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}
ALIASES = {"train-dvs": "train"}  # other names for commands
EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser that lists all commands; a command's own flags are added by `run_command`."""
    from spikesight import __version__  # reads the installation's metadata, which no command needs

    lines = []
    for group, commands in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:12} {summary}" for name, (_, summary) in commands.items()), ""]
    parser = argparse.ArgumentParser(
        prog="spikesight",
        description="Event-based vision with spiking classifiers.",
        epilog="\n".join([*lines, "spikesight COMMAND --help says more about each."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="spikesight COMMAND [options]",
    )
    parser.add_argument("--version", action="version", version=f"spikesight {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=tuple(COMMANDS), help=argparse.SUPPRESS)
    return parser


def module_of(name: str) -> ModuleType:
    """Import and return a command's module."""
    return import_module(f"spikesight.app.{COMMANDS[name][0]}")


def run_command(name: str, arguments: Sequence[str], prog: str) -> int:
    """Run one command; return its exit code. An error of the user's is one sentence and code 2; Ctrl-C is 130."""
    keep_memory()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be of another encoding
    try:
        module, form = module_of(name), argparse.RawDescriptionHelpFormatter
        parser = argparse.ArgumentParser(prog=prog, description=module.DESCRIPTION, formatter_class=form)
        module.configure(parser)
        return module.run(parser.parse_args(arguments))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of the output has gone, as in `... | head`
        sys.stderr.close()
        return EXIT_FAILURE
    except (ValueError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return EXIT_USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `spikesight`: the entry point of the command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = ALIASES.get(words[0], words[0]) if words else ""
    if name in COMMANDS:
        return run_command(name, words[1:], f"spikesight {name}")
    if near := get_close_matches(name, COMMANDS):
        print(f"spikesight: there is no command {name!r}; did you mean {near[0]!r}?", file=sys.stderr)
        return EXIT_USAGE
    build_parser().parse_args(words or ["--help"])
    return EXIT_USAGE


def train_dvs(arguments: Sequence[str] | None = None) -> int:
    """Run `train-dvs`, the same as `spikesight train`: the entry point of the command."""
    return run_command("train", list(sys.argv[1:] if arguments is None else arguments), "train-dvs")
