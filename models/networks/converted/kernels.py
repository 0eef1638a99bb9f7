"""Compiled loops of converted neurons; rules.py has the equations.

Arrays are float32 and C-contiguous: currents x [T or 1, N, R] (1: the same current every step), states [N, R],
per-neuron rows [R]; out [T, N, R] gets q * amplitude. A block of neurons stays in the L1 cache for all T steps.
"""

import numpy as np

from spikesight.encoders.kernels.loop import loop

BLOCK = 1024
ZERO, SHARE, TOLERANCE = np.float32(0), np.float32(0.75), np.float32(1 - 1e-3)


@loop
def fire_if(x, v, theta, limit, low, high, amplitude, out):
    """Step "if" neurons: v += x; if v >= limit, spike and v -= theta; clamp v to [low, high] unless None."""
    steps, batch, width = out.shape
    last = x.shape[0] - 1
    for n in range(batch):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            row, th, li, am = v[n, start:stop], theta[start:stop], limit[start:stop], amplitude[start:stop]
            lo, hi = th, th
            if low is not None:  # decided at compile time, so unused bounds cost nothing
                lo, hi = low[start:stop], high[start:stop]
            for t in range(steps):
                current, spikes = x[min(t, last), n, start:stop], out[t, n, start:stop]
                for i in range(len(row)):
                    u = row[i] + current[i]
                    fired = u >= li[i]
                    spikes[i] = am[i] if fired else ZERO
                    after = u - (th[i] if fired else ZERO)
                    if low is not None:
                        after = min(max(after, lo[i]), hi[i])
                    row[i] = after


@loop
def fire_signed(x, v, emitted, theta, limit, floor, amplitude, out):
    """Step "signed" neurons: as fire_if, plus a negative spike if v < floor and the sum sent is at least theta."""
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


@loop
def choose_levels(w, sent, theta, levels, q):
    """Set q to the largest level of theta, theta/2, ... of which |w| reaches three quarters, with the sign of w.

    It is negative only if enough was sent before. Level by level over the block, so that each pass is a vector loop.
    """
    q[:] = ZERO
    level = np.float32(2.0) ** np.float32(1 - levels)
    for _ in range(levels):
        for i in range(len(w)):
            size = theta[i] * level
            chosen = level if w[i] >= SHARE * size else q[i]
            q[i] = -level if (w[i] <= -SHARE * size) & (sent[i] >= size * TOLERANCE) else chosen
        level = level + level


@loop
def fire_multi(x, v, emitted, start_row, theta, levels, amplitude, out):
    """Step "multi" neurons: v += x; spike and reset by the level that `choose_levels` finds."""
    steps, batch, width = out.shape
    last = x.shape[0] - 1
    potential, levels_found = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for n in range(batch):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            row, sent = v[n, start:stop], emitted[n, start:stop]
            th, v0, am = theta[start:stop], start_row[start:stop], amplitude[start:stop]
            w, q = potential[: stop - start], levels_found[: stop - start]
            for t in range(steps):
                current, spikes = x[min(t, last), n, start:stop], out[t, n, start:stop]
                for i in range(len(row)):
                    row[i] += current[i]
                    w[i] = row[i] + v0[i]
                choose_levels(w, sent, th, levels, q)
                for i in range(len(row)):
                    spikes[i] = q[i] * am[i]
                    row[i] -= q[i] * th[i]
                    sent[i] += q[i] * th[i]


@loop
def fire_differential(x, v, emitted, rate_in, rate_out, ages, bias, theta, levels, amplitude, out):
    """Step "multi" neurons with differential coding (rules.differential_step); ages [N]: steps done before."""
    steps, batch, width = out.shape
    last = x.shape[0] - 1
    levels_found = np.empty(BLOCK, np.float32)
    for n in range(batch):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            row, sent = v[n, start:stop], emitted[n, start:stop]
            r_in, r_out = rate_in[n, start:stop], rate_out[n, start:stop]
            th, b, am = theta[start:stop], bias[start:stop], amplitude[start:stop]
            q = levels_found[: stop - start]
            for t in range(steps):
                age = np.float32(ages[n] + np.float32(t + 1))
                current, spikes = x[min(t, last), n, start:stop], out[t, n, start:stop]
                for i in range(len(row)):
                    row[i] = row[i] + (current[i] + r_in[i] + b[i]) - r_out[i]
                    sent[i] += r_out[i]
                choose_levels(row, sent, th, levels, q)
                for i in range(len(row)):
                    s = q[i] * th[i]
                    spikes[i] = q[i] * am[i]
                    row[i] -= s
                    sent[i] += s
                    r_in[i] += current[i] / age
                    r_out[i] += s / age
