"""`spikesight compare`: its flags become settings, over the defaults or over --quick."""

import argparse
from dataclasses import replace

import pytest

from spikesight.app.commands.compare import configure, default_text, listed, settings
from spikesight.training.compare.config import QUICK, CompareConfig


def parsed(*words: str) -> CompareConfig:
    parser = argparse.ArgumentParser()
    configure(parser)
    return settings(parser.parse_args(words))


def test_without_flags_all_is_default() -> None:
    assert parsed() == CompareConfig()
    quick = parsed("--quick")
    assert quick == replace(CompareConfig(), **QUICK)
    assert quick.direct_epochs == CompareConfig().direct_epochs


def test_a_flag_wins_over_quick() -> None:
    config = parsed("--quick", "--images", "7", "--direct", "none", "--aims", "4, 6", "--data", "cifar10")
    assert (config.images, config.direct, config.aims, config.data) == (7, (), (4, 6), "cifar10")
    assert config.held == QUICK["held"]


@pytest.mark.parametrize("flag", ["--images", "--aims"])
def test_what_is_no_number_is_refused(flag: str) -> None:
    with pytest.raises((ValueError, SystemExit)):
        parsed(flag, "many")


def test_lists_and_how_help_shows_them() -> None:
    assert listed("a, b,,", ("x",)) == ("a", "b")
    assert listed("1,2", (0,)) == (1, 2)
    assert listed("none", (0,)) == ()
    assert listed("1", ()) == ("1",)
    assert default_text((4, 8)) == "4,8"
    assert default_text(3) == "3"
