"""Tracks: identities that stay through crossings and gaps, and the window around each."""

import numpy as np
import pytest

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.preprocess.drawing import Drawing
from spikesight.encoders.roi.tracks import FORGOTTEN_US, Seen, Tracks, WindowsBinner
from spikesight.encoders.roi.window import SHARE, around

FRAME_US = 33_333
INK = np.ones((4, 4), np.float32)


def thing(x: float, y: float = 100, side: float = 40, likeness: float = 0.5) -> Seen:
    """What a search found around a middle."""
    return Seen(Drawing(INK, x - side / 2, y - side / 2, side, side, likeness, 200.0))


def followed(tracks: Tracks, searches: list[list[Seen]], begin: int = 0) -> list[list[int]]:
    """The identity that each thing of each search has."""
    found = []
    for n, things in enumerate(searches, begin):
        shown = tracks.update(things, n * FRAME_US)
        where = {int(index): int(tracks.ids[place]) for place, index in enumerate(shown) if index >= 0}
        found.append([where.get(index, 0) for index in range(len(things))])
    return found


def test_two_things_that_cross_keep_their_identities() -> None:
    """While they are one, both are expected to go on; a search that sees neither, or one blob, links nothing."""
    searches: list[list[Seen]] = []
    for n in range(60):
        left, right = 40 + 5 * n, 340 - 5 * n
        apart = abs(left - right) > 45
        one, other = thing(left), thing(right)
        searches.append(([one, other] if n % 2 else [other, one]) if apart else [thing((left + right) / 2, side=90)])
    found = followed(Tracks(8), searches)
    first, last = found[1], found[59]
    assert first == last
    assert first[0] != first[1]


LONG = FORGOTTEN_US // FRAME_US + 2  # searches, as long as anything is remembered


def test_a_thing_is_the_same_after_a_gap_and_another_after_a_longer_one() -> None:
    tracks = Tracks(2)
    before = followed(tracks, [[thing(100)]] * LONG)[-1]
    assert followed(tracks, [[]] * (LONG - 4) + [[thing(100)]], LONG)[-1] == before
    assert followed(tracks, [[]] * LONG + [[thing(100)]], 2 * LONG)[-1] == [before[0] + 1]


def test_what_was_followed_for_a_moment_is_forgotten_after_a_moment() -> None:
    tracks = Tracks(2)
    followed(tracks, [[thing(100)]] * 5 + [[]] * 4)
    assert tracks.ids.any()
    followed(tracks, [[]], 9)
    assert not tracks.ids.any()


def test_nothing_begins_in_the_place_of_what_was_followed_for_long() -> None:
    """A part of it, or its meeting with another, is no other thing; one beside it is."""
    tracks = Tracks(8)
    followed(tracks, [[thing(100)]] * LONG)
    searches = [[thing(100), thing(108, side=24), thing(116, side=72), thing(200)]]
    assert followed(tracks, searches, LONG) == [[1, 0, 0, 2]]
    assert followed(Tracks(8), searches) == [[1, 2, 3, 4]], "before, all are"


def test_places_go_to_the_likeliest_and_one_that_is_likelier_takes_a_place() -> None:
    tracks = Tracks(2)
    two = [thing(50, likeness=0.5), thing(150, likeness=0.2)]
    assert followed(tracks, [[*two, thing(250, likeness=0.15)]]) == [[1, 2, 0]]
    assert followed(tracks, [[two[0], thing(250, likeness=0.4)]], 1) == [[1, 3]]


def test_a_drawing_stays_where_it_was_found_and_gives_way_to_what_is_likelier() -> None:
    tracks, fainter, likelier = Tracks(1, 0.3), thing(250, likeness=0.4), thing(400, likeness=0.6)
    followed(tracks, [[thing(100 + 3 * n)] for n in range(LONG)])
    window = tracks.window
    assert followed(tracks, [[], [fainter]], LONG) == [[], [0]]
    assert tracks.window == window
    assert followed(tracks, [[thing(100 + 3 * LONG), likelier]], LONG + 2) == [[0, 2]]
    assert followed(tracks, [[fainter]] * LONG, LONG + 3)[-1] == [3], "what is not found is forgotten"


def test_what_looks_more_like_a_drawing_for_a_moment_takes_no_place() -> None:
    tracks, blurred, sheet = Tracks(1, 0.3), thing(100, likeness=0.5), thing(250, likeness=0.6)
    followed(tracks, [[thing(100, likeness=0.9)]] * LONG)
    found = followed(tracks, [[sheet, blurred]] * LONG, LONG)
    assert found[:4] == [[0, 1]] * 4
    assert found[-1] == [2, 0]


def test_a_bin_is_told_what_was_in_the_places_when_it_ended() -> None:
    tracks, eye = Tracks(1), DvsEncoder(SensorSize(8, 8), (8, 8), bin_us=1000, steps=5)

    binner, events = WindowsBinner(tracks, eye, 1), make_events([0, 5_000], [0, 0], [0, 0], [1, 1])
    bins = binner.push(events[:1]) + binner.advance(2_500)
    tracks.update([thing(100)], 2_500)
    bins += binner.push(events[1:])
    assert [int(held[0][0]) for one in bins if (held := one.held)] == [0, 0, 1, 1, 1]


def test_a_drawing_takes_its_share_of_the_window_in_its_middle() -> None:
    wide, high = around(np.array([[80.0, 50, 40, 20], [90, 40, 20, 40]]))
    assert wide.tolist() == [100 - 34, 60 - 34, 68]
    assert high.tolist() == wide.tolist(), "the longer side counts"
    assert 40 / wide[2] == pytest.approx(SHARE)
