"""From samples to one step of the optimiser.

`batches`, `augment`, `forward` through the network, `losses`, `optimiser`.
"""
