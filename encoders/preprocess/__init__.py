"""What happens to events and pictures before they are encoded.

`input_filter` is the whole stage before the binning of a stream: `filters` drop noise and sum the pixels of a large
sensor. `crop` centres and scales what moves. `drawing` finds a drawing in a picture, `fit` brings a picture to
the network's size.
"""
