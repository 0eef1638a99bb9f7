"""Networks of those neurons, and the ANNs they are compared with or converted from.

`resnet`, `ann`, `stdp`, `event_convolution`; `folding` of batch norms; `converted/` what conversion gives.
"""
