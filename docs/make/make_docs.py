"""Write what is generated in the documents, each from one place:

docs/python.ipynb, docs/notebooks/  docs/python.md, docs/make/notebooks/
tables in pages                     training/results/, benchmarks/results/, models/shipped/, the marks of tests

A table stands between `<!-- table NAME -->` and `<!-- end -->`. With --check, only say what is out of date.
"""

import argparse
import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[0]))  # this folder is no package
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))
import notebook

from experiments import board as leaderboard
from spikesight.models.checkpoint import read_config
from spikesight.models.shipped import shipped
from spikesight.models.statistics import interval

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/paper.md", "docs/results/results.md", "docs/service/security.md")
MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
RUNS = (
    ("N-MNIST, a shorter training, seeds 0 to 2", "nmnist-short", "nmnist"),
    ("MNIST, T = 4, seeds 0 to 2", "mnist-four", "mnist_four"),
    ("Fashion-MNIST, T = 4", "fashion-direct", "fashion_direct"),
    ("the same network as an ANN", "fashion-ann", "fashion_ann"),
    ("CIFAR-10 in JPEG, T = 4", "cifar-direct", "cifar_direct"),
    ("the same network as an ANN", "cifar-ann", "cifar_ann"),
)
"""Rows of trainings that are not shipped: what, folder of training/results/, recipe."""


class Speed(NamedTuple):
    """A row of the table of speed: what, the benchmark, its table, the row of it, and the ratio's column."""

    what: str
    benchmark: str
    table: str
    row: str
    column: str


SWEEP, JELLY = "resnet18, T = 4, 3x224x224, neurons fire at {}%", "times SpikingJelly multi-step"
SPEED = (
    *(
        Speed(f"ResNet-18 at {rate} % firing, {name}, over SpikingJelly", "engine", SWEEP.format(rate), row, JELLY)
        for rate in (7, 30)
        for name, row in (("our engine", "engine"), ("OpenVINO in int8", "OpenVINO int8"))
    ),
    Speed("a step of 1 stream of an earlier `nmnist`, over PyTorch", "engine", "nmnist: one step of 1 stream(s)",
          "engine", "times network (torch)"),
    Speed("a step of 32 streams of it, over PyTorch", "engine", "nmnist: one step of 32 stream(s)", "engine",
          "times network (torch)"),
    Speed("a LIF layer, forward and backward, over SpikingJelly", "neurons",
          "[16, 32, 64, 32, 32] float32, forward + backward", "fused (ours)", JELLY),
    Speed("a training step of SEW ResNet-18, over its ANN's", "training",
          "training step, SEW ResNet-18, T = 4, 8 x 3 x 32 x 32", "ours", "times ANN on the same images"),
    Speed("a million events into bins, over Tonic", "events", "bin 1 M events into 10x2x128x128",
          "tonic to_frame_numpy (safe form)", "ours over it"),
    Speed("reading EVT 3, over `evt3`", "events", "read 3 M events, evt3", "evt3", "ours over it"),
)  # fmt: skip
MACHINES = ("AMD EPYC (family 25, model 17)", "Intel(R) Xeon(R) Processor (family 6, model 207)")
UNKNOWN = (
    ("nmnist", "noise at 12 Hz a pixel"), ("nmnist", "people and traffic, filmed"),
    ("nmnist", "photographs by saccades"),
    ("nmnist", "letters (learnt)"), ("nmnist", "half digits (learnt)"), ("nmnist", "Greek and Cyrillic letters"),
    ("mnist-direct", "photographs"), ("mnist-direct", "letters (learnt)"),
    ("mnist-direct", "arrows and pictograms"), ("motions", "people and traffic, filmed"),
)  # fmt: skip
"""Rows of the table of inputs that have no right answer: model, input."""


def results(name: str) -> Any:
    """Read a JSON file of training/results/."""
    return json.loads((ROOT / "training" / "results" / name).read_text())


def measured(benchmark: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (processor, table) of all that a benchmark stored."""
    for path in sorted(ROOT.glob(f"*/results/{benchmark}-*.json")):
        found = json.loads(path.read_text())
        yield from ((found["processor"], table) for table in found["tables"])


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def head(*titles: str) -> list[str]:
    return [line(*titles), "|---" * len(titles) + "|"]


def percent(correct: int, count: int) -> str:
    """A share with Wilson's interval: in per cent beyond a thousand samples, else as a count."""
    low, high = (f"{100 * side:.1f}" for side in interval(correct, count))
    share = f"{100 * correct / count:.2f} %" if count > 1000 else f"{correct} of {count}"
    return f"{share} ({low} to {high})"


def models() -> Iterator[str]:
    """The shipped models, by their own cards."""
    yield from head("model", "accuracy (as shown), 95 %", "top-1 accuracy")
    for name, folder in shipped().items():
        test = read_config(folder)[2].metrics["test"]
        both = (percent(one["correct"], one["count"]) if one else "" for one in (test, test.get("best_guess")))
        yield line(f"[`{name}`](models/shipped/{name}/README.md)", *both)


SAME = tuple(f"nmnist: nmnist at {bin_ms} ms" for bin_ms in (10, 5, 2))
"""Rows with the accuracy of the shortest bin; results.csv has them."""


def digits() -> Iterator[str]:
    """The shipped digit model on real recordings, on other cameras, and beside its baselines."""
    yield from head("what", "accuracy (as shown)", "top-1 accuracy, 95 % interval")
    rows = [row for row in leaderboard.rows() if row["figures"]]
    for row in (row for row in rows if row["name"].startswith("nmnist:") and row["name"] not in SAME):
        yield line(row["name"].removeprefix("nmnist: "), shown(row), percent(*counts(row["figures"])))
    stream = results("nmnist/result.json")["stream"]
    carried = round(stream["carried"] * stream["count"])
    yield line("nmnist, all recordings as one stream that is never reset", "", percent(carried, stream["count"]))
    yield line("nmnist, five *emulated* other cameras, 50 recordings each", "", percent(*emulated()))
    for row in (row for row in rows if row["name"].startswith("mnist-dvs:")):
        what = "nmnist, **a real other camera**: DVS128, recordings of MNIST-DVS"
        yield line(what, shown(row), percent(*counts(row["figures"])))


def shown(row: dict[str, Any]) -> str:
    """How many answers of a row are right as a user sees them; empty for methods that refuse nothing."""
    figures = row["figures"]
    return f"{figures['right'] * figures['count']:.0f} of {figures['count']}" if "right" in figures else ""


def counts(figures: dict[str, Any]) -> tuple[int, int]:
    """Right answers and windows of a row of the board."""
    return round(figures["accuracy"] * figures["count"]), figures["count"]


def emulated() -> tuple[int, int]:
    """Right answers and recordings before emulated other cameras."""
    table = next(table for _, table in measured("shifts") if table["title"] == "Other cameras: digits, as shipped")
    rows = [row for row in table["rows"] if row[0] in ("dvs128", "davis346", "genx320", "imx636", "speck")]
    count = sum(row[1] for row in rows)
    return round(sum(row[1] * row[2] for row in rows) / 100), round(count)


def runs() -> Iterator[str]:
    """Trainings that are not shipped, their seeds side by side."""
    yield from head("what", "T", "top-1 accuracy, seeds 0, 1, 2", "firing, %", "recipe")
    for what, folder, recipe in RUNS:
        names = ("result.json", "result-seed-1.json", "result-seed-2.json")
        tests = [results(f"{folder}/{name}")["test"] for name in names]
        rates = [100 * np.mean(list(test["firing_rates"].values())) for test in tests]
        firing = "" if folder.endswith("-ann") else ", ".join(f"{rate:.1f}" for rate in rates)
        right = "; ".join(percent(test["correct"], test["count"]) for test in tests)
        yield line(what, len(tests[0]["accuracy_by_step"]), right, firing, f"`{recipe}`")


SHIFTS = (
    "none", "noise, 20 Hz a pixel", "80% of the events lost", "speed, 4 times", "rotation, 20 degrees",
    "rotation, 30 degrees", "rotation, 45 degrees", "mirrored",
)  # fmt: skip
"""Rows of the table of shifts: those under which a stream raises the alarm; the file has more."""


def shifts() -> Iterator[str]:
    """The digit model's commitments under shifts, with and without the alarm."""
    yield from head(
        "shift", "right, %", "right with the alarm, %", "wrong, %", "wrong with the alarm, %",
        "streams with an alarm", "alarm after, s",
    )  # fmt: skip
    (table,) = (table for _, table in measured("shifts") if table["title"] == "Commitments under shifts: recordings")
    for name, things, right, kept, wrong, before, streams, alarms, after in table["rows"]:
        if name not in SHIFTS:
            continue
        shares = (f"{100 * each / things:.0f}" for each in (right, kept))
        bounds = (wilson(each, things) for each in (wrong, before))
        when = after if after == "-" else f"{after:.0f}"
        yield line(name.replace("%", " %"), *shares, *bounds, f"{alarms:g} of {streams:g}", when)


def wilson(correct: float, count: float) -> str:
    """A share in per cent with Wilson's interval."""
    low, high = (f"{100 * side:.1f}" for side in interval(round(correct), round(count)))
    return f"{100 * correct / count:.1f} ({low} to {high})"


def unknown() -> Iterator[str]:
    """Inputs without a right answer: AUROC of the in-distribution score, and the false label rate."""
    yield from head("model", "input", "count", "AUROC", "false label rate, %")
    rows: dict[tuple[str, str], list[Any]] = {}
    for _, table in (*measured("unknown"), *measured("real_input")):
        model, _, rest = table["title"].partition(": ")
        if rest in ("what has none", "what lies near digits and is none"):
            for row in table["rows"]:
                rows.setdefault((model, row[0]), row)
    for model, what in UNKNOWN:
        _, _, count, auroc, _, labelled = rows[model, what]
        yield line(f"`{model}`", what, count, f"{auroc:.3f}", f"{labelled:.0f}")


IN_ANY_MOTION = (
    "N-MNIST, noise 20 Hz a pixel", "N-MNIST, speed 4 times", "N-MNIST, rotation 30 degrees",
    "motion: drift", "motion: circle", "OpenCV's print, any motion",
    "MNIST-DVS, whole sensor", "MNIST-DVS, on the box of what is active",
)  # fmt: skip
"""Rows of the table of digits in any motion."""


def any_motion() -> Iterator[str]:
    """The digit model in motions, before sensors and on things of the corpus and others."""
    yield from head("what", "samples", "right as shown (95 %)", "wrong", "top-1 right")
    (table,) = (table for _, table in measured("digits"))
    rows = {row[0]: row[1:] for row in table["rows"]}
    for what in IN_ANY_MOTION:
        _, count, right, wrong, guessed, low, high = rows[what]
        yield line(what, count, f"{right:g} ({low:.0f} to {high:.0f})", f"{wrong:g}", f"{guessed:g}")


def in_films() -> Iterator[str]:
    """The digit model before films of one digit, of several and of none, seen as events and as frames."""
    yield from head("films", "as events", "as frames")
    found = defaultdict[str, dict[str, str]](dict)
    for _, table in measured("finding"):
        for row in table["rows"]:
            if table["title"].startswith("clips"):
                what, seen, _, _, count, right, low, high = row
                found[what][seen] = f"{count * right / 100:.0f} of {count} ({low:.0f} to {high:.0f} %)"
            elif table["title"].startswith("films"):
                what, seen, count, right, _, low, high, false = row
                if what.startswith("none"):
                    found[what][seen] = f"{low:.1f} %"
                elif "IDF1" in what:
                    found[what][seen] = f"{low:.0f}"
                else:
                    found[what][seen] = f"{right} of {count} ({low:.0f} to {high:.0f} %)"
                    if false != "":
                        found[f"{what}: false boxes per step"][seen] = f"{false:.2f}"
    for what, of in found.items():
        yield line(PLAIN.get(what, what), of["events"], of["frames"])


TWINS = ("SNN (LIF), ten frames", "ANN (ReLU), ten frames", "ANN (ReLU), one frame")
SHORT = (*TWINS[:2], "RBF kernel on log counts")
"""Columns of the table of twins, as experiments/twin names them: of long runs, of short ones."""
ASKED = (
    "N-MNIST", "N-MNIST, speed 4 times", "MNIST-DVS, on its box",
    "made, motions of the training", "made, OpenCV's print", "no digit, told from digits (AUROC)",
    "signed words, 5 a class", "two things, day 1 to 2, 5 a class", "MNIST-DVS, 1 a class",
)  # fmt: skip
"""Its rows; the file has more."""
PLAIN = {
    "no digit, told from digits (AUROC)": "digits against non-digits, AUROC in %",
    "made, motions of the training": "synthetic, motions of the training",
    "made, OpenCV's print": "synthetic, OpenCV's print",
    "two things, day 1 to 2, 5 a class": "two objects, day 1 to 2, 5 a class",
    "as the tip asks": "digit on a large, evenly lit sheet, moved little",
}
"""Rows that a page names otherwise than the benchmark's file."""


def twins() -> Iterator[str]:
    """One network trained as SNN and as ANN, long and shortly: right answers, operations and time."""
    long, short = ({table["title"]: table["rows"] for _, table in measured(name)} for name in ("twinlong", "twin"))
    yield from head(
        "what", "SNN, 6,000 steps", "ANN, ten frames, 3,000", "ANN, one frame, 3,000", "SNN, 250 steps",
        "ANN, ten frames, 250", "RBF kernel",
    )  # fmt: skip
    both = []
    for tables in (long, short):
        rows: dict[str, dict[str, list[Any]]] = {}
        for what, name, *figures in tables["right, %"]:
            rows.setdefault(what, {})[name] = figures
        both.append(rows)
    for what in ASKED:
        far, near = (rows[what] for rows in both)
        gaps = ["{2:.1f}, {4:+.1f} ({5:+.1f} to {6:+.1f})".format(*far[name]) for name in TWINS[1:]]
        spread = [f"{near[n][2]:.1f}±{near[n][3]:.1f}" if n in near else "" for n in SHORT]
        yield line(PLAIN.get(what, what), f"{far[TWINS[0]][2]:.1f}", *gaps, *spread)
    for n, what in ((1, "M multiply-adds"), (2, "M additions"), (4, "uJ, counted")):
        far, near = ([f"{row[n] / (1 if n == 4 else 1e6):.3g}" for row in t[OPERATIONS]] for t in (long, short))
        yield line(what, *far, *near[:2], "")
    ((_, timed),) = measured("twintimes")
    spent = dict(timed["rows"])
    for program in ("our engine", "ONNX Runtime int8", "OpenVINO int8"):
        found = (spent.get(f"{name}: {program}") for name in TWINS)
        yield line(f"ms, {program}", *("" if ms is None else f"{ms:.2g}" for ms in found), "", "", "")


OPERATIONS = "a window of N-MNIST: operations"


def speed() -> Iterator[str]:
    """Ratios of time, each from one run; above 1 the first is faster."""
    yield from head("ratio of speeds", *MACHINES)
    for one in SPEED:
        found = {}
        for machine, table in measured(one.benchmark):
            at = table["columns"].index(one.column) if one.column in table["columns"] else 0
            for row in table["rows"] if table["title"] == one.table and at else ():
                if row[0] == one.row and len(row) > at + 2:
                    found[machine] = f"{row[at]:.2f} ({row[at + 1]:.2f} to {row[at + 2]:.2f})"
        yield line(one.what, *(found.get(machine, "") for machine in MACHINES))


def attacks() -> Iterator[str]:
    """A line for each group of attacks, from the marks `@pytest.mark.attack(group, what, answer)` of tests."""
    groups: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.attack":
                    group, what, _answer = map(ast.literal_eval, mark.args)
                    groups.setdefault(group, []).append(what)
    for group, found in sorted(groups.items()):
        yield f"- **{group}**: {'; '.join(found)}."


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "models": models,
    "digits": digits,
    "runs": runs,
    "shifts": shifts,
    "unknown": unknown,
    "any-motion": any_motion,
    "films": in_films,
    "speed": speed,
    "twins": twins,
    "attacks": attacks,
}


def page(name: str) -> str:
    """A page with its tables written anew."""

    def made(found: re.Match[str]) -> str:
        return found[1] + "\n".join(TABLES[found[2]]()) + "\n" + found[3]

    return MARKED.sub(made, (ROOT / name).read_text())


GENERATED: dict[str, Callable[[], str]] = {
    **{name: partial(page, name) for name in PAGES},
    **{f"docs/{name}": partial(notebook.page, name) for name in notebook.SOURCES},
}


def main() -> int:
    """Write the files, or check them; return 1 if --check finds one out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the files are up to date")
    check, stale = parser.parse_args().check, 0
    for name, made in GENERATED.items():
        path, text = ROOT / name, made()
        if path.is_file() and path.read_text() == text:
            continue
        stale = 1
        print(f"{name} is out of date" if check else f"wrote {name}")
        if not check:
            path.write_text(text)
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main())
