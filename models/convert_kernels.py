"""The compiled loops of converted neurons; imported only where numba is. convert_rules.py has the equations.

Arrays are float32 and C-contiguous: currents x [T or 1, N, R] (1: the same current every step), states [N, R],
per-neuron rows [R], output q * amplitude into out [T, N, R]. A block of neurons stays in the L1 cache for all T.
"""

import numba
import numpy as np

BLOCK = 1024
ZERO, HALF = np.float32(0), np.float32(0.5)
SHARE, TOLERANCE = np.float32(0.75), np.float32(1 - 1e-3)


@numba.njit(cache=True, nogil=True)
def fire_if(x, v, theta, limit, amplitude, out):
    """v += x; where v >= limit: spike and v -= theta."""
    steps, batch, width = out.shape
    last = x.shape[0] - 1
    for n in range(batch):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            row, th, li, am = v[n, start:stop], theta[start:stop], limit[start:stop], amplitude[start:stop]
            for t in range(steps):
                current, spikes = x[min(t, last), n, start:stop], out[t, n, start:stop]
                for i in range(len(row)):
                    u = row[i] + current[i]
                    fired = u >= li[i]
                    spikes[i] = am[i] if fired else ZERO
                    row[i] = u - (th[i] if fired else ZERO)


@numba.njit(cache=True, nogil=True)
def fire_signed(x, v, emitted, theta, limit, floor, amplitude, out):
    """As fire_if, and a negative spike where v < floor and the neuron has sent at least theta."""
    steps, batch, width = out.shape
    last = x.shape[0] - 1
    for n in range(batch):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            row, sent = v[n, start:stop], emitted[n, start:stop]
            th, li, fl, am = theta[start:stop], limit[start:stop], floor[start:stop], amplitude[start:stop]
            for t in range(steps):
                current, spikes = x[min(t, last), n, start:stop], out[t, n, start:stop]
                for i in range(len(row)):
                    u = row[i] + current[i]
                    size = th[i] if u >= li[i] else ZERO
                    back = (u < fl[i]) & (sent[i] >= th[i] * TOLERANCE)
                    size = -th[i] if back else size
                    value = am[i] if u >= li[i] else ZERO
                    spikes[i] = -am[i] if back else value
                    row[i] = u - size
                    sent[i] += size


@numba.njit(cache=True, nogil=True)
def fire_multi(x, v, emitted, start_row, theta, levels, amplitude, out):
    """The largest level of theta, theta/2, ... that |v| reaches to three quarters; negative only if sent before."""
    steps, batch, width = out.shape
    last = x.shape[0] - 1
    for n in range(batch):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            row, sent = v[n, start:stop], emitted[n, start:stop]
            th, v0, am = theta[start:stop], start_row[start:stop], amplitude[start:stop]
            for t in range(steps):
                current, spikes = x[min(t, last), n, start:stop], out[t, n, start:stop]
                for i in range(len(row)):
                    u = row[i] + current[i]
                    w = u + v0[i]
                    q, level = ZERO, np.float32(2.0) ** np.float32(1 - levels)
                    for _ in range(levels):
                        size = th[i] * level
                        q = level if w >= SHARE * size else q
                        q = -level if (w <= -SHARE * size) & (sent[i] >= size * TOLERANCE) else q
                        level = level + level
                    spikes[i] = q * am[i]
                    row[i] = u - q * th[i]
                    sent[i] += q * th[i]


@numba.njit(cache=True, nogil=True)
def fire_differential(x, v, emitted, rate_in, rate_out, ages, bias, theta, levels, amplitude, out):
    """Differential coding around fire_multi; ages [N] are the steps already done."""
    steps, batch, width = out.shape
    last = x.shape[0] - 1
    lowest = np.float32(2.0) ** np.float32(1 - levels)
    for n in range(batch):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            row, sent, r_in, r_out = (
                v[n, start:stop],
                emitted[n, start:stop],
                rate_in[n, start:stop],
                rate_out[n, start:stop],
            )
            th, b, am = theta[start:stop], bias[start:stop], amplitude[start:stop]
            for t in range(steps):
                age = np.float32(ages[n] + np.float32(t + 1))
                current, spikes = x[min(t, last), n, start:stop], out[t, n, start:stop]
                for i in range(len(row)):
                    u = row[i] + (current[i] + r_in[i] + b[i]) - r_out[i]
                    m = sent[i] + r_out[i]
                    q, level = ZERO, lowest
                    for _ in range(levels):
                        size = th[i] * level
                        q = level if u >= SHARE * size else q
                        q = -level if (u <= -SHARE * size) & (m >= size * TOLERANCE) else q
                        level = level + level
                    s = q * th[i]
                    spikes[i] = q * am[i]
                    row[i] = u - s
                    sent[i] = m + s
                    r_in[i] += current[i] / age
                    r_out[i] += s / age
