"""Corpora that are made, not recorded: what is shown, how it moves, on what, before which sensor, from seeds alone."""
