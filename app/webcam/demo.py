"""`spikesight webcam`: live predictions on the desktop, from a camera, a video or a recording."""

import argparse
import json
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from spikesight.app.webcam.overlay import Surface, draw, framed, paint
from spikesight.encoders.sources import samples
from spikesight.encoders.sources.chunks import Chunk, OpenedSource, open_source
from spikesight.models.checkpoint import read_config
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session, inputs_of
from spikesight.models.classifier.tracker import MAX_DETECTIONS
from spikesight.models.shipped import find, first_shipped, shipped
from spikesight.models.steps import Answer, Detection, Prediction
from spikesight.service.sinks.delivery import Deliveries, open_deliveries
from spikesight.service.sinks.report import Report

KEYS = {"r": "reset", "q": "quit", "\x1b": "quit"}


class NoDisplay(ValueError):
    """There is no display for a window."""


class DisplayWindow:
    """A window as a context manager: `show` pictures, poll `actions`."""

    def __init__(self, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            needs = "a window needs pygame-ce: pip install 'spikesight[webcam]', or use --no-window"
            raise NoDisplay(needs) from error
        self.pygame = pygame
        with suppress(pygame.error):
            pygame.display.init()
        unseen = pygame.display.get_init() and pygame.display.get_driver() == "offscreen"  # SDL's fallback
        if not pygame.display.get_init() or (unseen and "SDL_VIDEODRIVER" not in os.environ):
            pygame.display.quit()
            raise NoDisplay("there is no display here: use --no-window, or the page of `spikesight serve`")
        pygame.display.set_caption(title)
        self.screen: pygame.Surface | None = None

    def show(self, picture: np.ndarray) -> None:
        """Show RGB uint8 [H, W, 3], scaled if the window was resized."""
        pygame = self.pygame
        size = (picture.shape[1], picture.shape[0])
        if self.screen is None:
            self.screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        surface = pygame.image.frombuffer(np.ascontiguousarray(picture).tobytes(), size, "RGB")
        if self.screen.get_size() != size:
            surface = pygame.transform.smoothscale(surface, self.screen.get_size())
        self.screen.blit(surface, (0, 0))
        pygame.display.flip()

    def actions(self) -> list[str]:
        """Return the actions requested since the last call, as in KEYS."""
        asked = []
        for event in self.pygame.event.get():
            if event.type == self.pygame.QUIT:
                asked.append("quit")
            elif event.type == self.pygame.KEYDOWN:
                key = event.unicode or ("\x1b" if event.key == self.pygame.K_ESCAPE else "")
                asked.extend([KEYS[key.lower()]] if key.lower() in KEYS else [])
        return asked

    def __enter__(self) -> "DisplayWindow":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.pygame.display.quit()


DESCRIPTION = """Live predictions from a webcam, a video, a recording or a shipped sample.

  spikesight webcam                          the first camera, in a window
  spikesight webcam --source digit-3         a shipped recording: no camera needed
  spikesight webcam --source clip.mp4 --no-window
  spikesight webcam --source prophesee       an event camera; also inivation, dv://host:port, udp://host:port
  spikesight webcam --objects 8              several digits at once, each in a box
  spikesight webcam --source clip.mp4 --no-window --count line:320,0,320,480"""

LATE_S = 0.1  # delay from which pictures are skipped, never predictions
LAST_S = 2.0  # seconds that the last picture stays, unless a key is pressed
PICTURE_S = 0.03  # seconds between its pictures


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="0", help="webcam number, video, recording, sample or live source (0)")
    parser.add_argument("--model", default="", help="shipped name or model folder (default: the shipped model)")
    parser.add_argument("--bin-ms", type=float, metavar="B", help="length of a step, in the model's range")
    parser.add_argument("--no-window", action="store_true", help="print a line a step instead of showing a window")
    parser.add_argument("--threshold", type=float, default=0.2, help="contrast threshold of the pixel model")
    parser.add_argument("--noise", type=float, default=0.0, metavar="HZ", help="noise events a second a pixel")
    parser.add_argument("--raw", action="store_true", help="no noise filter and no crop on the object")
    several = "follow up to N things at once, each with a box and a label of its own"
    parser.add_argument("--objects", type=int, default=0, metavar="N", help=several)
    crossing = "count objects that cross line:X1,Y1,X2,Y2 (pixels), as lines of JSON"
    parser.add_argument("--count", metavar="WHERE", help=crossing)
    where = "send predictions: https://, mqtt://, file:; repeat for several"
    parser.add_argument("--to", action="append", default=[], metavar="SINK", help=where)
    parser.add_argument("--every-step", action="store_true", help="send every step, not only changes of the label")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so much of the source")


def run(args: argparse.Namespace) -> int:
    """Show predictions until the source ends or the user quits; return the exit code."""
    source = open_source(args.source, loop=not args.no_window)
    classifier = Classifier.load(find(args.model or default_model(args.source))).at(args.bin_ms)
    sinks = Deliveries()
    sinks.start(open_deliveries(args.to))
    report = Report(sinks.post, source.name, every_step=args.every_step)
    demo = Demo(
        classifier,
        source,
        threshold=args.threshold,
        noise_hz=args.noise,
        raw=args.raw,
        report=report,
        objects=args.objects or (MAX_DETECTIONS if args.count else 0),
        counting=Counting.of(args.count) if args.count else None,
    )
    try:
        if args.no_window:
            run_without_window(demo, args.seconds)
        else:
            with DisplayWindow(f"Spikesight: {source.name} (r: reset membranes, q: quit)") as window:
                run_in_window(demo, window, args.seconds)
    finally:
        sinks.close()
    return 0


def default_model(source: str = "") -> str:
    """Return the first shipped model; for a sample, the first with a class in its label. Raises ValueError."""
    first = first_shipped()
    words = {word for sample in samples.listing() if sample.name == source for word in re.split(r"\W+", sample.label)}
    matching = (name for name in shipped() if words & set(read_config(find(name))[2].labels))
    return next(matching, first)


Point = tuple[float, float]
REMEMBERED = 64  # most objects whose last position is kept
NEAR = 0.25  # of an object's shorter side: so near the line it is on neither side, and may dither there


@dataclass
class Counting:
    """Counts of objects that crossed a line between two points, in pixels (`--count`).

    An object's position is the centre of its box. It crosses the line between the line's ends: `forward` from left to
    right, as seen from `begin` towards `end`, else `backward`. It counts once the object is clear of the line (NEAR).
    """

    begin: Point
    end: Point
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # by label and direction
    _before: dict[int, Point] = field(default_factory=dict)  # by object id: last position clear of the line

    @classmethod
    def of(cls, text: str) -> "Counting":
        """Parse `line:X1,Y1,X2,Y2`. Raises ValueError."""
        kind, _, numbers = text.partition(":")
        try:
            x1, y1, x2, y2 = map(float, numbers.split(","))
        except ValueError:
            x1 = x2 = y1 = y2 = math.nan
        if kind != "line" or not math.isfinite(x1 + y1 + x2 + y2) or (x1, y1) == (x2, y2):
            raise ValueError("--count is line:X1,Y1,X2,Y2 in pixels, of two points, not " + text)
        return cls((x1, y1), (x2, y2))

    def push(self, objects: Sequence[Detection], t_us: int) -> list[dict[str, Any]]:
        """Update with the objects after a step; return a JSON record of each that crossed, with the count so far."""
        records: list[dict[str, Any]] = []
        for one in objects:
            left, top, width, height = one.box
            here = left + width / 2, top + height / 2
            if self._distance(here) < NEAR * min(width, height):
                continue
            went = self._crossing(self._before.pop(one.id, None), here)
            self._before[one.id] = here
            if len(self._before) > REMEMBERED:
                del self._before[next(iter(self._before))]
            if went:
                self.counts[one.label, went] += 1
                records.append(
                    {"t_us": t_us, "object": one.id, "label": one.label, "crossed": went}
                    | {"count": self.counts[one.label, went], "box": [round(value, 1) for value in one.box]}
                )
        return records

    def _crossing(self, before: Point | None, here: Point) -> str:
        """Return the direction in which an object crossed; "" if it did not."""
        if before is None:
            return ""
        one, other = _side(self.begin, self.end, before), _side(self.begin, self.end, here)
        between = (_side(before, here, self.begin) > 0) != (_side(before, here, self.end) > 0)
        return "" if (one > 0) == (other > 0) or not between else "forward" if other > 0 else "backward"

    def _distance(self, at: Point) -> float:
        """Return the distance from the line."""
        (x1, y1), (x2, y2), (x, y) = self.begin, self.end, at
        along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / math.dist(self.begin, self.end) ** 2
        share = min(max(along, 0.0), 1.0)
        return math.hypot(x - x1 - share * (x2 - x1), y - y1 - share * (y2 - y1))


def _side(begin: Point, end: Point, at: Point) -> float:
    """Return a number above 0 if `at` is right of the line as seen from `begin` towards `end`, y growing downwards."""
    return (end[0] - begin[0]) * (at[1] - begin[1]) - (end[1] - begin[1]) * (at[0] - begin[0])


@dataclass
class Demo:
    """One source classified by one model, with everything that the window shows."""

    classifier: Classifier
    source: OpenedSource
    threshold: float = 0.2
    noise_hz: float = 0.0
    raw: bool = False
    report: Report | None = None
    objects: int = 0
    counting: Counting | None = None
    answer: Answer | None = None
    warned: str | None = None  # last warning about the camera
    camera: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.session = Session(self.classifier, self.source.sensor, raw=self.raw, objects=self.objects)
        self.session.settings(self.threshold, self.noise_hz)
        self.stepper = Stepper(self.classifier, self.session.readout)
        self.surface = Surface.blank(self.session.sensor)

    def process(self, chunk: Chunk) -> list[Prediction]:
        """Process a frame or packet; return the predictions of the steps that it completes."""
        if chunk.frame is not None:
            self.camera = chunk.frame
        inputs = inputs_of(self.session, chunk)
        says = self.session.pipeline and self.session.pipeline.watch.says
        if says and says != self.warned:
            print(says, file=sys.stderr)
        self.warned = says or self.warned
        sensor = self.session.sensor
        if self.surface.levels.shape != (sensor.height, sensor.width):
            self.surface = Surface.blank(sensor, chunk.t_us)
        self.surface = self.surface.seen(self.session.seen, chunk.t_us)
        predictions = []
        for given in inputs:
            self.answer = self.stepper.step(given)
            predictions.append(self.answer.prediction)
            if self.report is not None:
                self.report.report_step(self.classifier.name, self.answer)
            self._count(self.answer.prediction)
        return predictions

    def _count(self, prediction: Prediction) -> None:
        """Print and send a record of each object that crossed in this step."""
        for record in [] if self.counting is None else self.counting.push(prediction.objects or (), prediction.end_us):
            print(json.dumps(record), flush=True)
            if self.report is not None:
                self.report.post_record(self.classifier.name, record)

    def picture(self) -> np.ndarray:
        """Draw the window's present content, RGB uint8 [H, W, 3]."""
        views = [paint(self.surface)] if self.camera is None else [self.camera, paint(self.surface)]
        objects = (self.answer and self.answer.prediction.objects) or ()
        for one in objects:
            views[0] = framed(views[0], one.box, f"{one.label} {one.confidence:.0%}")
        if self.answer is None:
            return draw(views, "", "")
        several = " ".join(one.label for one in objects) if len(objects) > 1 else ""
        below = line_of(self.answer.prediction).partition(" s ")[2].strip()
        return draw(views, several or self.answer.prediction.label or self.answer.prediction.top1, below)


def line_of(prediction: Prediction) -> str:
    """Return the prediction after a step as a line of text."""
    return (
        f"{prediction.end_us / 1e6:9.3f} s  {prediction.label or '-':>12}  {prediction.confidence:6.1%}"
        f"  {prediction.n_events:7d} events  {prediction.spikes:7d} spikes  {prediction.latency_ms:6.1f} ms"
    ) + "".join(
        f"  {one.label} #{one.id} at {one.box[0] + one.box[2] / 2:.0f},{one.box[1] + one.box[3] / 2:.0f}"
        for one in prediction.objects or ()
    )


def run_without_window(demo: Demo, seconds: float) -> None:
    """Run without a window: print a line a step, as fast as the source allows."""
    for chunk in demo.source.chunks:
        if chunk.t_us > seconds * 1e6:
            return
        for prediction in demo.process(chunk):
            if demo.counting is None:
                print(line_of(prediction))


def run_in_window(demo: Demo, window: DisplayWindow, seconds: float) -> None:
    """Run with a window, in real time: when late, pictures are skipped but never predictions."""
    begin = time.perf_counter()
    for chunk in demo.source.chunks:
        for action in window.actions():
            if action == "quit":
                return
            demo.session.reset()
        if chunk.t_us > seconds * 1e6:
            return
        demo.process(chunk)
        ahead = 0.0 if demo.source.live else begin + chunk.t_us / 1e6 - time.perf_counter()
        if ahead > -LATE_S:
            window.show(demo.picture())
            time.sleep(max(0.0, ahead))
    until = time.perf_counter() + (0.0 if demo.source.live else LAST_S)
    while time.perf_counter() < until and not window.actions():
        window.show(demo.picture())
        time.sleep(PICTURE_S)
