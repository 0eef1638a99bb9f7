"""Compiled loop of converted neurons; rules.py has the equations.

Arrays are float32 and C-contiguous: currents x [T or 1, N, R] (1: the same current every step), states [N, R],
per-neuron rows [R]; out [T, N, R] gets q * amplitude. A block of neurons stays in the L1 cache for all T steps.
"""

import numpy as np

from spikesight.encoders.kernels.loop import loop

BLOCK = 1024
ZERO = np.float32(0)


@loop
def fire_if(x, v, theta, limit, low, high, amplitude, out):
    """Step the neurons: v += x; if v >= limit, spike and v -= theta; clamp v to [low, high] unless None."""
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
