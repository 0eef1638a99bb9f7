"""The state of a part of a stream, as a value: arrays and numbers by name, none shared with it.

What comes back may be anybody's, so every part checks it as it takes it: type, shape, dtype and range. NaN is in none.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = dict[str, Any]
"""Arrays, numbers and None by name."""

FAR_US = 1 << 61  # no time that a stream carries is further from zero


def under(name: str, values: Values) -> Values:
    """The values of a part, their names prefixed by that of the part."""
    return {f"{name}.{key}": value for key, value in values.items()}


def part(name: str, values: Values) -> Values:
    """The values of a part, under its own names: the inverse of `under`."""
    begin = f"{name}."
    return {key.removeprefix(begin): value for key, value in values.items() if key.startswith(begin)}


def integer(value: Any, low: int = 0, high: int = 2**53) -> int:
    """An integer in [low, high]. Raises ValueError for anything else, a bool too."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError("a number of the stream is none, or out of range")
    return value


def time_us(value: Any) -> int:
    """A time in microseconds. Raises ValueError."""
    return integer(value, -FAR_US, FAR_US)


def real(value: Any, low: float, high: float) -> float:
    """A float in [low, high]. Raises ValueError for anything else."""
    if type(value) is not float or not low <= value <= high:
        raise ValueError("a number of the stream is none, or out of range")
    return value


def flag(value: Any) -> bool:
    """A bool. Raises ValueError for anything else."""
    if type(value) is not bool:
        raise ValueError("a yes or no of the stream is neither")
    return value


def array(value: Any, shape: tuple[int, ...], dtype: Any, low: float = 0, high: float = 1) -> NDArray[Any]:
    """A copy of an array of this shape and dtype, all within [low, high]. Raises ValueError for anything else."""
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != np.dtype(dtype):
        raise ValueError("an array of the stream is none, or of another size")
    if not ((low <= value) & (value <= high)).all():
        raise ValueError("an array of the stream is out of range")
    return value.copy()
