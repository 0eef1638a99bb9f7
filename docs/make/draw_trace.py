"""docs/pictures/trace.png: every neuron layer of the motion model while a circle passes.

python docs/make/draw_trace.py
"""

from pathlib import Path

import spikesight
from spikesight.encoders.sources.samples import events_of

if __name__ == "__main__":
    events = events_of("circle")
    window = events[events["t"] < events["t"][0] + 330_000]
    trace = spikesight.load("motions").trace(window, (128, 128))
    trace.figure().savefig(Path(__file__).resolve().parents[1] / "pictures" / "trace.png", dpi=72)
