"""A taught model on disk or in an archive, and a disk that takes nothing."""

from pathlib import Path

import pytest

from tests.support.processes import in_fresh_process

FULL = """
import resource
from pathlib import Path
from spikesight.service.http.errors import ServiceError
from spikesight.service.teach.saving import archive, write
from tests.support.models import tiny
made, saved = tiny(), Path({folder!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
for work in (lambda: write(saved / "mine", made.network, made.card), lambda: archive("mine", made.network, made.card)):
    try:
        work()
    except ServiceError as error:
        print(error.status, error)
print(list(saved.iterdir()))
"""


@pytest.mark.attack("teaching", "saving and downloading on a full disk", "507; nothing is half-written")
def test_a_full_disk_is_said_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    saved, temporary = tmp_path / "saved", tmp_path / "temporary"
    saved.mkdir()
    temporary.mkdir()
    said = in_fresh_process(FULL.format(folder=str(saved)), TMPDIR=str(temporary)).splitlines()
    assert said[0] == "507 the model cannot be written: free space where models are saved"
    assert said[1].startswith("507 ")
    assert said[2] == "[]"
    assert list(temporary.iterdir()) == []
