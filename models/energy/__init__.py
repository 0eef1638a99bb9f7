"""What a forward pass costs.

`metering` counts spikes and operations; `estimate` turns them into energy.
"""
