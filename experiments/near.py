"""Outliers near digits: the kinds used for training, with other seeds, and kinds never used for training (HELD_OUT).

HELD_OUT are Greek and Cyrillic letters, OpenCV's letters, arrows and pictograms, three digits, digits turned by a
quarter, and characters of straight strokes.
"""

from collections.abc import Callable, Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from corpora.others import KINDS, SIDE, Digits, Random, fitted, side_by_side, stroked
from corpora.printed import GREEK_CYRILLIC, PICTOGRAMS, glyph
from spikesight.encoders.preprocess.fit import centred

LATIN = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwxy"
HERSHEY = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)


def greek_cyrillic(digits: Digits, random: Random) -> NDArray[np.uint8]:  # noqa: ARG001
    return centred(glyph(str(random.choice(list(GREEK_CYRILLIC))), random))


def pictograms(digits: Digits, random: Random) -> NDArray[np.uint8]:  # noqa: ARG001
    return centred(glyph(str(random.choice(list(PICTOGRAMS))), random))


def hershey(digits: Digits, random: Random) -> NDArray[np.uint8]:  # noqa: ARG001
    return hershey_character(str(random.choice(list(LATIN))), random)


def hershey_character(character: str, random: Random) -> NDArray[np.uint8]:
    """Draw a character in a font of OpenCV."""
    canvas, font = np.zeros((160, 160), np.uint8), int(random.choice(HERSHEY))
    cv2.putText(canvas, character, (40, 110), font, 3, 255, int(random.integers(3, 16)))
    return fitted(canvas.astype(np.float32))


def print_digits(seed: int) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """Draw 1,000 digits in fonts of OpenCV, uint8 [28, 28]; return them and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, 1000).tolist()
    return [hershey_character(str(label), random) for label in labels], labels


def three_digits(digits: Digits, random: Random) -> NDArray[np.uint8]:
    images = [digits.draw(random)[0] for _ in range(3)]
    return fitted(side_by_side(images, int(random.integers(12, 22)), int(random.integers(-3, 4))))


def quarter_turned(digits: Digits, random: Random) -> NDArray[np.uint8]:
    return np.rot90(digits.draw(random, (2, 3, 4, 5, 6, 7, 9))[0], int(random.choice([1, 3])))


def straight(digits: Digits, random: Random) -> NDArray[np.uint8]:  # noqa: ARG001
    """Draw four to six strokes between points of a grid of three by three."""
    places = random.integers(0, 3, (int(random.integers(4, 7)), 2, 2)) * (SIDE // 2 - 10) + 10
    return fitted(stroked(list(places), random))


HELD_OUT: dict[str, Callable[[Digits, Random], NDArray[np.uint8]]] = {
    "Greek and Cyrillic letters": greek_cyrillic,
    "letters of OpenCV's fonts": hershey,
    "arrows and pictograms": pictograms,
    "three digits": three_digits,
    "digits turned by a quarter": quarter_turned,
    "straight strokes": straight,
}


def near(digits: Digits, seed: int, count: int, learnt: Collection[str]) -> dict[str, list[NDArray[np.uint8]]]:
    """Draw `count` pictures, uint8 [28, 28], of each kind; names of `learnt` kinds, which trained the model, say so."""
    named = {f"{name} (learnt)" if name in learnt else name: of for name, of in KINDS.items()}
    kinds = {**named, **HELD_OUT}
    found: dict[str, list[NDArray[np.uint8]]] = {}
    for number, (name, of) in enumerate(kinds.items()):
        random = np.random.default_rng((seed, number))
        found[name] = [of(digits, random) for _ in range(count)]
    return found
