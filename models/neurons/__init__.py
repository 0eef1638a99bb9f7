"""Neuron layers: their options, their update rules, surrogate gradients and fused kernels.

`config` options; `state` what is kept between steps; `layers` the modules; `surrogate`; `fused*` all steps in one pass.
"""
