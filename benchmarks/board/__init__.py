"""Commands that measure rows of the leaderboard (`python -m benchmarks.board.rows`); the last line that each prints holds figures."""
