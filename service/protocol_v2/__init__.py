"""The Open Inference Protocol, version 2.

`routes`, `endpoints`, `infer`, `tensors`.
"""
