"""The stable names of this folder and their modules; each is imported at first use."""

from .engine import Engine as Engine
from .engine import EngineResult as EngineResult
from .engine import can_run as can_run
from .engine import engine_status as engine_status
from .engine import why_not as why_not
