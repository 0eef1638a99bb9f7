"""Training runs: `fit` trains (`loop`, `resume`) and writes the `report`.

The other modules evaluate models and calibrate them: out-of-distribution detection, commitments, baselines.
"""
