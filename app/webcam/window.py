"""A window that shows pictures and reads keys, by pygame-ce, which includes its own display libraries."""

import os
from contextlib import suppress
from types import TracebackType

import numpy as np

KEYS = {" ": "pause", "r": "reset", "+": "less events", "-": "more events", "q": "quit", "\x1b": "quit"}
HINTS = "space pause    r reset membranes    + - contrast threshold    q quit"


class NoDisplay(ValueError):
    """There is no display for a window."""


class Window:
    """A window as a context manager: `show` pictures, poll `actions`."""

    def __init__(self, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            needs = "a window needs pygame-ce: pip install 'spikesight[webcam]', or use --no-window"
            raise NoDisplay(needs) from error
        self.pygame = pygame
        with suppress(pygame.error):
            pygame.display.init()
        unseen = pygame.display.get_init() and pygame.display.get_driver() == "offscreen"  # SDL's fallback
        if not pygame.display.get_init() or (unseen and "SDL_VIDEODRIVER" not in os.environ):
            pygame.display.quit()
            raise NoDisplay("there is no display here: use --no-window, or the page of `spikesight serve`")
        pygame.display.set_caption(title)
        self.screen: pygame.Surface | None = None

    def show(self, picture: np.ndarray) -> None:
        """Show RGB uint8 [H, W, 3], scaled if the window was resized."""
        pygame = self.pygame
        size = (picture.shape[1], picture.shape[0])
        if self.screen is None:
            self.screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        surface = pygame.image.frombuffer(np.ascontiguousarray(picture).tobytes(), size, "RGB")
        if self.screen.get_size() != size:
            surface = pygame.transform.smoothscale(surface, self.screen.get_size())
        self.screen.blit(surface, (0, 0))
        pygame.display.flip()

    def actions(self) -> list[str]:
        """Return the actions requested since the last call, as in KEYS."""
        asked = []
        for event in self.pygame.event.get():
            if event.type == self.pygame.QUIT:
                asked.append("quit")
            elif event.type == self.pygame.KEYDOWN:
                key = event.unicode or ("\x1b" if event.key == self.pygame.K_ESCAPE else "")
                asked.extend([KEYS[key.lower()]] if key.lower() in KEYS else [])
        return asked

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.pygame.display.quit()
