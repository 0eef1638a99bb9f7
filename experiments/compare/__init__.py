"""Compare direct training, conversion and STDP: the seed paper as a command.

`comparison` runs and stores the measurements, with the ANN by `ann`; `report` presents them.
"""
