"""`spikesight teach`: learn one's own classes from few examples, as a linear head on a frozen network."""

import argparse
import json
from pathlib import Path
from shlex import quote
from typing import Any

DESCRIPTION = """\
Learn to tell the classes of a folder of recordings, from few of them, in seconds: a linear head on a frozen network.

  spikesight teach --data my_things --to runs/things         all recordings, <class>/<file> or another layout
  spikesight teach --data my_signs --to runs/signs --shots 5 five of each class, drawn at random
  spikesight evaluate runs/things another_day                and serve, predict, export, as any model

Short recordings, five or more a class, are learnt as wholes; of longer ones windows. First it tells the accuracy to
expect on another day: held-out sessions' where names or files' times tell several with every class."""


BY_DAYS = "record every class again another day, as <day>/<class>/<file>: then whole days are held out"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", required=True, metavar="FOLDER", help="recordings, in a layout that train-dvs takes")
    add("--to", required=True, type=Path, metavar="MODEL", help="the folder to write the model to")
    add("--shots", type=int, default=0, metavar="K", help="examples a class, at random; without, all")
    add("--seed", type=int, default=0, metavar="S", help="of that draw (default 0)")
    add("--features", default="things", metavar="MODEL", help="the frozen network: a name or folder (default things)")
    add("--layout", default="auto", choices=("auto", "classes", "sessions", "flat"), help="of the folder's names")
    add("--window-ms", type=int, default=0, help="length of an example; without, as suits the recordings")
    add("--skip-bad", action="store_true", help="go on without files that cannot be read; the card names them")
    add("--json", action="store_true", help="one line of JSON in place of sentences")


def run(args: argparse.Namespace) -> int:
    from spikesight.training.teach.teach import teach

    if min(args.shots, args.window_ms, args.seed) < 0:
        raise ValueError("--shots, --seed and --window-ms cannot be negative")
    options = {"features": args.features, "shots": args.shots, "seed": args.seed, "layout": args.layout}
    options |= {"window_ms": args.window_ms, "skip_bad": args.skip_bad}
    result = teach(args.data, args.to, **options)
    print(json.dumps(result) if args.json else _sentences(result))
    return 0


def _sentences(result: dict[str, Any]) -> str:
    from spikesight.training.run.baselines import sentences

    lines = [
        *result["notes"],
        *result["expected"],
        f"examples: {', '.join(f'{count} of {label}' for label, count in result['examples'].items())}",
        f"the head looks at the rates of {result['features']}" + " and of its input" * result["input"],
    ]
    lines += [*sentences(result["baselines"]), *result["advice"], *[BY_DAYS] * (result["held_out"] == "recordings")]
    lines.append(f"{result['model']}: try it with spikesight serve --model {quote(result['model'])}")
    return "\n".join(lines)
