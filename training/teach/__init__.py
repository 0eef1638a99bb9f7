"""A folder of recordings -> a head for one's own classes on a frozen network (models/teach).

`examples` recordings -> examples; `teach` a folder -> a checkpoint.
"""
