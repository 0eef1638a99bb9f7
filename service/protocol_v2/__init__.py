"""The Open Inference Protocol, version 2.

`routes`, `endpoints`, `infer`, `sequences`, `tensors`.
"""
