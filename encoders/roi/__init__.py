"""What the network is shown: `input_filter` is the whole stage before binning; `alignment` centres and scales what
moves, in recordings and live streams.
"""
