"""The page's colours, for pictures drawn in Python."""

import re
from pathlib import Path

Colour = tuple[int, int, int]

_SHEET = (Path(__file__).parent / "shared" / "colours.css").read_text()
COLOURS: dict[str, Colour] = {
    name: (int(red, 16), int(green, 16), int(blue, 16))
    for name, red, green, blue in re.findall(r"--([\w-]+): #(\w\w)(\w\w)(\w\w);", _SHEET)
}
"""RGB by the names in shared/colours.css; if a name has a light and a dark value, the dark one (it comes last)."""
