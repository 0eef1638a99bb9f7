"""JSON bodies of teaching sessions."""

from typing import Literal

from pydantic import Field

from spikesight.service.http.bodies import Body

LABEL = 64  # most characters of a class's name


class TaughtClass(Body):
    """One class of a teaching session."""

    label: str
    examples: list[int] = Field(description="their numbers, in the order they came")


class TeachingBody(Body):
    """The state of a teaching session."""

    type: Literal["teaching"] = "teaching"
    id: str = Field(description="of the session, and the name of its model for /v1/stream and /v1/predict")
    features: str = Field(description="the model whose frozen network gives the features")
    window_ms: float = Field(description="length of an example")
    classes: list[TaughtClass]
    ready: bool = Field(description="a head of at least two classes is served")
    learning: bool = Field(description="another head is on its way")
    version: int = Field(description="heads so far")
    accuracy: float | None = Field(description="share of held-out examples that a head without their piece got right")
    correct: int = 0
    count: int = Field(default=0, description="held-out examples")
    interval: tuple[float, float] | None = Field(default=None, description="95 % interval of the accuracy")
    another_day: float | None = Field(default=None, description="accuracy to expect on another day")
    another_day_interval: tuple[float, float] | None = Field(default=None, description="90 % interval of that")
    expected: list[str] = Field(default=[], description="how right it will be, in sentences: another day comes first")
    confused: list[tuple[str, str, float]] = Field(
        default=[], description="classes taken for each other, and how often"
    )
    advice: list[str] = Field(default=[], description="what to show next")
    max_examples: int
    can_save: bool = Field(description="this service keeps models that are saved")
    saved: str | None = Field(default=None, description="the name it was last saved by")
    quiet: bool = Field(default=False, description="on a stream: the last example hardly moved, and was not taken")


class TakenBody(Body):
    """The result of adding a recording's windows as examples."""

    taken: list[int] = Field(description="numbers of the new examples")
    skipped: int = Field(description="windows in which too little moved")
    warnings: list[str] = Field(default=[], description="what was damaged or guessed in the recording")
    teaching: TeachingBody
