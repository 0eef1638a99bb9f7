"""The public names and their modules: what type checkers see, and what is imported at first use."""

from .encoders.events import SensorSize as SensorSize
from .encoders.recordings.files import Recording as Recording
from .encoders.recordings.files import read as read
from .encoders.recordings.files import write_recording as write_recording
from .encoders.recordings.format import RecordingError as RecordingError
from .encoders.sources.address import SourceError as SourceError
from .model import Model as Model
from .model import list_models as list_models
from .model import load as load
from .model import push_to_hub as push_to_hub
from .models.contract import CheckpointError as CheckpointError
from .models.steps import Prediction as Prediction
from .training.teach.teach import teach as teach
from .version import __version__ as __version__
