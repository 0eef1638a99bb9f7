"""The stable names of this folder and their modules; each is imported at first use."""

from .binning import ToBins as ToBins
from .binning import bin_events as bin_events
from .emulator.pixels import Emulator as Emulator
from .emulator.pixels import PixelModel as PixelModel
from .emulator.saccades import saccades as saccades
from .events import SensorSize as SensorSize
from .events import as_events as as_events
from .image import IMAGE_ENCODERS as IMAGE_ENCODERS
from .recordings.files import read as read
from .recordings.files import write_recording as write_recording
from .sources.chunks import open_source as open_source
