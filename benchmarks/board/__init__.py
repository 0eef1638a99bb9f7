"""What stands on the board (`spikesight board`): a command a row, or several, whose last line is their figures."""
