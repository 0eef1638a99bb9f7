"""Draw docs/pictures/trace.png, all neuron layers of the motion model on a moving circle, and record it in shown.json.

python docs/make/draw_trace.py
"""

import hashlib
import json
from pathlib import Path

import spikesight
from spikesight.encoders.sources.samples import events_of

if __name__ == "__main__":
    pictures = Path(__file__).resolve().parents[1] / "pictures"
    events = events_of("circle")
    window, model = events[events["t"] < events["t"][0] + 330_000], spikesight.load("motions")
    model.trace(window, (128, 128)).figure().savefig(pictures / "trace.png", dpi=72)
    shown = json.loads((pictures / "shown.json").read_text())
    digest = hashlib.sha256((pictures / "trace.png").read_bytes()).hexdigest()
    shown["trace.png"] = {"says": model.predict(window, (128, 128)).label, "sha256": digest, "source": "circle"}
    (pictures / "shown.json").write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n")
