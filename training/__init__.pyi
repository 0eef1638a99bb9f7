"""The names of this folder that are stable, and their homes; each is imported at first use."""

from .config import TrainConfig as TrainConfig
from .data.load import Data as Data
from .data.load import load_data as load_data
from .data.sets import DataError as DataError
from .run.evaluate import Evaluation as Evaluation
from .run.evaluate import evaluate as evaluate
from .run.fit import fit as fit
from .run.loop import TrainingError as TrainingError
