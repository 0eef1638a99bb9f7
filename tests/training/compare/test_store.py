"""Keys of stored results."""

import hashlib

from spikesight.training.compare.store import digest


def test_a_digest_is_that_of_the_sorted_keys() -> None:
    assert digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
    assert digest({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()[:12]
