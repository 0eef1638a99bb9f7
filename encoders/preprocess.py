"""A still image, brought to the size and the look that a network was trained on."""

import cv2
import numpy as np

DIGIT_SIZE = 28  # MNIST: a 20-pixel digit, its centre of mass in the middle of 28 x 28
DIGIT_BOX = 20
EVEN = 0.15  # of the picture's contrast: what an even border may differ by
CAMERA_SIDE = 64  # pictures with a shorter side are taken as prepared
SEARCH_SIDE = 640  # larger pictures are searched at this size
STROKE = 0.2  # of the shorter side: no stroke is wider
FAINT = 0.12  # ink is at least so much darker than its ground
SHEET, CONVEX = 0.06, 0.9  # share of the picture that a sheet has at least; of its hull
EDGE = 0.05  # of a sheet's side: its rim is not drawn on
SPECK = 1e-4  # of the picture's area: smaller parts are dirt
RIM_PX = 41  # across a sheet's edge
RIM = 0.8  # ink is darker than this part of the rim's brightness
PART = 0.05  # of the largest part's score: smaller ones do not belong to the drawing
THICK = 0.25  # half a stroke's width by its part's length: thicker is no stroke
THIN = 0.09  # of a drawing's length: thinner strokes vanish when it is made small
NARROWEST, WIDEST = 0.34, 1.3  # width by height of a written digit that is not a 1


def to_grey(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W] from uint8 [H, W] or RGB [H, W, 3]."""
    if image.ndim not in (2, 3) or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"an image must be uint8 [H, W] or [H, W, 3], not {image.dtype} {image.shape}")
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def light_on_dark(grey: np.ndarray) -> np.ndarray:
    """Inverted where the border is the brighter part, as for ink on paper."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return 255 - grey if np.median(border) > grey.mean() else grey


def fit_digit(image: np.ndarray, height: int, width: int, channels: int = 1) -> np.ndarray:
    """uint8 [channels, height, width]: the drawing as MNIST prepares a digit (LeCun et al. 1998).

    Light on dark, cut to its bounding box, its longer side scaled to 20 of 28 pixels, its centre of mass in the middle.
    In a camera's picture the drawing is looked for first (`find_drawing`).
    """
    drawing = None if min(image.shape[:2]) < CAMERA_SIDE or _even(image) else find_drawing(image)
    if drawing is None:
        drawing = _bare(image)
    if min(image.shape[:2]) >= CAMERA_SIDE and len(drawing):
        drawing = _legible(drawing)
    digit = _in_the_middle(drawing)
    if (height, width) != digit.shape:
        digit = cv2.resize(digit, (width, height), interpolation=cv2.INTER_AREA)
    return np.repeat(digit[None], channels, 0)


def _even(image: np.ndarray) -> bool:
    """Whether the picture's border is of one brightness, as where somebody drew on a screen or cut a scan."""
    grey = to_grey(image)
    border = cv2.blur(grey, (5, 5))
    border = np.concatenate([border[0], border[-1], border[:, 0], border[:, -1]]).astype(np.float32)
    low, high = np.quantile(border, (0.02, 0.98))
    return bool(high - low < EVEN * max(float(np.ptp(grey)), 1.0))


def _bare(image: np.ndarray) -> np.ndarray:
    """float32 [h, w], 0 to 255: all that is brighter than the border, cut to its bounding box."""
    grey = light_on_dark(to_grey(image)).astype(np.float32)
    grey -= np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    grey = grey.clip(0) * (255 / max(float(grey.max()), 1.0))
    rows, columns = np.nonzero(grey > 64)
    if not len(rows):
        return grey[:0]
    return grey[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _in_the_middle(box: np.ndarray) -> np.ndarray:
    """uint8 [28, 28] of a drawing float32 [h, w]: 20 pixels long, its centre of mass in the middle."""
    canvas = np.zeros((DIGIT_SIZE, DIGIT_SIZE), np.float32)
    if len(box):
        scale = DIGIT_BOX / max(box.shape)
        size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
        small = cv2.resize(box, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        ys, xs = np.indices(small.shape)
        mass = max(float(small.sum()), 1.0)
        top = round((DIGIT_SIZE - 1) / 2 - float((ys * small).sum()) / mass)
        left = round((DIGIT_SIZE - 1) / 2 - float((xs * small).sum()) / mass)
        top, left = (int(np.clip(v, 0, DIGIT_SIZE - n)) for v, n in zip((top, left), small.shape))
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas.clip(0, 255).astype(np.uint8)


def find_drawing(image: np.ndarray) -> np.ndarray | None:
    """The drawing in a camera's picture, float32 [h, w] from 0 to 255 (ink), or None where there is none.

    `image` is uint8 [H, W] or RGB [H, W, 3]. Light is evened out by dividing by what the picture would be without ink
    (a morphological closing, wider than any stroke). Ink is what stays dark; what touches the border, is solid like a
    sheet, or lies on a dark ground is something else. Ink lighter than its ground is found in the negative.
    """
    to_grey(image)  # refuses what is no image
    factor = SEARCH_SIDE / max(image.shape[:2])
    if factor < 1:
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found = [_find_ink(picture) for picture in (image, 255 - image)]
    likeness, drawing = max(found, key=lambda pair: pair[0])
    return drawing if likeness[-1] > 0 else None


def _find_ink(image: np.ndarray) -> tuple[tuple[bool, bool, float], np.ndarray]:
    """(how much it looks like a drawing, the drawing) of dark ink on a light ground.

    The first is (on a sheet, darker than the sheet's or the picture's rim, area by contrast); 0 where there is no ink.
    """
    ink, ground = _ink(image)
    height, width = ink.shape
    sheet = _sheet(ground)
    on_sheet = sheet is not None
    if sheet is None:
        sheet = np.zeros((height, width), np.uint8)
        sheet[2:-2, 2:-2] = 1
    darkest = float(np.quantile(ink[sheet > 0], 0.998))
    mask = (cv2.GaussianBlur(ink, (0, 0), 1.0) > max(darkest / 2, FAINT)).astype(np.uint8)
    n, labels, boxes, _ = cv2.connectedComponentsWithStats(mask)
    beyond = set(np.unique(labels[sheet == 0]))
    parts = []
    for part in range(1, n):
        x, y, w, h, area = boxes[part]
        if part in beyond or area < SPECK * height * width or _solid(labels[y : y + h, x : x + w] == part):
            continue
        around = ground[max(0, y - 8) : y + h + 8, max(0, x - 8) : x + w + 8]
        parts.append((area * float(around.mean()) * darkest, part, x, y, x + w, y + h))
    if not parts:
        return (False, False, 0.0), ink[:0]
    score, _, x0, y0, x1, y1 = max(parts)
    reach, centre = max(x1 - x0, y1 - y0), ((x0 + x1) / 2, (y0 + y1) / 2)
    near = [
        p
        for p in parts
        if p[0] > PART * score
        and max(abs((p[2] + p[4]) / 2 - centre[0]), abs((p[3] + p[5]) / 2 - centre[1])) < 0.75 * reach
    ]
    left, top = (min(p[k] for p in near) for k in (2, 3))
    right, bottom = (max(p[k] for p in near) for k in (4, 5))
    kept = np.isin(labels, [p[1] for p in near]).astype(np.uint8)
    kept = cv2.dilate(kept, np.ones((5, 5), np.uint8))[top:bottom, left:right]
    drawing = (ink[top:bottom, left:right] / darkest).clip(0, 1) * kept * 255
    grey = to_grey(image)
    rim = np.median(grey[(sheet > 0) & (cv2.erode(sheet, np.ones((9, 9), np.uint8)) == 0)])
    darker = bool(np.median(grey[np.isin(labels, [p[1] for p in near])]) < RIM * rim)
    return (on_sheet, darker, score), drawing.astype(np.float32)


def _ink(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(how much darker than its ground each pixel is, 0 to 1; the ground's brightness, 0 to 1), float32 [H, W]."""
    planes = image[..., None] if image.ndim == 2 else image
    side = round(min(image.shape[:2]) * STROKE) | 1
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    inks, grounds = [], []
    for plane in np.moveaxis(planes, -1, 0):
        calm = cv2.medianBlur(np.ascontiguousarray(plane), 5)
        ground = cv2.GaussianBlur(cv2.morphologyEx(calm, cv2.MORPH_CLOSE, window), (0, 0), 5).astype(np.float32)
        inks.append(1 - np.minimum(plane / np.maximum(ground, 1), 1))
        grounds.append(ground / 255)
    return np.max(inks, 0), np.mean(grounds, 0)


def _sheet(ground: np.ndarray) -> np.ndarray | None:
    """uint8 [H, W]: 1 on the sheet that is drawn on, a bright and convex part; None where there is none."""
    height, width = ground.shape
    levels = (ground * 255).clip(0, 255).astype(np.uint8)
    _, bright = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(contours, key=cv2.contourArea, default=None)
    if outline is None:
        return None
    area, hull = cv2.contourArea(outline), cv2.convexHull(outline)
    if not SHEET * height * width < area < 0.95 * height * width or area < CONVEX * cv2.contourArea(hull):
        return None
    sheet = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), hull, 1)
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (RIM_PX, RIM_PX))
    within, beyond = sheet - cv2.erode(sheet, near, borderValue=1), cv2.dilate(sheet, near) - sheet
    if np.median(ground[beyond > 0]) > RIM * np.median(ground[within > 0]):
        return None  # light that falls off, and no edge
    margin = round(EDGE * np.sqrt(area)) | 1
    return cv2.erode(sheet, np.ones((margin, margin), np.uint8), borderValue=0)


def _solid(part: np.ndarray) -> bool:
    """Whether a part, bool [h, w], is too thick for a stroke: a sheet, a screen, a block."""
    depth = cv2.distanceTransform(np.pad(part.astype(np.uint8), 1), cv2.DIST_L2, 3)
    return bool(depth.max() > THICK * max(part.shape))


def _legible(drawing: np.ndarray) -> np.ndarray:
    """A drawing float32 [h, w] as a hand would write it: no stroke that vanishes at 20 pixels, not stretched."""
    height, width = drawing.shape
    solid = (drawing > 96).astype(np.uint8)
    thickness = 4 * float(cv2.distanceTransform(np.pad(solid, 1), cv2.DIST_L2, 3)[np.pad(solid, 1) > 0].mean())
    if width > WIDEST * height:
        drawing = cv2.resize(drawing, (max(1, round(WIDEST * height)), height), interpolation=cv2.INTER_AREA)
    elif width < NARROWEST * height and width > 2.5 * thickness:  # narrow, and no 1
        drawing = cv2.resize(drawing, (max(1, round(NARROWEST * height)), height), interpolation=cv2.INTER_LINEAR)
    missing = round(THIN * max(drawing.shape) - thickness)
    if missing > 0:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1, missing + 1))
        drawing = cv2.dilate(np.pad(drawing, missing), kernel)
    return drawing


def fit_plain(image: np.ndarray, height: int, width: int, channels: int = 3) -> np.ndarray:
    """uint8 [channels, height, width]: the largest centred part of the target's aspect ratio, resized."""
    picture = to_grey(image) if channels == 1 else image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    h, w = picture.shape[:2]
    crop_h, crop_w = (h, max(1, h * width // height)) if w * height > h * width else (max(1, w * height // width), w)
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    picture = picture[top : top + crop_h, left : left + crop_w]
    shrinks = crop_h > height or crop_w > width
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return picture[None].copy() if picture.ndim == 2 else np.ascontiguousarray(picture.transpose(2, 0, 1))
