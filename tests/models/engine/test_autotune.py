"""Break-even densities: measured where they are not known, kept once for all processes, and never seen in a result."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikesight.models.engine import autotune, densities
from spikesight.models.engine.densities import KINDS, Kind, break_even, default
from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.native.build import library

native = pytest.mark.skipif(library() is None, reason=engine_status())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for the table, on a processor that nobody knows."""
    monkeypatch.setenv("SPIKESIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(densities, "KNOWN", ())
    for kept in (densities.table, densities.hand_over_ns):
        kept.cache_clear()
    yield tmp_path
    for kept in (densities.table, densities.hand_over_ns):
        kept.cache_clear()


def seconds(*events: float, dense: float) -> dict[float | None, float]:
    return {**dict(zip(autotune.DENSITIES, events)), None: dense}


def test_time_taken_by_others_is_left_out_and_a_busy_machine_says_nothing() -> None:
    quiet, disturbed = seconds(1, 2, 4, 9, dense=3), seconds(1, 2, 9, 9, dense=30)
    assert autotune.break_even_of([quiet, disturbed, disturbed, quiet]) == pytest.approx(0.1 * autotune.MARGIN)
    assert autotune.break_even_of([quiet, disturbed] * 2) is None  # every second run is another one


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
    kind, busy = Kind("float", 3, True, 128), Kind("float", 1, True, 64)
    monkeypatch.setattr(autotune, "measure", lambda kinds: {k: 0.123 for k in kinds if k != busy})
    autotune.calibrated()
    assert break_even(130, 5, binary=True, product="float") == 0.123
    assert densities.table()[busy] == default(busy)  # what could not be measured
    assert "float 12%" in densities.describe()
    assert "measured here" in densities.describe()
    monkeypatch.setattr(autotune, "measure", lambda _: pytest.fail("measured again"))
    autotune.calibrated()
    densities.save({kind: 0.5}, 1)  # of a process that began at the same time
    assert densities.table()[kind] == 0.123
    (file,) = cache.glob("*.json")
    assert json.loads(file.read_text())["processor"]


@native
@pytest.mark.usefixtures("cache")
def test_a_hand_over_is_kept_and_one_that_is_none_is_not_trusted() -> None:
    usual = densities.hand_over_ns()
    densities.save({}, 3 * usual)
    assert densities.hand_over_ns() == 3 * usual
    for wrong in (0, -1, "5", None):
        densities.kept_file().write_text(json.dumps({"hand_over_ns": wrong}))
        densities.hand_over_ns.cache_clear()
        assert densities.hand_over_ns() == usual
