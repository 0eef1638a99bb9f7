"""Direct training, conversion and STDP side by side: the seed paper as a command.

`comparison` runs it by a `config`, its ANN by `ann`; `conversion` chooses T; `results` are what it measures and
keeps; `costs`, `tables`, `report` say what came out.
"""
