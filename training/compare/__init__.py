"""Direct training, conversion and STDP side by side: the seed paper as a command.

`comparison` runs it by a `config` into a `store`; `costs`, `tables`, `report` say what came out.
"""
