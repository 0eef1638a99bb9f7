"""Fitting of a still image to the size and appearance of the images that a network was trained on."""

from typing import Literal

import cv2
import numpy as np

from spikesight.encoders.preprocess.drawing import Drawing, find_drawing

Still = Literal["plain", "digit", "none"]
"""How a model takes a still image: whole, centred as a digit, or not at all (`plain` if it is shown nevertheless)."""
DIGIT_SIZE = 28  # MNIST: a 20-pixel digit, its centre of mass in the middle of 28 x 28
DIGIT_BOX = 20
EVEN = 0.15  # largest brightness range of an even border, by the picture's contrast
CAMERA_SIDE = 64  # pixels: pictures with a shorter side are assumed to be prepared, not camera pictures
LONG = 2.0  # longer by shorter side above which a picture is not a camera's
SAME = 0.15  # largest difference, by full scale, of a drawing's background and its picture's border
THIN = 0.09  # least stroke thickness by a drawing's length: thinner strokes vanish when scaled down
NARROW, USUAL, WIDEST = 0.4, 0.75, 1.3  # width by height: of written digits, hardly any but a 1 is narrower or wider
LINE = 1.5  # largest spread across a straight stroke, by its thickness
SOLID = 96  # ink, of 255, that counts as a stroke's inside


def checked(image: np.ndarray) -> np.ndarray:
    """Check an image, uint8 [H, W] or RGB [H, W, 3], and return it. Raises ValueError for anything else."""
    grey_or_rgb = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if not grey_or_rgb or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"an image must be uint8 [H, W] or [H, W, 3], not {image.dtype} {image.shape}")
    return image


def to_grey(image: np.ndarray) -> np.ndarray:
    """Return an image, uint8 [H, W] or RGB [H, W, 3], as grey uint8 [H, W]. Raises ValueError for anything else."""
    return image if checked(image).ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _border(grey: np.ndarray) -> np.ndarray:
    """Return the pixels along the four sides of an image [H, W]."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def fit_digit(image: np.ndarray, height: int, width: int, channels: int = 1) -> np.ndarray:
    """Return the drawing in an image, prepared as an MNIST digit (LeCun et al. 1998): uint8 [channels, height, width].

    It is light on dark, cut to its bounding box, scaled to 20 of 28 pixels in its longer side, and centred by its
    centre of mass. In a camera's picture the drawing is located first (`find_drawing`).
    """
    grey = to_grey(image)
    camera = min(grey.shape) >= CAMERA_SIDE
    found = find_drawing(image) if camera else None
    drawing = _bare(grey) if found is None or _is_all(grey, found) else found.ink * 255
    digit = centred(_unstretched(drawing)) if camera else _in_the_middle(drawing)
    if (height, width) != digit.shape:
        digit = cv2.resize(digit, (width, height), interpolation=cv2.INTER_AREA)
    return np.repeat(digit[None], channels, 0)


def _is_all(grey: np.ndarray, found: Drawing) -> bool:
    """Return whether a picture shows only the drawing: its border has one brightness, as in a drawing made on a screen
    or a cropped scan, and matches the drawing's background.

    A picture too long for a camera's counts if its border is even: in it a digit's hole alone may be found.
    """
    low, high = np.quantile(_border(cv2.blur(grey, (5, 5))).astype(np.float32), (0.02, 0.98))
    even = high - low < EVEN * max(float(np.ptp(grey)), 1.0)
    long = max(grey.shape) > LONG * min(grey.shape)
    return bool(even and (long or abs(float(np.median(_border(grey))) - found.ground) < SAME * 255))


def _bare(grey: np.ndarray) -> np.ndarray:
    """Return what is brighter than the border (or darker, like ink on paper) in its box, float32 [h, w], 0 to 255."""
    grey = (255 - grey if np.median(_border(grey)) > grey.mean() else grey).astype(np.float32)
    grey -= np.median(_border(grey))
    grey = grey.clip(0) * (255 / max(float(grey.max()), 1.0))
    rows, columns = np.nonzero(grey > 64)
    if not len(rows):
        return grey[:0]
    return grey[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def centred(drawing: np.ndarray) -> np.ndarray:
    """Return a drawing, float32 [h, w] (0 to 255 ink), scaled and centred like MNIST: uint8 [28, 28]. Its strokes are
    made thick enough to survive the scaling.
    """
    if len(drawing):
        missing = round(THIN * max(drawing.shape) - _thickness(drawing))
        if missing > 0:
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1, missing + 1))
            drawing = cv2.dilate(np.pad(drawing, missing), kernel)
    return _in_the_middle(drawing)


def _in_the_middle(box: np.ndarray) -> np.ndarray:
    """Return a drawing [h, w] as uint8 [28, 28]: scaled to 20 pixels length, centre of mass in the middle."""
    canvas = np.zeros((DIGIT_SIZE, DIGIT_SIZE), np.float32)
    if len(box):
        scale = DIGIT_BOX / max(box.shape)
        size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
        small = cv2.resize(box, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        # in float64: OpenCV takes float32 of two columns for a contour's points
        moments, mass = cv2.moments(small.astype(float)), max(float(small.sum()), 1.0)
        top, left = (round((DIGIT_SIZE - 1) / 2 - moments[name] / mass) for name in ("m01", "m10"))
        top, left = (int(np.clip(v, 0, DIGIT_SIZE - n)) for v, n in zip((top, left), small.shape))
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas.clip(0, 255).astype(np.uint8)


def _unstretched(drawing: np.ndarray) -> np.ndarray:
    """Return a drawing; one wider than any digit, or narrower and no straight line, is given a digit's usual width."""
    height, width = drawing.shape
    if not height or NARROW * height < width < WIDEST * height or (width < height and _is_line(drawing)):
        return drawing
    method = cv2.INTER_AREA if width > height else cv2.INTER_LINEAR
    return cv2.resize(drawing, (max(1, round(USUAL * height)), height), interpolation=method)


def _is_line(drawing: np.ndarray) -> bool:
    """Return whether a drawing is one straight stroke, at any slant: it spreads across no more than a stroke does."""
    spread = np.cov(np.argwhere(drawing > SOLID), rowvar=False)
    return float(np.sqrt(12 * np.linalg.eigvalsh(spread)[0])) < LINE * _thickness(drawing)


def _thickness(drawing: np.ndarray) -> float:
    """Return the mean thickness of a drawing's strokes, in pixels."""
    solid = cv2.copyMakeBorder((drawing > SOLID).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return 4 * float(cv2.distanceTransform(solid, cv2.DIST_L2, 3)[solid > 0].mean())


def fit_plain(image: np.ndarray, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Return the largest centred crop of the target's aspect ratio, resized: uint8 [channels, height, width]."""
    picture = to_grey(image) if channels == 1 else checked(image)
    if channels != 1 and picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    h, w = picture.shape[:2]
    crop_h, crop_w = (h, max(1, h * width // height)) if w * height > h * width else (max(1, w * height // width), w)
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    picture = picture[top : top + crop_h, left : left + crop_w]
    shrinks = crop_h > height or crop_w > width
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return picture[None].copy() if picture.ndim == 2 else np.ascontiguousarray(picture.transpose(2, 0, 1))
