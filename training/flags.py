"""Settings of a run from flags, YAML files and recipes: one flag a field of the records, by one flat name each."""

import argparse
import difflib
import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from spikesight.training.config import TrainConfig

RETIRED: dict[str, Any] = {
    "test_fraction": 0.15,
    "emulated_root": "",
    "reset": "subtract",
    "tdbn": False,
    "teacher_temperature": 2.0,
    "keep_steps": 0,
    "event_mix": 0.0,
    "mixup": 0.0,
}
"""Settings that earlier versions wrote, and the one value of each that is still what happens."""


@dataclass(frozen=True)
class Setting:
    """One setting: its type, and what its flag says."""

    hint: Any
    default: Any
    section: str
    comment: str


def read_settings(kind: type, section: str = "") -> dict[str, Setting]:
    """The settings of a dataclass and its records, by the comments behind each and above its block in the source."""
    hints, comments, sections = typing.get_type_hints(kind), field_comments(kind), field_sections(kind)
    found: dict[str, Setting] = {}
    for f in fields(kind):
        if is_dataclass(hints[f.name]):
            found |= read_settings(hints[f.name], hints[f.name].__doc__ or f.name)
            continue
        title, comment = section or sections[f.name], comments.get(f.name, "")
        found[f.name] = Setting(hints[f.name], f.default, title, comment)
    return found


def _plain_type(hint: Any) -> type:
    arguments = typing.get_args(hint)
    return type(arguments[0]) if typing.get_origin(hint) is Literal else hint


def add_settings(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting, without defaults, so that only given flags override; a group a section."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, setting in SETTINGS.items():
        if setting.section not in groups:
            groups[setting.section] = parser.add_argument_group(setting.section)
        add, flag = groups[setting.section].add_argument, "--" + name.replace("_", "-")
        help_text = f"{setting.comment} (default {setting.default!r})"
        if setting.hint is bool:
            add(flag, action=argparse.BooleanOptionalAction, default=None, help=help_text)
            continue
        choices = typing.get_args(setting.hint) if typing.get_origin(setting.hint) is Literal else None
        metavar = "|".join(filter(None, choices)) if choices else name.upper()
        add(flag, type=_plain_type(setting.hint), choices=choices, default=None, metavar=metavar, help=help_text)


def field_sections(kind: type) -> dict[str, str]:
    """The comment line above each field's block in the source: the title of its group."""
    sections, title = {}, "settings"
    for line in inspect.getsource(kind).splitlines():
        text = line.strip()
        if text.startswith("# "):
            title = text[2:].replace("%", "%%")
        name, colon, _ = text.partition(":")
        if colon and name.isidentifier():
            sections[name] = title
    return sections


def field_comments(kind: type) -> dict[str, str]:
    """The comment behind each field in the source: the help of its flag."""
    comments = {}
    for line in inspect.getsource(kind).splitlines():
        name, colon, rest = line.strip().partition(":")
        if colon and name.isidentifier() and "#" in rest:
            comments[name] = rest.partition("#")[2].strip().replace("%", "%%")
    return comments


SETTINGS = read_settings(TrainConfig)
"""Every setting by its flat name, which flags and YAML use."""


def from_mapping(config: TrainConfig, values: Mapping[str, Any], where: str) -> TrainConfig:
    """`config` with values replaced, by their flat names; an unknown name is refused with the nearest known one."""
    clean: dict[str, Any] = {}
    for name, value in values.items():
        if name in RETIRED:
            if value != RETIRED[name]:
                raise ValueError(f"{where}: {name} is no longer a setting; what happens is {name} = {RETIRED[name]!r}")
            continue
        if name not in SETTINGS:
            near = difflib.get_close_matches(str(name), SETTINGS, 1)
            raise ValueError(f"{where}: unknown setting {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        wanted = _plain_type(SETTINGS[name].hint)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise ValueError(f"{where}: {name} must be of type {wanted.__name__}, not {value!r}")
        clean[name] = value
    return config.replaced(**clean)


def read_yaml(path: Path) -> dict[str, Any]:
    """A settings file as a dictionary."""
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        raise ValueError(f"{path.name} is not YAML") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} must hold 'name: value' lines")
    return values


RECIPES = Path(__file__).parent / "recipes"


def recipe_path(name: str) -> Path:
    """A settings file, or one of the project's own recipes by name."""
    path, own = Path(name), {recipe.stem: recipe for recipe in RECIPES.rglob("*.yaml")}
    if path.is_file():
        return path
    if path.parent == Path() and path.stem in own:
        return own[path.stem]
    raise ValueError(f"no file {name}; the recipes known by name are {', '.join(sorted(own))}")


def given_flags(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line."""
    return {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}


def resolve(args: argparse.Namespace) -> TrainConfig:
    """Defaults, then the YAML file, then the flags that were given."""
    config = TrainConfig()
    if args.config:
        path = recipe_path(args.config)
        config = from_mapping(config, read_yaml(path), path.name)
    return from_mapping(config, given_flags(args), "flags")


ON_RESUME = ("root", "cache", "device", "threads", "output", "save_minutes", "log_to")
"""What may change when a run goes on: where things lie and run, not what is computed."""


def resumed(folder: Path, args: argparse.Namespace) -> TrainConfig:
    """The settings of a run to go on with."""
    flags = given_flags(args)
    if other := [name for name in flags if name not in ON_RESUME]:
        raise ValueError(f"--{other[0].replace('_', '-')} cannot change when a run goes on; start a new run for it")
    config = from_mapping(TrainConfig(), read_yaml(folder / "config.yaml"), "config.yaml")
    return from_mapping(config, flags, "flags")


def to_yaml(config: TrainConfig) -> str:
    """The settings as YAML by their flat names, in the order of the fields."""
    return yaml.safe_dump(config.flat(), sort_keys=False)
