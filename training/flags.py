"""Read the settings of a run from flags, YAML files and recipes; each field of TrainConfig has one flag."""

import argparse
import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from spikesight.training.config import TrainConfig


@dataclass(frozen=True)
class Setting:
    """A setting's type, its default, the title of its group and the help text of its flag."""

    hint: Any
    default: Any
    section: str
    help: str


def read_settings(kind: type, section: str = "settings") -> dict[str, Setting]:
    """Return the settings of the dataclass `kind` by name, read from its annotations."""
    found: dict[str, Setting] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        plain, *notes, text = typing.get_args(hint)
        section = notes[0] if notes else section
        found[name] = Setting(plain, getattr(kind, name), section, text)
    return found


def _choices(hint: Any) -> tuple[str, ...]:
    """Return the values of a Literal type; an empty tuple for other types."""
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def _plain_type(hint: Any) -> type:
    return str if _choices(hint) else hint


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting to `parser`, without defaults, so that only the flags given override other sources.

    The help lists them by section.
    """
    groups: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        if setting.section not in groups:
            groups[setting.section] = parser.add_argument_group(setting.section)
        choices = _choices(setting.hint)
        options: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        if setting.hint is not bool:
            metavar = "|".join(choices) if choices else name.upper()
            options = {"type": _plain_type(setting.hint), "choices": choices or None, "metavar": metavar}
        default = "" if setting.default is None else f" (default {setting.default!r})"
        text = f"{setting.help}{default}".replace("%", "%%")
        groups[setting.section].add_argument("--" + name.replace("_", "-"), default=None, help=text, **options)


SETTINGS = read_settings(TrainConfig)
"""All settings of a run by name."""


def from_mapping(config: TrainConfig, values: Mapping[str, Any], where: str) -> TrainConfig:
    """Return `config` with `values` replaced; `where` names their source in errors.

    Raises ValueError for an unknown name (suggesting the nearest known one), a wrong type and a value out of range.
    """
    clean: dict[str, Any] = {}
    for name, value in values.items():
        if name not in SETTINGS:
            near = difflib.get_close_matches(str(name), SETTINGS, 1)
            raise ValueError(f"{where}: unknown setting {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        wanted = _plain_type(SETTINGS[name].hint)
        if value is None and SETTINGS[name].default is None:
            clean[name] = value
            continue
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise ValueError(f"{where}: {name} must be of type {wanted.__name__}, not {value!r}")
        if (choices := _choices(SETTINGS[name].hint)) and value not in choices:
            raise ValueError(f"{where}: {name} must be one of {', '.join(choices)}, not {value!r}")
        clean[name] = value
    return replace(config, **clean)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of `name: value` lines. Raises ValueError."""
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        raise ValueError(f"{path.name} is not YAML") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} must hold 'name: value' lines")
    return values


RECIPES = Path(__file__).parent / "recipes"


def recipe_path(name: str) -> Path:
    """Return the path of a settings file, or of one of the project's recipes by name. Raises ValueError."""
    path, own = Path(name), {recipe.stem: recipe for recipe in RECIPES.rglob("*.yaml")}
    if path.is_file():
        return path
    if path.parent == Path() and path.stem in own:
        return own[path.stem]
    raise ValueError(f"no file {name}; the recipes known by name are {', '.join(sorted(own))}")


def given_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given on the command line."""
    return {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}


def given_settings(args: argparse.Namespace) -> TrainConfig:
    """Return what a new run is given: flags override the YAML file, which overrides defaults. Raises ValueError."""
    config = TrainConfig()
    if args.config:
        path = recipe_path(args.config)
        config = from_mapping(config, read_yaml(path), path.name)
    return from_mapping(config, given_flags(args), "flags")


ON_RESUME = ("root", "cache", "device", "output")
"""Settings that may change when a run is resumed: paths and execution, which do not change the result."""


def resumed(folder: Path, args: argparse.Namespace) -> TrainConfig:
    """Return the settings to resume the run in `folder` with. Raises ValueError for a flag that may not change."""
    flags = given_flags(args)
    if other := [name for name in flags if name not in ON_RESUME]:
        raise ValueError(f"--{other[0].replace('_', '-')} cannot change when a run goes on; start a new run for it")
    config = from_mapping(TrainConfig(), read_yaml(folder / "config.yaml"), "config.yaml")
    return from_mapping(config, flags, "flags")


def to_yaml(config: TrainConfig) -> str:
    """Return the settings as YAML, in the order of the fields."""
    return yaml.safe_dump(dict(vars(config)), sort_keys=False)
