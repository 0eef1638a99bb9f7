"""Speed and cost beside named peers, one command each; `python -m benchmarks` runs the most informative ones."""
