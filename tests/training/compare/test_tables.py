"""Tables and claims of a comparison, from results made by hand, at their turning points."""

from dataclasses import replace
from typing import Any

from spikesight.training.compare.config import CompareConfig
from spikesight.training.compare.results import AnnResult, Cost, Curve, Results, StdpResult, Trial
from spikesight.training.compare.tables import claims, equal_work, steps_to


def curve(method: str, correct: list[int], images: int = 100, **more: Any) -> Curve:
    return Curve(method=method, correct=correct, images=images, **more)


WORK = {"1": Cost(1e6, 2e6, 0.1, 3e4, 5e5), "2": Cost(1e6, 4e6, 0.08, 5e4, 1e6), "4": Cost(2e6, 8e6, 0.07, 9e4, 2e6)}
RESULTS = Results(
    config=CompareConfig(),
    data="none",
    classes=10,
    ann=AnnResult(accuracy=91.5, images=200, accuracy_here=90.0, images_here=100, macs=7e6, activations=40_000),
    trials=[
        Trial(method="ours", steps=32, right=70, images=80),
    ],
    chosen=[curve("ours", [700, 880], 1000, ann_accuracy=90.5)],
    aimed=[curve("ours made for T = 4", [20, 60, 80, 86], work=WORK)],
    binary=[
        curve("rueckauer", [10, 40, 70, 88, 90, 91], exits={"0.9": (4.25, 87.5)}, work=WORK),
        curve("ours", [50, 80, 89, 90], exits={"0.8": (1.0, 2.0)}, work=WORK),
    ],
    direct=[
        curve("direct/arctan/2", [60, 85], work={"2": WORK["2"]}),
        curve("direct/arctan/4", [60, 80, 84, 87], work={"4": WORK["4"]}),
    ],
    stdp=[StdpResult(method="stdp", seed=1, right=76, images=100)],
    long=[curve("rueckauer", [10] * 99 + [90], ann_accuracy=91.0)],
)  # fmt: skip


def test_the_first_step_from_which_on_it_is_good() -> None:
    found = curve("x", [90, 10, 90, 89, 90, 91])
    assert [steps_to(found, target) for target in (5, 10, 89, 89.5, 90, 90.5, 91, 91.5)] == [1, 1, 3, 5, 5, 6, 6, None]
    assert steps_to(curve("x", []), 1) is None
    assert steps_to(curve("x", [1]), 1) == 1


def told(**changes: Any) -> dict[str, str]:
    return {row[0]: row[1] for row in claims(replace(RESULTS, **changes))}


def test_claims_turn_where_the_numbers_do() -> None:
    two, four = RESULTS.direct
    more = "more steps raise direct accuracy"
    assert told()[more] == "holds"
    assert told(direct=[two, replace(four, correct=[0, 0, 0, 85])])[more] == "does not hold", "as much is not more"
    assert told(direct=[two, replace(two, method="other")])[more] == "not tested"
    beats = "conversion at T = 100 beats direct training"
    assert told()[beats] == "holds"
    assert told(long=[replace(RESULTS.long[0], correct=[10] * 99 + [87])])[beats] == "does not hold"
    latency = "conversion's latency is two orders of magnitude higher at equal accuracy"
    assert told()[latency] == "does not hold"
    slow = [curve("ours", [10] * 399 + [99])]
    assert told(binary=slow)[latency] == "holds"
    assert told(binary=[curve("ours", [10] * 398 + [99, 99])])[latency] == "does not hold"
    assert "any conversion needs hundreds of steps" not in told(binary=[])
    assert "conversion (Rueckauer) needs hundreds of steps" not in told(binary=slow, long=[])


def test_equal_work_reads_each_conversion_at_the_largest_step_that_fits() -> None:
    def run(method: str, correct: list[int], costs: dict[str, float]) -> Curve:
        return curve(method, correct, work={t: Cost(c / 2, c / 2) for t, c in costs.items()})

    results = replace(
        RESULTS,
        direct=[run("direct/arctan/2", [50, 80], {"2": 3e6})],
        chosen=[curve("ours", [1])],
        aimed=[run("ours made for T = 4", [1, 2, 3, 70], {"4": 9e6})],
        binary=[run("ours", [10, 90, 20, 95], {"2": 2e6, "3": 3e6, "4": 4e6}), run("ltb", [9], {"1": 1e6})],
    )
    rows = [row[:4] for row in equal_work(results)[1:]]
    assert [row[:3] for row in rows] == [
        ["direct/arctan/2", "2", "3.00"],
        ["... ours made for T = 4", "none fits", ""],
        ["... ours", "3", "3.00"],
    ]
    assert rows[2][3].startswith("20.00")
