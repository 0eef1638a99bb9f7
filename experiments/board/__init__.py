"""Commands that measure rows of the board (see `rows`); the last line that each prints holds figures."""
