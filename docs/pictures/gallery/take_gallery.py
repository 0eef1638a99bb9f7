"""Takes the pictures of docs/gallery.md: what the shipped models say of a walk, a gesture, a digit and a recording.

`python docs/pictures/gallery/take_gallery.py [--only WORD]` writes files beside this one, and none in which an answer
is not the true one; shown.json says of each what it shows and what is answered. Needs Chromium and playwright, xvfb
and rerun-sdk.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib as mpl
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

mpl.use("agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT)]
import take  # noqa: E402

from spikesight.app.c_folder import c_compiler, compile_c, export_c  # noqa: E402
from spikesight.app.standalone import write_folder  # noqa: E402
from spikesight.app.webcam.demo import Demo  # noqa: E402
from spikesight.encoders.events import SensorSize  # noqa: E402
from spikesight.encoders.recordings.files import write_recording  # noqa: E402
from spikesight.encoders.sources import samples  # noqa: E402
from spikesight.encoders.sources.chunks import open_source  # noqa: E402
from spikesight.models.checkpoint import load  # noqa: E402
from spikesight.models.classifier import Classifier  # noqa: E402
from spikesight.models.shipped import find  # noqa: E402
from spikesight.service.client import Client  # noqa: E402
from tests.support.inputs.formats import nmnist_records  # noqa: E402
from tests.support.inputs.things import passing  # noqa: E402
from tests.support.serving.static import static  # noqa: E402

WIDTH = 640  # pixels of a picture
SURE = 0.95


def save(name: str, picture: Image.Image, source: str, says: str, width: int = WIDTH) -> None:
    """A small WebP of a sample or of what was drawn, and what is answered in it."""
    small = picture.convert("RGB").resize(
        (width, round(width * picture.height / picture.width)), Image.Resampling.LANCZOS
    )
    small.save(HERE / f"{name}.webp", quality=82, method=6)
    take.note(HERE / f"{name}.webp", source, says)


def watched(name: str, source: str, what: str, truth: str) -> None:
    """The window of `spikesight webcam` at the step with most events at which the true label is sure and steady."""
    demo, pictures = Demo(Classifier.load(find("motions")), open_source(source)), {}
    for chunk in demo.source.chunks:
        answers = demo.process(chunk)
        if demo.answer and demo.answer.steady == truth and answers and max(answers[-1].probabilities) > SURE:
            pictures[answers[-1].n_events * (answers[-1].label == truth)] = demo.picture()
    if not max(pictures, default=0):
        raise SystemExit(f"no picture: nothing in {source} is {truth}")
    save(name, Image.fromarray(pictures[max(pictures)]), what, truth)


def door(folder: Path) -> None:
    """Somebody walks by to the right."""
    film = cv2.VideoWriter(str(folder / "door.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for frame in passing(("right",), seed=3):
        film.write(frame)
    film.release()
    watched("door", str(folder / "door.avi"), "drawn-right", "right")


def reader() -> None:
    """A written 7 and the answer to it."""
    digit = take.digit("7")
    with take.serving((Classifier.load(find("nmnist")),)) as url:
        answer = Client(url).predict(cv2.imencode(".png", digit)[1].tobytes())
    if answer.label != "7":
        raise SystemExit(f"no picture: the service reads {answer.label}")
    said = {
        "model": answer.model,
        "label": answer.label,
        "confidence": round(answer.confidence, 4),
        "step": answer.step,
    }
    picture = Image.new("RGB", (WIDTH, 240), "#10141b")
    picture.paste(Image.fromarray(digit).resize((200, 200)), (20, 20))
    text = "$ curl -F file=@digit.png \\\n    http://127.0.0.1:8000/v1/predict\n" + json.dumps(said, indent=2)
    ImageDraw.Draw(picture).text((250, 24), text, "#e8edf4", ImageFont.load_default(19), spacing=7)
    save("reader", picture, "drawn-7", answer.label)


def notebook() -> None:
    """What the page's block draws."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "gallery.md").read_text(), re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "matplotlib" in block)
    plt.figure(figsize=(6.4, 3.2), layout="constrained")
    names: dict[str, object] = {}
    exec(block, names)
    with tempfile.TemporaryFile() as file:
        plt.savefig(file, dpi=200)
        save("notebook", Image.open(file), "digit-3", names["answers"][-1].label)  # type: ignore[index]


def small(folder: Path) -> None:
    """The C program's answers to a recording."""
    export_c(*load(find("nmnist")), "nmnist", folder / "c")
    program = compile_c(folder / "c", c_compiler(), "-O2")
    words = nmnist_records(samples.events_of("digit-7")).tobytes()
    said = subprocess.run([program, "nmnist", "34", "34"], input=words, capture_output=True, check=True).stdout.decode()
    rows = [line.split("\t")[:8] for line in said.splitlines()]
    text = "$ digit_c/example nmnist 34 34 < digit.bin\n"
    text += "\n".join("".join(word[:9].ljust(11) for word in row) + "..." for row in rows)
    picture = Image.new("RGB", (2 * WIDTH, 60 + 34 * len(rows)), "#10141b")
    ImageDraw.Draw(picture).text((24, 16), text, "#e8edf4", monospaced(24), spacing=8)
    save("small", picture, "digit-7", rows[-1][1])


def monospaced(size: int) -> ImageFont.FreeTypeFont:
    """A font in which columns stand below each other."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans Mono"), size)


def page(folder: Path) -> None:
    """The folder of `spikesight export --web` in a browser."""
    write_folder(folder / "site", *load(find("nmnist")), "nmnist")
    with static(folder / "site") as origin, take.chromium() as (browser, _):
        opened = take.visit(browser, f"{origin}/", "light", take.WIDE)
        picture = take.fullest(take.recording(opened, "7"))
        save("page", Image.open(io.BytesIO(picture)), "digit-7", "7", 2 * WIDTH)


def viewer(folder: Path) -> None:
    """Rerun's viewer on what `spikesight play` wrote, without a display or a GPU. Needs xvfb and rerun-sdk."""
    recording, events, size = folder / "circle.npz", samples.events_of("circle"), SensorSize(128, 128)
    (*_, answer) = Classifier.load(find("motions")).predict_events(events, size)
    if answer.label != "right":
        raise SystemExit(f"no picture: the circle moves {answer.label}")
    write_recording(recording, events, size)
    command = [sys.executable, "-m", "spikesight", "play", recording, "--to", f"rerun:{folder}/seen.rrd?model=motions"]
    subprocess.run(command, check=True)
    shown = ["--screenshot-to", folder / "viewer.png", "--window-size", "1100x640", "--renderer", "gl", "--port", "0"]
    command = ["xvfb-run", "-a", sys.executable, "-m", "rerun_cli", folder / "seen.rrd", "--bind", "127.0.0.1", *shown]
    mesa = {"LIBGL_ALWAYS_SOFTWARE": "1", "MESA_EXTENSION_OVERRIDE": "+GL_ARB_color_buffer_float"}
    subprocess.run(command, check=True, env=os.environ | mesa)
    save("viewer", Image.open(folder / "viewer.png"), "circle", answer.label, 2 * WIDTH)


def main() -> None:
    """Take all of them, or one."""
    with tempfile.TemporaryDirectory() as name:
        takes: dict[str, Callable[[], None]] = {
            "door": lambda: door(Path(name)),
            "switch": lambda: watched("switch", "circle", "circle", "right"),
            "reader": reader,
            "notebook": notebook,
            "small": lambda: small(Path(name)),
            "page": lambda: page(Path(name)),
            "viewer": lambda: viewer(Path(name)),
        }
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--only", choices=takes, help="take this one alone")
        only = parser.parse_args().only
        for one in [only] if only else takes:
            takes[one]()


if __name__ == "__main__":
    main()
