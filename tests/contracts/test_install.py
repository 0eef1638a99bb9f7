"""What `make` says when an installation fails, and what it fetches: one sentence, no page of output."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "install.py"


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "ERROR: Could not find a version\nERROR: No matching distribution found for abc>=1.0 (from x)\n",
            "abc>=1.0 has no wheel",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            "the disk is full",
        ),
        ("WARNING: slow\nERROR: something else\n", "pip could not install it: something else"),
        ("", "no reason was given"),
    ],
)
def test_a_failed_installation_is_one_sentence(install: ModuleType, said: str, words: str) -> None:
    sentence = install.reason(said)
    assert words in sentence
    assert "\n" not in sentence


def test_without_a_gpu_the_size_and_the_small_build_are_named(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "quiet", lambda *_: False)  # PyTorch is not there yet
    for gpu, words in ((False, "make serve TORCH=cpu"), (True, "A GPU was found")):
        monkeypatch.setattr(install, "has_gpu", lambda gpu=gpu: gpu)
        install.announce("")
        said = capsys.readouterr().out
        assert words in said
        assert "GB" in said
    install.announce("cpu")
    assert "GB" not in capsys.readouterr().out


def test_tonic_is_imported_without_the_package_that_has_no_wheel() -> None:
    """expelliarmus, which Tonic names among its needs, is used by none of its modules."""
    pytest.importorskip("tonic")
    import subprocess
    import sys

    program = "import sys; sys.modules['expelliarmus'] = None; import tonic.datasets as d; print(d.NMNIST.__name__)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "NMNIST", done.stderr
