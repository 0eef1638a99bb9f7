"""Imported once by the server that forks decoder processes: all of them have at hand what files are read with.

Anywhere else the import does nothing: signals, priority and the collector are the fork server's alone.
"""
# ruff: noqa: E402

import gc
import os
import signal

from spikesight.service.scheduler.sandbox import FORK_SERVER, lower_priority

FORKS = bool(os.environ.pop(FORK_SERVER, ""))
if FORKS:  # before the imports, which take seconds
    for number in (signal.SIGINT, signal.SIGTERM):  # may be sent to all processes: running calls are still answered
        signal.signal(number, signal.SIG_IGN)

from spikesight.service.upload.decode import warm_up

if FORKS:
    lower_priority()
    warm_up()
    gc.freeze()  # keeps pages shared with the forks: the collector would write to them
