"""Compare direct training, conversion and STDP: the seed paper as a command.

`comparison` runs it by a `config`, with the ANN by `ann`; `conversion` chooses T; `results` stores what it measures;
`costs`, `tables` and `report` present it. `board` is the leaderboard.
"""
