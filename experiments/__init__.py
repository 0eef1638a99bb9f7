"""The experiments whose tables and figures are in docs/results and docs/paper.md."""
