"""Words for objects in messages: how many they are, and some of their names."""

from collections.abc import Sequence


def counted(number: int, one: str) -> str:
    """Return a number and the noun, in the plural unless it is one of it.

    >>> counted(1, "recording"), counted(0, "file"), counted(12_000, "class")
    ('1 recording', '0 files', '12,000 classes')
    """
    ending = "" if number == 1 else "es" if one.endswith(("s", "x", "ch")) else "s"
    return f"{number:,} {one}{ending}"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many there are beside them.

    >>> some_of(["a", "b"]), some_of(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
