"""Direct training, conversion and STDP side by side: the seed paper as a command.

`comparison` runs it by a `config` into a `store`, its ANN by `ann`; `conversion` chooses T; `results` are what it
measures; `costs`, `tables`, `report` say what came out.
"""
