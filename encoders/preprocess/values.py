"""Plain values for the state of a stream's parts: arrays and numbers by name, copied, never shared with the part.

A state that is restored may come from anyone, so each part checks type, shape, dtype and range; NaN is always rejected.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Values = dict[str, Any]
"""A state: arrays, numbers and None by name."""

TIME = -(1 << 61), 1 << 61  # the range of a time, in microseconds
COUNT = 0, 1 << 53


class Part:
    """A part of a stream that carries a state from packet to packet: attributes, and `parts` of its own.

    The attributes are keywords of the class, with the least and the largest value, and None if they may be None. Arrays
    keep their shape and dtype; a number has the type of its bounds.
    """

    bounds: ClassVar[dict[str, tuple[Any, ...]]] = {}
    parts: Mapping[str, "Part"] = {}

    def __init_subclass__(cls, **bounds: tuple[Any, ...]) -> None:
        cls.bounds = cls.bounds | bounds

    def state(self) -> Values:
        """Return the state that is carried from packet to packet, by name."""
        values: Values = {name: copy(getattr(self, name)) for name in self.bounds}
        for name, one in self.parts.items():
            values |= under(name, one.state())
        return values

    def restore(self, values: Values) -> None:
        """Continue from the state of a part made with the same arguments. Raises ValueError or KeyError otherwise."""
        for name, bounds in self.bounds.items():
            now, value = getattr(self, name), values[name]
            if isinstance(now, np.ndarray):
                setattr(self, name, array(value, now.shape, now.dtype, *bounds))
            else:
                setattr(self, name, number(value, *bounds))
        for name, one in self.parts.items():
            one.restore(part(name, values))


def under(name: str, values: Values) -> Values:
    """Return a part's values with `name.` prefixed to their names."""
    return {f"{name}.{key}": value for key, value in values.items()}


def part(name: str, values: Values) -> Values:
    """Return the values whose names begin with `name.`, without this prefix: the inverse of `under`."""
    begin = f"{name}."
    return {key.removeprefix(begin): value for key, value in values.items() if key.startswith(begin)}


def number(value: Any, low: Any, high: Any, *others: None) -> Any:
    """Return `value`, a number of its bounds' type in [low, high], or one of `others`. Raises ValueError otherwise."""
    if (type(value) is not type(low) or not low <= value <= high) and not (value is None and others):
        raise ValueError("a number of the stream is none, or out of range")
    return value


def array(value: Any, shape: tuple[int, ...], dtype: Any, low: float = 0, high: float = 1) -> NDArray[Any]:
    """Return a copy of an array of this shape and dtype with elements in [low, high]. Raises ValueError otherwise."""
    fits = isinstance(value, np.ndarray) and value.shape == shape and value.dtype == np.dtype(dtype)
    if not (fits and ((low <= value) & (value <= high)).all()):
        raise ValueError("an array of the stream is none, of another size, or out of range")
    return value.copy()
