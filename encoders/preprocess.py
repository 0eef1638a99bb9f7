"""A still image, brought to the size and the look that a network was trained on."""

import cv2
import numpy as np

DIGIT_SIZE = 28  # MNIST: a 20-pixel digit, its centre of mass in the middle of 28 x 28
DIGIT_BOX = 20


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
    """
    grey = light_on_dark(to_grey(image)).astype(np.float32)
    grey -= np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    grey = grey.clip(0) * (255 / max(float(grey.max()), 1.0))
    rows, columns = np.nonzero(grey > 64)
    canvas = np.zeros((DIGIT_SIZE, DIGIT_SIZE), np.float32)
    if len(rows):
        box = grey[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        scale = DIGIT_BOX / max(box.shape)
        size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
        small = cv2.resize(box, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        ys, xs = np.indices(small.shape)
        mass = float(small.sum())
        top = round((DIGIT_SIZE - 1) / 2 - float((ys * small).sum()) / mass)
        left = round((DIGIT_SIZE - 1) / 2 - float((xs * small).sum()) / mass)
        top, left = (int(np.clip(v, 0, DIGIT_SIZE - n)) for v, n in zip((top, left), small.shape))
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    digit = canvas.clip(0, 255).astype(np.uint8)
    if (height, width) != digit.shape:
        digit = cv2.resize(digit, (width, height), interpolation=cv2.INTER_AREA)
    return np.repeat(digit[None], channels, 0)


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
