"""Plain values for the state of a stream's parts: arrays and numbers by name, copied, never shared with the part.

A state that is restored may come from anyone, so each part checks type, shape, dtype and range; NaN is always rejected.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = dict[str, Any]
"""A state: arrays, numbers and None by name."""

FAR_US = 1 << 61  # largest absolute time that a state may hold


def under(name: str, values: Values) -> Values:
    """Return a part's values with `name.` prefixed to their names."""
    return {f"{name}.{key}": value for key, value in values.items()}


def part(name: str, values: Values) -> Values:
    """Return the values whose names begin with `name.`, without this prefix: the inverse of `under`."""
    begin = f"{name}."
    return {key.removeprefix(begin): value for key, value in values.items() if key.startswith(begin)}


def integer(value: Any, low: int = 0, high: int = 2**53) -> int:
    """Return `value`, an int in [low, high]. Raises ValueError for anything else, including a bool."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError("a number of the stream is none, or out of range")
    return value


def time_us(value: Any) -> int:
    """Return `value`, a time in microseconds as an int within FAR_US of zero. Raises ValueError for anything else."""
    return integer(value, -FAR_US, FAR_US)


def real(value: Any, low: float, high: float) -> float:
    """Return `value`, a float in [low, high]. Raises ValueError for anything else, including an int."""
    if type(value) is not float or not low <= value <= high:
        raise ValueError("a number of the stream is none, or out of range")
    return value


def flag(value: Any) -> bool:
    """Return `value`, a bool. Raises ValueError for anything else."""
    if type(value) is not bool:
        raise ValueError("a yes or no of the stream is neither")
    return value


def array(value: Any, shape: tuple[int, ...], dtype: Any, low: float = 0, high: float = 1) -> NDArray[Any]:
    """Return a copy of an array of this shape and dtype with elements in [low, high]. Raises ValueError otherwise."""
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != np.dtype(dtype):
        raise ValueError("an array of the stream is none, or of another size")
    if not ((low <= value) & (value <= high)).all():
        raise ValueError("an array of the stream is out of range")
    return value.copy()
