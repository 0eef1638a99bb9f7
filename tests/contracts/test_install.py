"""What `make` says when an installation fails, and what it fetches: one sentence, no page of output."""

import subprocess
import sys

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


def test_without_a_gpu_the_size_and_the_small_build_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(INSTALL, "quiet", lambda *_: False)  # PyTorch is not there yet
    for gpu, words in ((False, "make serve TORCH=cpu"), (True, "A GPU was found")):
        monkeypatch.setattr(INSTALL, "has_gpu", lambda gpu=gpu: gpu)
        INSTALL.announce("")
        said = capsys.readouterr().out
        assert words in said
        assert "GB" in said
    INSTALL.announce("cpu")
    assert "GB" not in capsys.readouterr().out


def test_tonic_is_imported_without_the_package_that_has_no_wheel() -> None:
    """expelliarmus, which Tonic names among its needs, is used by none of its modules."""
    pytest.importorskip("tonic")
    program = "import sys; sys.modules['expelliarmus'] = None; import tonic.datasets as d; print(d.NMNIST.__name__)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "NMNIST", done.stderr
