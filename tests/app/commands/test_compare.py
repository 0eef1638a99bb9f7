"""`spikesight compare`: its flags become settings, over the defaults or over --quick."""

from dataclasses import replace

import pytest

from spikesight.app.cli import main
from spikesight.app.commands import compare
from spikesight.training.compare.comparison import QUICK, CompareConfig


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["--quick"], QUICK),
        (
            [
                "--quick",
                "--images",
                "7",
                "--direct",
                "none",
                "--stdp-seeds",
                "4, 6",
                "--data",
                "cifar10",
                "--long",
                "a,b,",
            ],
            {**QUICK, "images": 7, "direct": (), "stdp_seeds": (4, 6), "data": "cifar10", "long": ("a", "b")},
        ),
    ],
)
def test_flags_win_over_quick_and_quick_over_the_defaults(
    words: list[str], changes: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[CompareConfig] = []

    def comparison(config: CompareConfig) -> None:
        asked.append(config)
        raise ValueError("that is all")

    monkeypatch.setattr(compare, "Comparison", comparison)
    assert main(["compare", *words]) == 2
    assert "that is all" in capsys.readouterr().err
    assert asked == [replace(CompareConfig(), **changes)]
