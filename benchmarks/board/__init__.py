"""Commands that measure rows of the leaderboard (`spikesight board`); the last line that each prints holds figures."""
