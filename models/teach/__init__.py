"""Few-shot learning: a linear head for the user's own classes on a frozen network, from few examples, in seconds.

`few_shot` turns examples into features, with augmented copies; `head` fits and cross-validates a linear
head; `unknown` fits the novelty detector; `kept` stores examples; `advice` says whether they are enough.
"""
