"""The compiled loop of the STDP layer; plain Python without numba (slow, the same numbers)."""

from typing import Any

import numpy as np

try:
    import numba

    jit: Any = numba.njit(cache=True, nogil=True)
except ImportError:
    jit = lambda function: function  # noqa: E731


@jit
def show(
    rates, weights, threshold, counts, seed, learn, steps, peak, membrane, trace_decay, a_plus, a_minus, total,
    theta, theta_plus, theta_keep,
):  # fmt: skip
    """Show pictures one after another. weights [inputs, neurons], threshold [neurons] and seed [1] change in place.

    Each step: pixels spike by chance, membranes leak and integrate, and the neuron furthest above its threshold, if
    any, spikes and silences all others.
    """
    inputs, neurons = weights.shape
    v, p, q = np.zeros(neurons), np.zeros(inputs), np.zeros(neurons)
    active, fired = np.zeros(inputs, np.int64), np.zeros(inputs, np.int64)
    state = np.uint32(seed[0] | np.uint32(1))
    for n in range(len(rates)):
        size = 0
        for i in range(inputs):
            p[i] = 0.0
            if rates[n, i] > 0:
                active[size] = i
                size += 1
        v[:] = 0.0
        q[:] = 0.0
        for _ in range(steps):
            spikes = 0
            for k in range(size):
                i = active[k]
                state ^= np.uint32(state << np.uint32(13))
                state ^= np.uint32(state >> np.uint32(17))
                state ^= np.uint32(state << np.uint32(5))
                p[i] *= trace_decay
                if state * 2.3283064365386963e-10 < peak * rates[n, i]:
                    p[i] += 1.0
                    fired[spikes] = i
                    spikes += 1
            for j in range(neurons):
                v[j] *= membrane
                q[j] *= trace_decay
            for k in range(spikes):
                row = weights[fired[k]]
                for j in range(neurons):
                    v[j] += row[j]
            winner, most = -1, 0.0
            for j in range(neurons):
                above = v[j] - theta - threshold[j]
                if above > most:
                    winner, most = j, above
            if learn:
                for j in range(neurons):
                    threshold[j] *= theta_keep
            if winner >= 0:
                counts[n, winner] += 1
                v[:] = 0.0
                q[winner] += 1.0
                if learn:
                    threshold[winner] += theta_plus
                    for k in range(size):
                        i = active[k]
                        weights[i, winner] = min(1.0, weights[i, winner] + a_plus * p[i] * (1.0 - weights[i, winner]))
            if learn:
                for k in range(spikes):
                    i = fired[k]
                    for j in range(neurons):
                        if q[j] > 0:
                            weights[i, j] = max(0.0, weights[i, j] - a_minus * q[j] * weights[i, j])
        if learn:
            for j in range(neurons):
                if q[j] > 0:
                    whole = 0.0
                    for i in range(inputs):
                        whole += weights[i, j]
                    scale = total / whole
                    for i in range(inputs):
                        weights[i, j] *= scale
    seed[0] = state
