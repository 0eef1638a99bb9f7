"""The spiking network that conversion returns: a graph of nodes that JSON can hold.

`graph`, `rules` of firing, `neurons`, `network`.
"""
