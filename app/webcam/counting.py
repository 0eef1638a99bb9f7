"""`--count`: count tracked objects that cross a line or enter a region."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from spikesight.models.steps import Object

Point = tuple[float, float]
REMEMBERED = 64  # most objects whose last position is kept
NEAR = 0.25  # of an object's shorter side: so near a line or border it is on neither side, and may dither there


@dataclass
class Counting:
    """Counts of objects that crossed a line between two points, or the border of a rectangle, in pixels.

    An object's position is the centre of its box. It crosses a line between the line's ends: `forward` from left to
    right, as seen from `begin` towards `end`, else `backward`; and a region's border `in` (also when first seen inside)
    or `out`. It counts once the object is clear of the line or border (NEAR).
    """

    line: bool
    begin: Point
    end: Point
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # by label and direction
    _before: dict[int, Point] = field(default_factory=dict)  # by object id: last position clear of the border

    @classmethod
    def of(cls, text: str) -> "Counting":
        """Parse `line:X1,Y1,X2,Y2` or `region:X1,Y1,X2,Y2`. Raises ValueError."""
        kind, _, numbers = text.partition(":")
        try:
            x1, y1, x2, y2 = map(float, numbers.split(","))
        except ValueError:
            x1 = x2 = y1 = y2 = math.nan
        if kind not in ("line", "region") or not math.isfinite(x1 + y1 + x2 + y2) or (x1, y1) == (x2, y2):
            raise ValueError("--count is line:X1,Y1,X2,Y2 or region:X1,Y1,X2,Y2 in pixels, of two points, not " + text)
        if kind == "line":
            return cls(True, (x1, y1), (x2, y2))
        return cls(False, (min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2)))

    def push(self, objects: Sequence[Object], t_us: int) -> list[dict[str, Any]]:
        """Update with the objects after a step; return a JSON record of each that crossed, with the count so far."""
        records: list[dict[str, Any]] = []
        for one in objects:
            left, top, width, height = one.box
            here = left + width / 2, top + height / 2
            if self._distance(here) < NEAR * min(width, height):
                continue
            went = self._crossing(self._before.pop(one.id, None), here)
            self._before[one.id] = here
            if len(self._before) > REMEMBERED:
                del self._before[next(iter(self._before))]
            if went:
                self.counts[one.label, went] += 1
                records.append(
                    {"t_us": t_us, "object": one.id, "label": one.label, "crossed": went}
                    | {"count": self.counts[one.label, went], "box": [round(value, 1) for value in one.box]}
                )
        return records

    def _crossing(self, before: Point | None, here: Point) -> str:
        """Return the direction in which an object crossed; "" if it did not."""
        if not self.line:
            was, now = before is not None and self._inside(before), self._inside(here)
            return "" if was == now else "in" if now else "out"
        if before is None:
            return ""
        one, other = _side(self.begin, self.end, before), _side(self.begin, self.end, here)
        between = (_side(before, here, self.begin) > 0) != (_side(before, here, self.end) > 0)
        return "" if (one > 0) == (other > 0) or not between else "forward" if other > 0 else "backward"

    def _distance(self, at: Point) -> float:
        """Return the distance from the line, or from the region's border."""
        (x1, y1), (x2, y2), (x, y) = self.begin, self.end, at
        if self.line:
            along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / math.dist(self.begin, self.end) ** 2
            share = min(max(along, 0.0), 1.0)
            return math.hypot(x - x1 - share * (x2 - x1), y - y1 - share * (y2 - y1))
        beyond, within = (x1 - x, x - x2), (y1 - y, y - y2)
        if self._inside(at):
            return -max(*beyond, *within)
        return math.hypot(max(0.0, *beyond), max(0.0, *within))

    def _inside(self, at: Point) -> bool:
        return self.begin[0] <= at[0] <= self.end[0] and self.begin[1] <= at[1] <= self.end[1]


def _side(begin: Point, end: Point, at: Point) -> float:
    """Return a number above 0 if `at` is right of the line as seen from `begin` towards `end`, y growing downwards."""
    return (end[0] - begin[0]) * (at[1] - begin[1]) - (end[1] - begin[1]) * (at[0] - begin[0])
