"""Structures shared with the engine's native code, field by field as in models/native/kernels/engine/engine.h."""

import ctypes

from spikesight.encoders.native.build import NUMBER, POINTER, REAL


class NativeBuffer(ctypes.Structure):
    _fields_ = [(n, NUMBER) for n in ("is_float", "height", "width", "channels", "binary")]


class NativeShortcut(ctypes.Structure):
    _fields_ = [*((n, NUMBER) for n in ("buffer", "stride", "first", "channels")), ("scale", POINTER)]


class NativeConvolution(ctypes.Structure):
    _fields_ = [
        *((n, NUMBER) for n in ("buffer", "kernel", "stride", "pad")),
        *((n, POINTER) for n in ("by_channel", "by_tap", "by_pair")),
        *((n, NUMBER) for n in ("parts", "part", "matrix")),
        ("reach", POINTER),
        ("fan_out", NUMBER),
        ("density", REAL),
    ]


class NativeLayer(ctypes.Structure):
    _fields_ = [
        ("pool", NUMBER),
        ("fused", NUMBER),
        ("main", NativeConvolution),
        ("side", NativeConvolution),
        *((n, NUMBER) for n in ("height", "width", "channels", "chunk")),
        ("bias", POINTER),
        ("before", NativeShortcut),
        ("after", NativeShortcut),
        *((n, NUMBER) for n in ("current", "spikes", "neuron", "kind", "delay", "zero", "inclusive", "bounded")),
        *((n, REAL) for n in ("beta", "theta", "gain", "limit", "low", "high", "charge")),
        ("state", NUMBER),
        ("taps", NUMBER),
        ("weight", POINTER),
        ("fired", NUMBER),
        ("rate_channels", NUMBER),
        ("rate_first", NUMBER),
        ("rate_places", NUMBER),
    ]


class NativeReadout(ctypes.Structure):
    _fields_ = [
        *((n, NUMBER) for n in ("buffer", "classes", "padded", "reach", "outputs")),
        *((n, POINTER) for n in ("weight", "bias")),
    ]


class NativeRun(ctypes.Structure):
    _fields_ = [
        ("steps", NUMBER),
        ("streams", NUMBER),
        ("x", POINTER),
        ("x_is_float", NUMBER),
        *((n, POINTER) for n in ("before", "after")),
        ("state_size", NUMBER),
        *((n, POINTER) for n in ("logits", "layer_spikes", "synops", "rates", "fired", "probed")),
        *((n, NUMBER) for n in ("spike_layers", "fired_size", "rates_size", "force", "threads", "hand_over", "frozen")),
    ]


NO_SHORTCUT = (-1, 1, 0, 0, None)
