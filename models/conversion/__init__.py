"""A trained ANN to a spiking network.

`convert` by `methods`; `trace` and `operations` read the ANN; `thresholds`, `calibrate`, `audit`, `simulate`.
"""
