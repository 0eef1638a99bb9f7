"""From steps to a finished run: trained, resumed, evaluated, reported.

`loop`, `resume`, `evaluate`, `report`.
"""
