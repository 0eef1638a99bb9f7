"""Draw printed digits in MNIST's style, since people also show print to a camera.

The fonts are matplotlib's own, so nothing is downloaded. Slant, width and weight of each digit are random.
"""

from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.textpath import TextPath

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif",
    "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
    "cmr10", "cmb10", "cmss10", "cmtt10",
)  # fmt: skip
GREEK_CYRILLIC = "ΓΔΘΛΞΠΣΨΩαβγδεζηκλμνξπφψωДЖЙЛУФЦШЩЪЫЭЮЯ"
PICTOGRAMS = "←↑→↓↔↕⇐⇒★☆♠♣♥♦✓✗☎✂♪♫☺☼"  # as GREEK_CYRILLIC: characters that no training shows
HEIGHT = 120  # of a digit before it is scaled down, pixels
SLANT, WIDTH, WEIGHT = 0.2, (0.8, 1.2), (-4, 16)  # largest shear; factor on the width; pixels added to a stroke
OUTLINED, LINE = 0.2, (5, 12)  # share of characters drawn as an outline; width of the outline, pixels


@cache
def _fonts(character: str) -> list[FontProperties]:
    """Return the fonts that have a character; TeX fonts only for letters and digits, their other codes differ."""
    names = [name for name in FONTS if character.isalnum() or not name.startswith("cm")]
    paths = [Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf") for name in names]
    return [FontProperties(fname=path) for path in paths if ord(character) in get_font(path).get_charmap()]


def glyph(character: str, random: np.random.Generator) -> np.ndarray:
    """Draw a character in a random font and style, float32 [h, w], 0 to 255, cropped to its ink."""
    fonts = _fonts(character)
    font = fonts[int(random.integers(len(fonts)))]
    outline = [np.asarray(line, float) for line in TextPath((0, 0), character, size=HEIGHT, prop=font).to_polygons()]
    wide, slant = random.uniform(*WIDTH), random.uniform(-SLANT, SLANT)
    placed = [np.stack([line[:, 0] * wide + line[:, 1] * slant, -line[:, 1]], 1) for line in outline]
    corner = np.concatenate(placed).min(0) - 2 * WEIGHT[1]
    extent = np.ceil(np.concatenate(placed).max(0) - corner + 2 * WEIGHT[1]).astype(int)
    canvas = np.zeros(extent[::-1], np.uint8)
    cv2.fillPoly(canvas, [np.round(line - corner).astype(np.int32) for line in placed], 255)
    gained = int(random.integers(WEIGHT[0], WEIGHT[1] + 1))
    change = cv2.dilate if gained > 0 else cv2.erode
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(gained) + 1,) * 2)
    changed = change(canvas, kernel)
    ink = changed if changed.any() else canvas
    if random.random() < OUTLINED:
        ink = cv2.morphologyEx(ink, cv2.MORPH_GRADIENT, np.ones((int(random.integers(*LINE)),) * 2, np.uint8))
    rows, columns = np.nonzero(ink)
    return ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
