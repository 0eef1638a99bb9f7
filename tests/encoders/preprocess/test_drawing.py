"""Drawings are found where they are, in any tone; what is none is none."""

from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.preprocess.drawing import LEAST, REACH, Candidate, Drawing, as_one, dark, find_drawing, groups

SHAPE = (120, 160)


def page(tone: int = 200) -> Any:
    return np.full(SHAPE, tone, np.uint8)


def hook(image: Any, ink: int = 30, left: int = 60, top: int = 40, length: int = 40, width: int = 5) -> np.ndarray:
    """Strokes whose box begins at (left, top)."""
    half = width // 2
    corners = [[left + half, top + half], [left + length - half - 1, top + half], [left + length // 2, top + length]]
    return cv2.polylines(image, [np.array(corners)], False, ink, width)


def found(image: np.ndarray) -> Drawing:
    drawing = find_drawing(image)
    assert drawing is not None
    return drawing


@pytest.mark.parametrize(("ground", "ink"), [(200, 30), (30, 220), (255, 0)])
def test_where_it_is_and_on_which_ground(ground: int, ink: int) -> None:
    image = hook(page(ground), ink)
    ys, xs = np.nonzero(image != ground)
    drawing = found(image)
    assert (drawing.left, drawing.top) == pytest.approx((xs.min(), ys.min()), abs=1.5)
    assert (drawing.width, drawing.height) == pytest.approx((np.ptp(xs) + 1, np.ptp(ys) + 1), abs=2)
    assert drawing.ground == pytest.approx(ground, abs=3)
    assert drawing.ink.shape == (drawing.height, drawing.width)
    inside = image[ys.min() : ys.min() + drawing.ink.shape[0], xs.min() : xs.min() + drawing.ink.shape[1]] != ground
    middle = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (drawing.ink[middle] > 0.9).mean() > 0.95, "all but the ends of a stroke"
    assert (drawing.ink.min(), drawing.ink.max()) == (0, 1)


def test_colour_is_ink_too() -> None:
    image = np.full((*SHAPE, 3), 220, np.uint8)
    image[..., 0] = hook(page(220), 40)
    assert found(image).likeness > 0.4


def test_its_parts_belong_to_it_and_specks_do_not() -> None:
    alone = found(hook(page()))
    image = hook(page())
    image[34:38, 78:82] = 30  # a dot above
    image[10:13, 10:13] = 30  # a speck far away
    both = found(image)
    assert both.top < alone.top
    assert both.left == alone.left


def likely(image: Any, levels: tuple[float, ...], **how: float) -> list[Candidate]:
    """What looks much like a drawing."""
    return [one for one in dark(image, levels, **how) if one.placed().likeness >= LEAST]


@pytest.mark.parametrize(("likeness", "seen"), [(0.62, False), (0.95, True)])
def test_ground_that_strokes_enclose_is_a_drawing_only_if_it_is_much_likelier(likeness: float, seen: bool) -> None:
    dark_ink, light_ink = np.zeros((2, *SHAPE), np.float32)
    alone = np.ones(1, np.uint8)
    strokes = Candidate((40, 20, 80, 80), np.zeros(SHAPE), alone, dark_ink, 0.6)
    hole = Candidate((60, 40, 40, 40), np.zeros(SHAPE), alone, light_ink, likeness)
    assert as_one([strokes, hole]) == [strokes, hole][: 1 + seen]
    assert len(as_one([strokes, hole._replace(ink=dark_ink)])) == 2, "a part of one tone is judged by itself"


NONE: dict[str, Any] = {
    "nothing": page(),
    "a gradient": np.tile(np.linspace(60, 220, SHAPE[1]).astype(np.uint8), (SHAPE[0], 1)),
    "a solid thing": cv2.rectangle(page(), (60, 40), (100, 80), 30, -1),
    "the edge of a sheet": cv2.rectangle(page(), (30, 20), (130, 100), 30, 3),
    "what leaves the picture": cv2.line(page(), (80, 60), (80, 119), 30, 5),
    "a speck": cv2.rectangle(page(), (80, 60), (83, 63), 30, -1),
    "a shade": hook(page(), 195),
    "noise": np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_drawing(name: str) -> None:
    assert find_drawing(NONE[name]) is None


@pytest.mark.parametrize("shape", [(1, 40_000), (2049, 1), (2, 4000), (1, 641)])
def test_a_strip_of_less_than_a_pixel_shows_nothing(shape: tuple[int, int]) -> None:
    assert find_drawing(np.full((*shape, 3), 80, np.uint8)) is None


def test_a_bar_is_one_though_it_fills_its_rectangle() -> None:
    assert found(cv2.rectangle(page(), (78, 40), (83, 80), 30, -1)).height == pytest.approx(41, abs=2)


@pytest.mark.parametrize(("length", "largest", "seen"), [(80, 0.75, True), (96, 0.75, False), (96, 0.9, True)])
def test_nothing_longer_is_a_drawing(length: int, largest: float, seen: bool) -> None:
    image = hook(page(), left=80 - length // 2, top=60 - length // 2, length=length, width=7)
    assert bool(likely(image, (0.24,), largest=largest)) == seen


def test_a_bar_that_fills_the_picture_is_no_edge_in_a_photograph() -> None:
    assert found(cv2.line(page(), (80, 12), (80, 107), 30, 9)).height == pytest.approx(104, abs=3)


@pytest.mark.parametrize("thickness", [3, -1])
@pytest.mark.parametrize("degrees", [0, 20, 45])
def test_a_digit_is_found_in_a_rectangle_however_turned(degrees: float, thickness: int) -> None:
    """`thickness`: of its sides; -1 for a sheet."""
    box = cv2.boxPoints(((80, 60), (80, 64), degrees)).astype(int)
    image: Any = cv2.drawContours(page(220), [box], -1, 60, thickness)
    ink = 60 if thickness > 0 else 220
    assert found(cv2.polylines(image, [np.array([[70, 48], [88, 48], [76, 74]])], False, ink, 3)).height < 36


@pytest.mark.parametrize("shape", ["ring", "bar", "hook"])
def test_what_does_not_surround_a_rectangle_is_no_frame(shape: str) -> None:
    image: Any = page()
    if shape == "ring":
        cv2.circle(image, (80, 60), 40, 30, 3)
    elif shape == "bar":
        cv2.rectangle(image, (40, 52), (120, 66), 30, 2)
    else:
        hook(image)
    found(image)


def test_pieces_of_a_stroke_are_joined_one_after_another() -> None:
    """Dashes of 20 pixels, 4 apart, and one 12 from the last: far from the first, and near the one before it."""
    picture = np.zeros((40, 200), np.uint8)
    for left in (10, 34, 58, 82, 106, 130, 162):
        picture[18:22, left : left + 20] = 1
    _, _, stats, centres = cv2.connectedComponentsWithStats(picture)
    kept = np.arange(len(stats)) > 0
    for gap, count, length in ((0.25, 6, 140), (0.2, 1, 20), (0.9, 7, 172)):
        members, box = next(groups(stats, centres, kept, (3, 70), (REACH, gap)))
        assert box == [10, 18, length, 4], gap
        assert members.sum() == count
