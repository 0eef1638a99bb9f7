"""A head for one's own classes on a frozen network, from few examples, in seconds.

`few_shot` examples -> features, kept, with varied copies (`augment`); `head` features -> a linear head, judged by
examples it has not seen; `advice` whether it is enough.
"""
