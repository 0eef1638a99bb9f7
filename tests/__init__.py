"""Tests: a folder for each package, whole paths in end_to_end, what holds for all in contracts, helpers in support."""
