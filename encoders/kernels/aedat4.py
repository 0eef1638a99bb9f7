"""Compiled loops that read AEDAT 4: packets of a stream, LZ4, flatbuffers.

Every index is checked against the end of the data before it is read or written; a damaged packet is only counted.
"""

import numpy as np

from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.kernels.loop import loop
from spikesight.encoders.kernels.unaligned import copy_16

MORE, ROOM, SCRATCH, SENSELESS = 0, 1, 2, 3  # reasons why packets() stopped
RECORD, EVENT = 16, 13  # bytes of an event in the file, and in EVENTS, which lacks the last three


@loop
def number(data, at, n_bytes):
    """Read an unsigned little-endian number."""
    value = np.int64(0)
    for k in range(n_bytes):
        value |= np.int64(data[np.uint64(at + k)]) << (8 * k)
    return value


@loop
def packets(data, stream, compressed, scratch, out, n):
    """Read the complete packets at the start of `data` that belong to `stream`; write events to `out` from number n on.

    data, scratch and out are uint8; out has 13 bytes an event. Returns the reason for stopping, how many bytes are done
    (past the end of data: to be skipped), the number of events in `out`, how many packets were damaged, and what is
    needed to continue: MORE bytes of the file, ROOM for that many events in `out`, or bytes of SCRATCH.
    """
    at, damaged, room = np.int64(0), np.int64(0), np.int64(len(out) // EVENT)
    while True:
        if at + 8 > len(data):
            return MORE, at, n, damaged, np.int64(8)
        length = number(data, at + 4, 4)
        if length > LARGEST_PACKET:
            return SENSELESS, at, n, damaged, np.int64(0)
        begin, end = at + 8, at + 8 + length
        if number(data, at, 4) != stream:
            at = end
            continue
        if end > len(data):
            return MORE, at, n, damaged, 8 + length
        if compressed:
            size = unpacked_size(data, begin, end)
            if size > len(scratch):
                return SCRATCH, at, n, damaged, size
            filled = unpack(data, begin, scratch) if size >= 0 else np.int64(-1)
            first, count = records(scratch, np.int64(0), filled)
            if count > 0 and n + count <= room:
                copy_records(scratch, first, count, out, n)
        else:
            first, count = records(data, begin, end)
            if count > 0 and n + count <= room:
                copy_records(data, first, count, out, n)
        if count < 0:
            damaged += 1
        elif n + count > room:
            return ROOM, at, n, damaged, count
        else:
            n += count
        at = end


@loop
def copy_records(source, first, count, out, n):
    """Convert 16-byte records (time int64, x and y int16, ON uint8, padding) to packed events."""
    for k in range(count):
        at, place = EVENT * (n + k), first + RECORD * k
        if at + RECORD <= len(out):
            copy_16(out, at, source, place)
        else:
            for byte in range(EVENT):
                out[np.uint64(at + byte)] = source[np.uint64(place + byte)]
        out[np.uint64(at + 12)] = source[np.uint64(place + 12)] != 0


@loop
def records(table, begin, end):
    """Locate the records in a size-prefixed flatbuffer EventPacket: offset and count; count -1 if it is damaged."""
    wrong = (np.int64(0), np.int64(-1))
    if begin + 8 > end:
        return wrong
    root = begin + 4 + number(table, begin + 4, 4)
    if root + 4 > end:
        return wrong
    vtable = root - np.int64(np.int32(number(table, root, 4)))
    if vtable < begin or vtable + 4 > end:
        return wrong
    if number(table, vtable, 2) < 6:
        return np.int64(0), np.int64(0)
    if vtable + 6 > end:
        return wrong
    offset = number(table, vtable + 4, 2)
    if offset == 0:
        return np.int64(0), np.int64(0)
    place = root + offset
    if place + 4 > end:
        return wrong
    place += number(table, place, 4)
    if place + 4 > end:
        return wrong
    count = number(table, place, 4)
    if place + 4 + RECORD * count > end:
        return wrong
    return place + 4, count


@loop
def unpacked_size(data, begin, end):
    """Return the largest size that an LZ4 frame can unpack to; -1 if it is not a frame or has a dictionary."""
    if begin + 7 > end or number(data, begin, 4) != 0x184D2204:
        return np.int64(-1)
    flags, code = number(data, begin + 4, 1), number(data, begin + 5, 1) >> 4 & 7
    if flags >> 6 != 1 or flags & 1 or code < 4:
        return np.int64(-1)
    largest, size = np.int64(1) << (8 + 2 * code), np.int64(0)
    at = begin + 7 + (8 if flags & 8 else 0)
    while True:
        if at + 4 > end:
            return np.int64(-1)
        length = number(data, at, 4) & 0x7FFFFFFF
        if length == 0:
            return size
        size += largest
        at += 4 + length + (4 if flags & 16 else 0)
        if at > end or length > largest or size > LARGEST_PACKET:
            return np.int64(-1)


@loop
def unpack(data, begin, out):
    """Unpack an LZ4 frame (format 1.6) that unpacked_size() accepted; return the bytes written, -1 if damaged."""
    flags = number(data, begin + 4, 1)
    at, filled = begin + 7 + (8 if flags & 8 else 0), np.int64(0)
    while True:
        word = number(data, at, 4)
        length = word & 0x7FFFFFFF
        at += 4
        if length == 0:
            return filled
        if word >> 31:
            if filled + length > len(out):
                return np.int64(-1)
            out[filled : filled + length] = data[at : at + length]
            filled += length
        else:
            filled = lz4_block(data, at, at + length, out, filled)
            if filled < 0:
                return filled
        at += length + (4 if flags & 16 else 0)


@loop
def lz4_block(data, at, end, out, place):
    """Unpack an LZ4 block, data[at:end], into `out` from `place` on; return the place after it, -1 if damaged.

    A block is a sequence of literals and matches; a match may refer to output of earlier blocks. Short copies, nearly
    all, copy 16 or 32 bytes whatever their length; the next copy overwrites the excess.
    """
    room = np.int64(len(out))
    while at < end:
        token = np.int64(data[np.uint64(at)])
        at += 1
        length = token >> 4
        if length < 15 and at + 32 <= end and place + 64 <= room:
            copy_16(out, place, data, at)
        else:
            if length == 15:
                at, length = longer(data, at, end, length)
            if length > end - at or length > room - place:
                return np.int64(-1)
            for k in range(length):
                out[np.uint64(place + k)] = data[np.uint64(at + k)]
            if at + length == end:
                return place + length
            if at + length + 2 > end:
                return np.int64(-1)
        at += length
        place += length
        source = place - number(data, at, 2)
        at += 2
        if source < 0 or source == place:
            return np.int64(-1)
        length = (token & 15) + 4
        if length < 19 and place - source >= 16 and place + 32 <= room:
            copy_16(out, place, out, source)
            if length > 16:
                copy_16(out, place + 16, out, source + 16)
        else:
            if length == 19:
                at, length = longer(data, at, end, length)
            if length > room - place:
                return np.int64(-1)
            for k in range(length):
                out[np.uint64(place + k)] = out[np.uint64(source + k)]
        place += length
    return place


@loop
def longer(data, at, end, length):
    """Read a length that continues in further bytes until one is below 255: the place after them, and the length."""
    more = np.int64(255)
    while more == 255:
        if at >= end:
            return at, np.int64(1) << 40  # larger than any buffer, so callers see damage
        more = np.int64(data[np.uint64(at)])
        at += 1
        length += more
    return at, length
