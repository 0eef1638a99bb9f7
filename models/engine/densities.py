"""Break-even densities: below this share of events a convolution visits single events, from it on it multiplies
densely.

A table is measured once for each machine (`autotune`) and kept in the cache with the processor's name. Known processors
use the defaults below, as do densities that a noisy machine could not measure. The table also holds how long it takes
until another thread helps, measured on every machine.
"""

import json
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from spikesight.models.native.build import build, cache_folder, library
from spikesight.models.native.targets import fingerprint, processor_name

Product = Literal["float", "pairs", "matrix", "matrix in three"]
"""How dense frames are multiplied: floats; pairs of bfloat16; a matrix unit with one or three bfloat16 a weight."""
PRODUCTS: tuple[Product, ...] = get_args(Product)
WIDTHS = (64, 128, 256, 512)  # classes of channel counts: the largest not above the layer's, or the first
SHOWN = (3, True, 128)  # kernel, binary and width of the kind that `describe` shows
KNOWN = ("(family 25, model 17)", "(family 26,", "(family 6, model 143)", "(family 6, model 207)")
"""Parts of the names of processors that the defaults hold for: Zen 4 and 5, Xeons with AMX."""


class Kind(NamedTuple):
    """A class of convolutions that share a break-even density."""

    product: Product
    kernel: int  # 1, or 3 for all larger ones
    binary: bool  # inputs are 0 or 1
    width: int  # one of WIDTHS

    @classmethod
    def of(cls, channels: int, kernel: int, *, binary: bool, product: Product) -> "Kind":
        """Return the kind of a convolution with this number of input channels."""
        width = max((width for width in WIDTHS if width <= channels), default=WIDTHS[0])
        return cls(product, min(kernel, 3), binary, width)

    def __str__(self) -> str:
        """Return the kind's name in the kept file.

        >>> str(Kind("pairs", 3, True, 64))
        '3x3 of 64 channels, binary, pairs'
        """
        values = "binary" if self.binary else "counts"
        return f"{self.kernel}x{self.kernel} of {self.width} channels, {values}, {self.product}"


KINDS = [
    Kind(product, kernel, binary, width)
    for product in PRODUCTS
    for kernel in (1, 3)
    for binary in (True, False)
    for width in WIDTHS
]


HAND_OVER_NS = 30_000  # default if it was not measured
THREE = {64: 0.13, 128: 0.1, 256: 0.11, 512: 0.2}  # by width; in wide layers the matrix unit waits for weights


def default(kind: Kind) -> float:
    """Return a kind's default density, rounded down so that a near tie is dense. Products without a matrix unit were
    measured on a Zen 5 core with AVX-512, those with one on an Intel Xeon with AMX.
    """
    if kind.product == "matrix":
        return 0.04 if kind.width < 128 else 0.03
    if kind.product == "matrix in three":
        return THREE[kind.width]
    if kind.product == "pairs":
        return 0.2 if kind.kernel > 1 else 0.08
    if kind.kernel == 1:
        return 0.4 if kind.binary else 0.2
    if kind.width >= 128:
        return 0.36
    return 0.5 if kind.binary else 0.42


def kept_file() -> Path:
    """Return the path of this machine's table, one for each processor, instruction set and version of the kernels."""
    name = fingerprint(processor_name(), build().isa)[:12]
    return cache_folder().parent / f"densities-{name}.json"


def read_file() -> dict[str, Any]:
    """Return the kept file's content; empty if there is none."""
    with suppress(OSError, ValueError, TypeError):
        return dict(json.loads(kept_file().read_text()))
    return {}


def read_kept() -> dict[str, float]:
    """Return the densities measured on this machine; empty if there are none, or the file is damaged."""
    with suppress(ValueError, TypeError, AttributeError, KeyError):
        found = read_file()["densities"]
        return {name: float(value) for name, value in found.items() if 0 <= float(value) <= 1}
    return {}


def save(densities: dict[Kind, float], hand_over: int) -> None:
    """Save what was measured unless another process did so first: all processes then choose alike. Raises OSError."""
    path = kept_file()
    table_of = {str(kind): density for kind, density in densities.items()}
    text = {"processor": processor_name(), "isa": build().isa, "densities": table_of, "hand_over_ns": hand_over}
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json") as file:
        file.write(json.dumps(text, indent=1))
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)
    table.cache_clear()
    hand_over_ns.cache_clear()


@cache
def hand_over_ns() -> int:
    """Return the nanoseconds until a sleeping thread has taken over work, on this machine."""
    kept = read_file().get("hand_over_ns")
    return kept if isinstance(kept, int) and kept > 0 else HAND_OVER_NS


@cache
def table() -> dict[Kind, float]:
    """Return every kind's break-even density on this machine."""
    kept = {} if library() is None else read_kept()
    return {kind: kept.get(str(kind), default(kind)) for kind in KINDS}


def is_known() -> bool:
    """Return whether the defaults hold for this processor."""
    return any(part in processor_name() for part in KNOWN)


def break_even(channels: int, kernel: int, *, binary: bool, product: Product) -> float:
    """Return the share of multiply-adds that meet an event below which visiting events is faster."""
    return table()[Kind.of(channels, kernel, binary=binary, product=product)]


def describe() -> str:
    """Return one line for users: the densities that this machine's engine chooses by, and their origin."""
    kept = read_kept()
    source = "measured here" if kept else "shipped for this processor" if is_known() else "defaults"
    chosen = table() if not kept else {kind: value for kind, value in table().items() if str(kind) in kept}
    shares = [
        f"{kind.product} {value:.0%}"
        for kind, value in chosen.items()
        if (kind.kernel, kind.binary, kind.width) == SHOWN
    ]
    return (
        f"on {processor_name()} events are visited below {', '.join(shares)} of a 3x3 convolution ({source}); "
        f"another thread helps from {2 * hand_over_ns() / 1000:.0f} us of work on"
    )
