"""Data sets by name or by folder: recordings are binned into uint8 frames and cached; images stay images."""

from spikesight.training.data.cache import bin_items
from spikesight.training.data.load import Data, list_data, load_data
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import DataError, Frames, Item

__all__ = ["Data", "DataError", "Frames", "Item", "bin_items", "list_data", "load_data", "read_item"]
