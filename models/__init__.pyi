"""The stable names of this folder and their modules; each is imported at first use."""

from .checkpoint import NETWORK_KINDS as NETWORK_KINDS
from .checkpoint import load as load
from .checkpoint import save as save
from .classifier import Classifier as Classifier
from .contract import Card as Card
from .contract import CheckpointError as CheckpointError
from .contract import Contract as Contract
from .steps import Prediction as Prediction
