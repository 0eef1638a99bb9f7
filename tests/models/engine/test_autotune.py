"""Break-even densities: measured where they are not known, kept once for all processes, and never seen in a result."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikesight.models.engine import autotune, densities
from spikesight.models.engine.densities import KINDS, Kind, break_even, default
from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.native.build import library
from tests.support.models import lively
from tests.support.oracles.networks import EVENT, assert_no_bit_changes, inputs

native = pytest.mark.skipif(library() is None, reason=engine_status())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for the table, on a processor that nobody knows."""
    monkeypatch.setenv("SPIKESIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(densities, "KNOWN", ())
    densities.table.cache_clear()
    yield tmp_path
    densities.table.cache_clear()


def seconds(*events: float, dense: float) -> dict[float | None, float]:
    return {**dict(zip(autotune.DENSITIES, events)), None: dense}


def test_the_density_is_where_both_take_as_long() -> None:
    quiet = [seconds(1, 2, 4, 9, dense=3)] * 4
    assert autotune.judged(quiet) == pytest.approx(0.1 * autotune.MARGIN)
    assert autotune.judged([seconds(4, 5, 6, 7, dense=3)] * 4) == 0  # events never pay
    assert autotune.judged([seconds(1, 1, 1, 2, dense=3)] * 4) == pytest.approx(0.65 * autotune.MARGIN)


def test_time_taken_by_others_is_left_out_and_a_busy_machine_says_nothing() -> None:
    quiet, disturbed = seconds(1, 2, 4, 9, dense=3), seconds(1, 2, 9, 9, dense=30)
    assert autotune.judged([quiet, disturbed, disturbed, quiet]) == pytest.approx(0.1 * autotune.MARGIN)
    assert autotune.judged([quiet, disturbed] * 2) is None  # every second run is another one


@pytest.mark.parametrize(
    ("first", "later", "density"),
    [
        (3, 3.5, 0.1),  # densities of 0.1 and 0.125
        (3.5, 3, 0.1),
        (3, 3.7, None),  # 0.1 and 0.135
        (1.001, 1.24, 0.01),  # 0.01 and 0.0196: less than the least that is told apart
        (1.001, 1.3, None),  # 0.01 and 0.022
    ],
)
def test_every_second_run_may_say_as_much_more_and_no_more(first: float, later: float, density: float | None) -> None:
    found = autotune.judged([seconds(1, 2, 4, 9, dense=first), seconds(1, 2, 4, 9, dense=later)] * 2)
    assert found == (None if density is None else pytest.approx(0.95 * density, rel=0.01))


@pytest.mark.parametrize(("width", "side"), [(64, 20), (128, 14), (256, 7)])
def test_frames_to_be_timed_are_as_large_as_layers_have_and_as_much_work_for_either_kernel(
    width: int, side: int
) -> None:
    for kernel, frames in ((1, 18), (3, 2)):
        spikes = autotune.spikes_for(Kind("float", kernel, True, width), 0.4)
        assert spikes.shape == (frames, 1, width, 2 * side, 2 * side)
        assert float(spikes[..., ::2, ::2].float().mean()) == pytest.approx(0.4, abs=0.01)
        assert int(spikes.sum()) == int(spikes[..., ::2, ::2].sum()), "one of each pool's four places"
        assert spikes.unique().tolist() == [0, 1]
    sums = autotune.spikes_for(Kind("float", 3, False, width), 0.4)
    assert sums.unique().tolist() == [0, 1, 2], "what is no spike may be a sum of two"
    assert not autotune.can_time(Kind("float", 3, True, 512)), "it would take too long"


@pytest.mark.parametrize(("seconds", "runs"), [(2.5, 0), (3.5, 4), (8.5, 9), (1e9, 10)])
def test_four_to_ten_runs_are_judged(seconds: float, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, kind = [0.0], KINDS[0]

    def spent(_: object) -> float:
        clock[0] += 1.0
        return 7.0

    monkeypatch.setattr(autotune.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(autotune, "prepare", lambda _: {None: None})
    monkeypatch.setattr(autotune, "spent", spent)
    monkeypatch.setattr(autotune, "judged", len)
    assert autotune.measure([kind], seconds) == ({kind: runs} if runs else {})


@native
@pytest.mark.parametrize("kind", [kind for kind in KINDS if library() is not None and autotune.can_time(kind)], ids=str)
def test_what_is_timed_is_what_is_said(kind: Kind) -> None:
    """Both kernels, on inputs of the stated density, multiplied as the kind says."""
    plan = autotune.plan_for(kind)
    (convolution,) = [layer.main for layer in plan.layers if not layer.pool]
    assert convolution.density == break_even(kind.width, kind.kernel, binary=kind.binary, product=kind.product)
    for choice in ("events", "dense"):
        engine = Engine.of(plan, choice)
        engine.run(autotune.spikes_for(kind, 0.15))
        (use,) = engine.uses()
        assert use.density == pytest.approx(0.15, abs=0.01)
        assert use.event_driven == (choice == "events")


@native
def test_a_table_is_measured_once_and_the_first_process_wins(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, busy = Kind("float", 3, True, 64), Kind("float", 1, True, 64)
    monkeypatch.setattr(autotune, "measure", lambda kinds: {k: 0.123 for k in kinds if k != busy})
    autotune.calibrated()
    assert break_even(64, 3, binary=True, product="float") == 0.123
    assert densities.table()[busy] == default(busy)  # what could not be measured
    assert "measured here" in densities.describe()
    monkeypatch.setattr(autotune, "measure", lambda _: pytest.fail("measured again"))
    autotune.calibrated()
    densities.keep({kind: 0.5})  # of a process that began at the same time
    assert densities.table()[kind] == 0.123
    (file,) = cache.glob("densities-*.json")
    assert json.loads(file.read_text())["processor"]


@native
def test_a_machine_too_busy_to_measure_tries_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "measure", lambda _: {})
    autotune.calibrated()
    assert not list(cache.glob("*.json"))
    assert "defaults" in densities.describe()


@native
def test_a_broken_table_and_a_known_processor_have_the_defaults(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    densities.kept_file().write_text('{"densities": {"3x3": "much"}}')
    autotune.calibrated()
    assert densities.table() == {kind: default(kind) for kind in KINDS}
    for file in cache.glob("*.json"):
        file.unlink()
    monkeypatch.setattr(densities, "KNOWN", ("",))
    autotune.calibrated()
    assert not list(cache.glob("*.json"))


@native
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.1, 0.3, 1.0])
def test_no_density_lets_a_stream_notice_its_company(
    density: float, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(densities, "table", lambda: dict.fromkeys(KINDS, density))
    network, x_seq = lively(EVENT), inputs(4, 3, size=(34, 34))
    engine = Engine(network, 34, 34, precision=precision)
    assert_no_bit_changes(engine, x_seq)


def test_kinds_are_timed_in_turns_and_judged_when_often_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, prepared, kinds = [0.0], list[object](), ["a", "b", "c"]
    monkeypatch.setattr(autotune.time, "monotonic", lambda: clock[0])

    def prepare(kind: object) -> dict[float | None, object]:
        prepared.append(kind)
        return dict.fromkeys([*autotune.DENSITIES, None], kind)

    def spent(kind: object) -> float:
        clock[0] += 1.0 if kind == "b" else 0.0
        return 7.0

    monkeypatch.setattr(autotune, "prepare", prepare)
    monkeypatch.setattr(autotune, "spent", spent)
    monkeypatch.setattr(autotune, "judged", lambda runs: None if len(runs) > autotune.LEAST_RUNS else len(runs))
    a_turn = len(autotune.DENSITIES) + 1
    enough = autotune.LEAST_RUNS * a_turn - 0.5
    assert autotune.measure(kinds, enough) == dict.fromkeys("ab", autotune.LEAST_RUNS)  # type: ignore[arg-type]
    assert prepared == kinds
    clock[0] = 0.0
    assert autotune.measure(["b", "c"], a_turn * (autotune.LEAST_RUNS - 1) - 0.5) == {}, "too few"  # type: ignore[arg-type, list-item]
    assert autotune.measure(["a"]) == {}, "too busy to say"  # type: ignore[arg-type, list-item]
