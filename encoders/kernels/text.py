"""The compiled loop that reads rows of numbers from text."""

import numpy as np

from spikesight.encoders.kernels.loop import loop

BLANK, NEWLINE, LONGEST = 32, 10, 10**17  # further digits of a larger mantissa are ignored


@loop
def rows(data, delimiter, columns, out):
    """Parse whole lines to out float64 [n, 4]; return the rows, the bytes read, and whether the next line is wrong.

    data      uint8; the last byte is a newline
    delimiter byte between two cells, or BLANK: any run of blanks and tabs
    columns   int64, for each cell of a row its column in `out`, or -1 to skip the cell

    Empty lines and lines that begin with # or % are skipped. A cell is a decimal number, True or False.
    """
    n, at, size = 0, 0, len(data)
    while at < size and n < len(out):
        end = at
        while data[end] != NEWLINE:
            end += 1
        place, stop = trimmed(data, at, end)
        if place < stop and data[place] != 35 and data[place] != 37:
            if not row(data, at if delimiter != BLANK else place, end, delimiter, columns, out[n]):
                return n, at, True
            n += 1
        at = end + 1
    return n, at, False


@loop
def row(data, place, end, delimiter, columns, out):
    """Parse the cells of one line; return False if their number is wrong, or one is not a number."""
    cell = 0
    while True:
        stop = place
        if delimiter == BLANK:
            while stop < end and data[stop] > BLANK:
                stop += 1
        else:
            while stop < end and data[stop] != delimiter:
                stop += 1
        if cell == len(columns):
            return False
        if columns[cell] >= 0:
            good, value = number(data, place, stop)
            if not good:
                return False
            out[columns[cell]] = value
        cell += 1
        place = stop + 1
        if delimiter == BLANK:
            while place < end and data[place] <= BLANK:
                place += 1
            if place >= end:
                break
        elif stop == end:
            break
    return cell == len(columns)


@loop
def trimmed(data, begin, end):
    """Strip blanks, then surrounding quotes; return begin and end."""
    while begin < end and data[begin] <= BLANK:
        begin += 1
    while begin < end and data[end - 1] <= BLANK:
        end -= 1
    if end - begin > 1 and data[begin] == 34 and data[end - 1] == 34:
        return begin + 1, end - 1
    return begin, end


@loop
def number(data, begin, end):
    """Parse a number; return whether it is one, and its value."""
    begin, end = trimmed(data, begin, end)
    if begin == end:
        return False, 0.0
    first = data[begin] | 32
    if first == 116 or first == 102:  # true, false
        return end - begin == (4 if first == 116 else 5), 1.0 if first == 116 else 0.0
    negative = data[begin] == 45
    if negative or data[begin] == 43:
        begin += 1
    mantissa, shift, found, dotted = np.int64(0), np.int64(0), False, False
    while begin < end:
        byte = data[begin]
        if 48 <= byte <= 57:
            found = True
            if mantissa < LONGEST:
                mantissa = mantissa * 10 + np.int64(byte) - 48
                if dotted:
                    shift -= 1
            elif not dotted:
                shift += 1
        elif byte == 46 and not dotted:
            dotted = True
        else:
            break
        begin += 1
    if not found:
        return False, 0.0
    if begin < end:
        good, exponent = exponent_of(data, begin, end)
        if not good:
            return False, 0.0
        shift += exponent
    value = float(mantissa)
    if -23 < shift < 0:
        value /= 10.0**-shift
    elif shift:
        value *= 10.0 ** max(min(shift, 400), -400)
    return np.isfinite(value), -value if negative else value


@loop
def exponent_of(data, begin, end):
    """Parse an exponent at the end of a number; return whether it is one, and its value."""
    if data[begin] | 32 != 101 or begin + 1 == end:
        return False, np.int64(0)
    begin += 1
    negative = data[begin] == 45
    if negative or data[begin] == 43:
        begin += 1
    exponent = np.int64(0)
    if begin == end:
        return False, exponent
    while begin < end:
        if not 48 <= data[begin] <= 57:
            return False, exponent
        exponent = min(exponent * 10 + np.int64(data[begin]) - 48, 10_000)
        begin += 1
    return True, -exponent if negative else exponent
