"""Imported once by the server that forks decoder processes: all of them have at hand what files are read with.

Anywhere else the import does nothing: priority and the collector are the fork server's alone.
"""
# ruff: noqa: E402

import gc
import os

from spikesight.service.decoding.sandbox import FORK_SERVER, lower_priority

FORKS = bool(os.environ.pop(FORK_SERVER, ""))

from spikesight.service.decoding.decode import warm_up

if FORKS:
    lower_priority()
    warm_up()
    gc.freeze()  # keeps pages shared with the forks: the collector would write to them
