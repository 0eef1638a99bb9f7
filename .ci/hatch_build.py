"""Puts the compiled kernels into the wheel: a library for each instruction set of one system, compiled by ziglang.

`SPIKESIGHT_WHEEL` names the system, by default the one that builds: linux-x86_64, linux-arm64, macos-arm64 or
macos-x86_64, any of them from anywhere. "none", and a system that is none of these, gives a wheel without libraries,
which compiles its kernels at first use. An editable installation holds none either: its sources may change.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("encoders") / "native"


def load_targets(root: str) -> ModuleType:
    """encoders/native/targets.py, without the package around it."""
    spec = importlib.util.spec_from_file_location("targets", Path(root) / NATIVE / "targets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class KernelsHook(BuildHookInterface):
    """hatchling's build hook of the wheel."""

    def system(self) -> str:
        """For which system libraries are made, or nothing. Raises ValueError for an unknown name."""
        targets, chosen = load_targets(self.root), os.environ.get("SPIKESIGHT_WHEEL")
        if chosen and chosen not in (*targets.SYSTEMS, "none"):
            raise ValueError(f"SPIKESIGHT_WHEEL={chosen}: known are {', '.join(targets.SYSTEMS)} and none")
        name = chosen or targets.this_system()
        return name if name in targets.SYSTEMS else ""

    def dependencies(self) -> list[str]:
        return ["ziglang>=0.14"] if self.system() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        name = self.system()
        if version == "editable" or not name:
            return
        targets = load_targets(self.root)
        self.folder = tempfile.TemporaryDirectory(prefix="spikesight-kernels-")
        for isa, flags in targets.SYSTEMS[name].isas.items():
            self.app.display_info(f"Compiling the kernels for {name}, {isa}")
            place = Path(self.folder.name) / isa
            place.mkdir()
            library = place / f"{isa}.so"
            targets.compile_library((sys.executable, "-m", "ziglang", "c++"), name, flags, library, place)
            build_data["force_include"][str(library)] = str("spikesight" / NATIVE / "prebuilt" / library.name)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{targets.SYSTEMS[name].tag}"

    def finalize(self, *_: Any) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()
