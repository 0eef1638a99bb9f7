"""What `make` says when an installation fails, and what it fetches: one sentence, no page of output."""

import pytest

from tests.support.processes import script

INSTALL = script(".ci/install.py")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ERROR: Could not find a version\nERROR: No matching distribution found for abc>=1.0 (from x)\n",
         "abc>=1.0 has no wheel"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
         "the disk is full"),
        ("WARNING: slow\nERROR: something else\n", "pip could not install it: something else"),
        ("", "no reason was given"),
    ],
)  # fmt: skip
def test_a_failed_installation_is_one_sentence(said: str, words: str) -> None:
    sentence = INSTALL.reason(said)
    assert words in sentence
    assert "\n" not in sentence
