"""The `spikesight` command: one word a job. Each job is a module with `configure(parser)` and `run(args)`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from models.native.memory import keep_memory

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("app.commands.serve", "start the prediction service and the page"),
    "train": ("app.commands.train", "train a spiking classifier on recordings or images"),
    "models": ("app.commands.models", "the networks that training knows, with their parameter counts"),
    "compare": ("app.commands.compare", "direct training, conversion and STDP side by side: one report"),
    "convert": ("app.commands.convert", "turn a trained ANN into a spiking network"),
    "predict": ("app.commands.predict", "classify images and recordings"),
    "webcam": ("app.webcam.demo", "live predictions from a webcam, a video or a recording"),
    "export": ("app.commands.export", "write a checkpoint as ONNX or torch.export, for other runtimes"),
    "doctor": ("app.commands.doctor", "look at this installation and say how to mend what is missing"),
    "info": ("app.recordings.info", "what is in a recording of events"),
    "convert-events": ("app.recordings.transcode", "a recording from one format into another"),
    "play": ("app.recordings.play", "a recording in the terminal, or as a network camera"),
    "record": ("app.recordings.record", "a live event source into a file"),
    "emulate": ("app.recordings.emulate", "images or a video into recordings of events"),
}
EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command's name and one line of help; a command's own flags are added when it is chosen."""
    parser = argparse.ArgumentParser(prog="spikesight", description="Event-based vision with spiking classifiers.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


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
    if words and words[0] in COMMANDS:
        return run_command(words[0], words[1:], f"spikesight {words[0]}")
    build_parser().parse_args(words or ["--help"])
    return EXIT_USAGE


def train_dvs(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `train-dvs`: the same as `spikesight train`."""
    return run_command("train", list(sys.argv[1:] if arguments is None else arguments), "train-dvs")


if __name__ == "__main__":
    sys.exit(main())
