"""Plug-ins: installed packages extend the registries through the entry points `spikesight.networks`, `.formats`,
`.sources`, `.data` and `.sinks` (https://packaging.python.org/specifications/entry-points).

A group is loaded when a registry is first asked for a name that is not built in. A plug-in that fails to load, has the
wrong type or uses a name already taken is skipped with a warning.
"""

import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from threading import RLock
from typing import Any

log = logging.getLogger("spikesight")
_extended: set[str] = set()
_turn = RLock()  # models load in threads; a plug-in may ask for another group while it loads


def extend(group: str, registries: Mapping[Any, dict[str, Any]]) -> None:
    """Add the group's plug-ins to the registry of their type, by the names of their entry points; once a process."""
    with _turn:
        if group not in _extended:
            _extended.add(group)
            for point in entry_points(group=f"spikesight.{group}"):
                package = "an unnamed package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
                for fault in _add(point, registries):
                    log.warning("the plug-in %s of %s is left out: %s", point.name, package, fault)


def _add(point: EntryPoint, registries: Mapping[Any, dict[str, Any]]) -> Iterator[str]:
    """Load one plug-in into its registry, or yield the reason why not."""
    if any(point.name in registry for registry in registries.values()):
        yield "that name is taken"
        return
    try:
        value = point.load()
    except (Exception, SystemExit) as error:  # a foreign module may raise anything while it is imported
        yield f"{type(error).__name__}: {error}"
        return
    for kind, registry in registries.items():
        if isinstance(value, kind):
            registry[point.name] = value
            return
    yield f"{point.value} is a {type(value).__name__}, not a {' or a '.join(kind.__name__ for kind in registries)}"
