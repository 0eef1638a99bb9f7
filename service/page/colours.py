"""The page's colours for pictures that Python makes."""

import re
from pathlib import Path

Colour = tuple[int, int, int]

_SHEET = (Path(__file__).parent / "shared" / "colours.css").read_text()
COLOURS: dict[str, Colour] = {
    name: (int(red, 16), int(green, 16), int(blue, 16))
    for name, red, green, blue in re.findall(r"--([\w-]+): #(\w\w)(\w\w)(\w\w);", _SHEET)
}
"""RGB by the names of shared/colours.css; of names with two schemes those of the dark one, which come last."""
