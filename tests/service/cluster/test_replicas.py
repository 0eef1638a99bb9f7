"""Who is asked next, and what several replicas say together."""

import asyncio

import pytest

from spikesight.service.cluster import replicas as module
from spikesight.service.cluster.replicas import SUSPECT_S, Replicas, summed, summed_metrics


def test_the_one_with_the_least_work_is_next_and_suspects_are_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    known = {"a": "http://a", "b": "http://b"}

    async def there() -> dict[str, str]:
        return dict(known)

    made = Replicas(there)
    assert made.choose(set(), lambda r: r.running) is None
    asyncio.run(made.refresh())
    a, b = made.all()
    a.running, b.running, a.streams, b.streams = 2, 1, 0, 5
    assert made.choose(set(), lambda r: r.running) is b
    assert made.choose(set(), lambda r: r.streams) is a
    assert made.choose({b}, lambda r: r.running) is a
    assert made.choose({a, b}, lambda r: r.running) is None
    made.lost(b)
    assert made.choose(set(), lambda r: r.running) is a
    assert made.choose({a}, lambda r: r.running) is b, "a suspect is better than none"
    now[0] += SUSPECT_S
    assert made.choose(set(), lambda r: r.running) is b
    del known["a"]
    asyncio.run(made.refresh())
    assert (len(made), made.get("a"), made.get("b")) == (1, None, b)


def test_numbers_are_added_and_times_take_the_latest() -> None:
    first = {"n": 1, "last_ms": 9, "name": "x", "deep": [{"ns": 5}, 2], "share": 0.5, "on": True}
    second = {"n": 2, "last_ms": 7, "name": "x", "deep": [{"ns": 6}, 3], "share": 0.7, "on": True}
    assert summed([first, second]) == {
        "n": 3, "last_ms": 9, "name": "x", "deep": [{"ns": 11}, 5], "share": 0.5, "on": True,
    }  # fmt: skip
    assert summed([{"a": 1}, {}]) == {"a": 1}


def test_metrics_are_added_sample_by_sample() -> None:
    one = b'# HELP r requests\n# TYPE r counter\nr_total{a="x"} 2.0\nr_created{a="x"} 5.0\n'
    one += b"# HELP g now\n# TYPE g gauge\ng 1.0\n"
    two = b'# HELP r requests\n# TYPE r counter\nr_total{a="x"} 3.0\nr_total{a="y"} 1.0\n'
    lines = summed_metrics([one, two]).decode().splitlines()
    assert {'r_total{a="x"} 5.0', 'r_total{a="y"} 1.0', "g 1.0"} <= set(lines)
    assert not any("_created" in line for line in lines)
    assert sum(line.startswith("# TYPE") for line in lines) == 2
