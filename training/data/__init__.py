"""Data sets by name or by folder: recordings become binned uint8 frames in a cache, images stay images."""

from spikesight.training.data.cache import bin_items, shown_images
from spikesight.training.data.check import DataReport, check_data, check_sets
from spikesight.training.data.emulated import emulate_mnist
from spikesight.training.data.folders import Folder, Take, read_folder
from spikesight.training.data.images import IMAGES, list_pictures, read_idx
from spikesight.training.data.load import DATA_NAMES, list_data, load_data, resolve
from spikesight.training.data.own import list_own
from spikesight.training.data.recordings import RECORDED, list_folder, list_nmnist, read_item
from spikesight.training.data.sets import Data, DataError, Frames, ImageSet, Item, Listing, held_out, split_indices

__all__ = [
    "DATA_NAMES",
    "IMAGES",
    "RECORDED",
    "Data",
    "DataError",
    "DataReport",
    "Folder",
    "Frames",
    "ImageSet",
    "Item",
    "Listing",
    "Take",
    "bin_items",
    "check_data",
    "check_sets",
    "emulate_mnist",
    "held_out",
    "list_data",
    "list_folder",
    "list_nmnist",
    "list_own",
    "list_pictures",
    "load_data",
    "read_folder",
    "read_idx",
    "read_item",
    "resolve",
    "shown_images",
    "split_indices",
]
