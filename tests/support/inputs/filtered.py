"""What a filter with windows keeps of a packet, and what it misses."""

import numpy as np

from spikesight.encoders.dvs import NO_TIMES, Times
from spikesight.encoders.events import Events, joined
from spikesight.encoders.roi.event_tracker import EventTracker
from spikesight.encoders.roi.input_filter import InputFilter


def kept_and_missed(by: InputFilter | EventTracker, events: Events) -> tuple[Events, Times]:
    """The events of all stretches of a packet that pass, and the times of those that were missed.

    Stretches follow each other, and the last one ends with the packet.
    """
    stretches = [(events[:0], NO_TIMES, int(events["t"][0]) if len(events) else 0), *by.stretches(events)]
    ends = [last for _, _, last in stretches]
    assert ends == sorted(ends)
    assert not len(events) or ends[-1] == events["t"][-1]
    return joined([kept for kept, _, _ in stretches]), np.concatenate([missed for _, missed, _ in stretches])
