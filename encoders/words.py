"""Words for numbers of things in messages."""


def counted(number: int, one: str) -> str:
    """Return a number and the noun, in the plural unless it is one of it.

    >>> counted(1, "recording"), counted(0, "file"), counted(12_000, "class")
    ('1 recording', '0 files', '12,000 classes')
    """
    ending = "" if number == 1 else "es" if one.endswith(("s", "x", "ch")) else "s"
    return f"{number:,} {one}{ending}"
