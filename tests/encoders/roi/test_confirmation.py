"""Forms that searches find: the same one confirms a drawing, others lose it while things move."""

import cv2
import numpy as np
import pytest

from spikesight.encoders.preprocess.drawing import Drawing, Floats, find_drawing
from spikesight.encoders.roi.confirmation import CONFIRMING, MISSES, FormConfirmation, alike, form_of


def bar_or_corner(shape: str, left: float = 100, top: float = 80) -> Drawing:
    ink = np.zeros((20, 10), np.float32)
    if shape == "bar":
        ink[:, 4:6] = 1
    else:
        ink[17:] = ink[:, :3] = 1
    return Drawing(ink, left, top, 20, 40, 0.7, 200.0)


BAR, CORNER = (form_of(bar_or_corner(shape)) for shape in ("bar", "corner"))


def test_a_form_is_the_same_wherever_it_is_and_however_large() -> None:
    page = np.full((240, 320), 255, np.uint8)
    cv2.polylines(page, [np.array([[100, 60], [200, 70], [120, 170], [220, 160]])], False, 40, 10)
    small = cv2.resize(page, (200, 150), interpolation=cv2.INTER_AREA)
    elsewhere = np.pad(small, ((90, 0), (30, 90)), constant_values=255)
    ring = cv2.circle(np.full((240, 320), 255, np.uint8), (160, 120), 50, 40, 10)
    forms = [form_of(found) for one in (page, elsewhere, ring) if (found := find_drawing(np.asarray(one, np.uint8)))]
    assert alike(forms[0], forms[1])
    assert not alike(forms[0], forms[2])
    assert alike(BAR, form_of(bar_or_corner("bar", 3, 200)))
    assert not alike(BAR, CORNER)


def confirmed(forms: list[Floats | None]) -> list[bool]:
    tested, found = FormConfirmation(), []
    for form in forms:
        tested.add(form, 1.0)
        found.append(tested.confirmed)
    return found


@pytest.mark.parametrize("between", [None, CORNER])
def test_so_many_searches_in_a_row_confirm_a_form(between: Floats | None) -> None:
    assert confirmed([BAR] * (CONFIRMING + 1)) == [False] * (CONFIRMING - 1) + [True] * 2
    assert not any(confirmed([*[BAR] * (CONFIRMING - 1), between, *[BAR] * (CONFIRMING - 1)]))


@pytest.mark.parametrize(("moving", "lost"), [(0.51, True), (0.5, False)])
def test_so_many_misses_lose_it_while_half_as_much_moves_also_where_it_is_taken_up_anew(
    moving: float, lost: bool
) -> None:
    found = []
    tested = FormConfirmation()
    for form, events in [(BAR, 100.0)] * 2 + [(None, 100 * moving)] * (MISSES - 1) + [(CORNER, 100 * moving)]:
        state, tested = tested.state(), FormConfirmation()
        tested.restore(state)
        tested.add(form, events)
        found.append(tested.lost)
    assert found == [False] * (MISSES + 1) + [lost]
    tested.add(CORNER, 100.0)
    assert not tested.lost, "what is found again is forgiven"
