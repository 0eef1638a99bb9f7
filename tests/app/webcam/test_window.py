"""The desktop window: keys in words, pictures scaled to it, and nothing left open."""

import os
from typing import Any

import numpy as np
import pytest

from spikesight.app.webcam.window import KEYS, NoDisplay, Window


@pytest.fixture
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.mark.usefixtures("dummy_display")
def test_keys_reach_the_window() -> None:
    with Window("test") as window:
        window.show(np.zeros((60, 80, 3), np.uint8))
        pygame = window.pygame
        for text, key in ((" ", pygame.K_SPACE), ("Q", pygame.K_q), ("x", pygame.K_x), ("", pygame.K_ESCAPE)):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, unicode=text, key=key))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert window.actions() == ["pause", "quit", "quit", "quit"]
        window.screen = smaller = pygame.display.set_mode((40, 30), pygame.RESIZABLE)
        window.show(np.full((60, 80, 3), 200, np.uint8))
        assert smaller.get_at((20, 15))[:3] == (200, 200, 200)
    assert set(KEYS.values()) >= {"pause", "reset", "mirror", "quit"}


def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":77")
    with pytest.raises(NoDisplay, match="--no-window"):
        Window("test")


@pytest.mark.usefixtures("dummy_display")
def test_a_window_has_a_title_shows_each_picture_at_once_and_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYGAME_HIDE_SUPPORT_PROMPT", raising=False)
    shown: list[tuple[int, ...]] = []
    with Window("Spikesight: digit-3") as window:
        display: Any = window.pygame.display
        assert os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] == "1"
        assert display.get_caption()[0] == "Spikesight: digit-3"
        monkeypatch.setattr(display, "flip", lambda: shown.append(tuple(display.get_surface().get_at((79, 59))[:3])))
        for value in (10, 200):
            window.show(np.full((60, 80, 3), (value, 0, 5), np.uint8))
            assert display.get_surface().get_size() == (80, 60)
        assert shown == [(10, 0, 5), (200, 0, 5)]
    assert not display.get_init()
