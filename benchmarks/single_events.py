"""An answer after every single event: incremental updates of the engine against a whole time step for each event.

    python -m benchmarks.single_events [--root ../shared/data] [--count 10] [--bin-ms 2] [--rounds 5]

The shipped digit model classifies test recordings of N-MNIST, event by event; closing a bin counts as well. Both ways
give the same logits after every event.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import report
from benchmarks.common.timing import begin, paired, print_table
from spikesight.encoders.binning import cells_of, grid_for
from spikesight.models.classifier import Classifier
from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.engine.events import EventEngine
from spikesight.models.shipped import find
from spikesight.training.data.recordings import list_nmnist, read_item

Cells = NDArray[np.int32]


def bins_of(root: Path, count: int, size: tuple[int, int], bin_us: int) -> list[list[Cells]]:
    """Return the input cells of the events, bin by bin, of `count` evenly chosen test recordings."""
    items = list_nmnist(root).test
    recordings: list[list[Cells]] = []
    for n in np.linspace(0, len(items) - 1, count).astype(int):
        events, sensor = read_item(items[n])
        cells = cells_of(events, grid_for(sensor, size)).astype(np.int32)
        number = (events["t"] - events["t"][0]) // bin_us
        recordings.append(np.split(cells, np.searchsorted(number, np.arange(1, number[-1] + 1))))
    return recordings


def by_event(engine: Engine, shown: int, recordings: list[list[Cells]]) -> None:
    """Push every event to the engine and close every bin."""
    for bins in recordings:
        live = EventEngine(engine, shown)
        for cells in bins:
            for n in range(len(cells)):
                live.push(cells[n : n + 1])
            live.step()


def by_step(engine: Engine, shown: int, recordings: list[list[Cells]]) -> None:
    """Run a step on the current bin after every event; continue from the last step of each bin."""
    for bins in recordings:
        state = engine.initial_state()
        since = np.full(np.prod(engine.shape), shown)
        for cells in bins:
            x = torch.from_numpy((since + 1 < shown).astype(np.uint8)).view(1, 1, *engine.shape)
            lit = x.view(-1).numpy()
            result = engine.run(x, state)
            for cell in cells:
                lit[cell] = 1
                result = engine.run(x, state)
            since += 1
            since[cells] = 0
            state = result.state


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=report.ROOT.parent / "shared" / "data", help="where nmnist/ lies")
    parser.add_argument("--count", type=int, default=10, help="recordings")
    parser.add_argument("--bin-ms", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    begin(engine_status())
    model = Classifier.load(find("nmnist")).at(args.bin_ms)
    shape, shown = model.contract, model.contract.shown_bins
    engine = Engine(model.network, shape.height, shape.width)
    recordings = bins_of(args.root, args.count, (shape.height, shape.width), shape.bin_us)
    events = sum(len(cells) for bins in recordings for cells in bins)
    base = "a whole step for each event"
    timings = paired(
        {
            base: lambda: by_step(engine, shown, recordings),
            "event by event": lambda: by_event(engine, shown, recordings),
        },
        base,
        args.rounds,
    )
    microseconds = {name: timing._replace(milliseconds=timing.milliseconds * 1e3) for name, timing in timings.items()}
    title = (
        f"An answer after every event, nmnist at {args.bin_ms} ms, {events} events of {args.count} N-MNIST recordings"
    )
    print_table(title, microseconds, base, per=events, unit="us an event")
    report.write("single_events", args.json)


if __name__ == "__main__":
    main()
