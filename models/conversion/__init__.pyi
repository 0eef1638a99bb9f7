"""The stable names of this folder and their modules; each is imported at first use."""

from .ann_to_snn import convert as convert
from .methods import METHODS as METHODS
from .methods import Method as Method
from .simulate import Curve as Curve
from .simulate import curve as curve
