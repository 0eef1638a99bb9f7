"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("spikesight")
except PackageNotFoundError:  # a folder that was never installed
    __version__ = "0"
