"""Teach a classifier head for a user's own classes on a frozen network, from a folder of recordings (models/teach).

`examples` makes examples of recordings; `teach` makes a checkpoint of a folder.
"""
