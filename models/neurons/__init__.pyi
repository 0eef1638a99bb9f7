"""The stable names of this folder and their modules; each is imported at first use."""

from .config import CLIF as CLIF
from .config import PAPER_LIF as PAPER_LIF
from .config import PLIF as PLIF
from .config import NeuronConfig as NeuronConfig
from .layers import NEURONS as NEURONS
from .layers import Neuron as Neuron
from .layers import make_neuron as make_neuron
from .layers import name_states as name_states
from .state import State as State
from .surrogate import SURROGATES as SURROGATES
