"""What was chosen, by a format, by measurement or as a limit: no number of it changes unnoticed.

Module -> a name of it, or a parameter (of a function, a class or a method) that has a default.
"""

import importlib
import inspect
from typing import Any

import pytest

from encoders.events import SensorSize

# fmt: off
CHOSEN: dict[str, dict[str, Any]] = {
    "encoders.binning": {"NOWHERE": 2**30, "CEILINGS": {"binary": 1, "count": 255}, "add_counts.clear": False},
    "encoders.dvs": {
        "BINS_AT_ONCE": 256, "DvsEncoder.bin_us": 10_000, "DvsEncoder.steps": 10, "Bin.n_missed": 0,
        "OpenBin.n_missed": 0, "StreamBinner.gap_us": 1_000_000, "StreamBinner.back_us": 100_000,
        "StreamBinner.shown": 1,
    },
    "encoders.emulator.corruptions": {
        "SIDE": 34, "noise.hz": 0.0, "noise.hot": 0.0, "turned.times": 1.0, "turned.degrees": 0.0,
    },
    "encoders.emulator.noise": {"HOT_HZ": 500.0, "with_noise.hot": 0.0},
    "encoders.emulator.pixels": {
        "LONGEST_INTERVAL_US": 10_000_000, "PixelModel.threshold_on": 0.2, "PixelModel.threshold_off": 0.2,
        "PixelModel.sigma": 0.03, "PixelModel.linear_below": 20.0, "PixelModel.refractory_us": 0,
        "PixelModel.leak_hz": 0.1, "PixelModel.noise_hz": 0.0, "PixelModel.cutoff_hz": 0.0, "PixelModel.steady": False,
        "PixelModel.max_events": 0, "Emulator.seed": 0,
    },
    "encoders.emulator.saccades": {
        "Saccades.path_px": ((-0.3, 1.54), (2.15, 7.54), (5.85, 1.09), (0.42, 1.03)),
        "Saccades.starts_ms": (0.9, 96.2, 210.2), "Saccades.lengths_ms": (91.8, 100.5, 87.2),
        "Saccades.total_ms": 310.0, "Saccades.threshold_on": 0.344, "Saccades.threshold_off": 0.34,
        "Saccades.sigma": 0.023, "Saccades.floor": 21.5, "Saccades.blur_px": 0.46, "Saccades.cutoff_hz": 40.0,
        "Saccades.refractory_us": 1170.0, "Saccades.noise_hz": 0.4, "Saccades.noise_on": 0.97,
        "Saccades.inverted": True, "Saccades.step_us": 1000,
        "Smooth.radius_px": 3.0, "Smooth.period_ms": 310.0, "Smooth.phase": 0.0, "Smooth.roundness": 1.0,
        "saccades.sensor": SensorSize(34, 34), "saccades.seed": 0, "saccade_events.seed": 0,
    },
    "encoders.events": {
        "MAX_SIDE": 2048, "SORT_WITHIN_US": 10_000, "FAR_US": 2**60, "Counters.n_outside": 0, "Counters.n_backward": 0,
        "Counters.n_restarts": 0, "empty_events.n": 0, "Sanitiser.sort_within_us": 10_000,
        "Sanitiser.keep_restarts": False, "sanitise.sort_within_us": 10_000, "sanitise.keep_restarts": False,
    },
    "encoders.gaze.activity": {
        "STEP_US": 10_000, "LOOK_STEPS": 5, "LOOK_US": 50_000, "MEMORY_US": 150_000, "MAP_SIDE": 160, "FULL_HZ": 15.0,
        "LEVELS": (0.24, 0.4, 0.7, 0.9), "FAINT": 0.12, "CLOSE": 5, "LIKELY": 0.6, "LOOKS": 3, "ALIKE": 0.6,
        "MISSES": 8, "BESIDE": 0.05,
    },
    "encoders.gaze.alignment": {
        "EXTENT": 2.2, "CELLS": 16, "PACE": 0.5, "REMEMBERED": 0.95, "PRIOR": 300.0, "FINEST": 128,
        "aligned_steps.shown": 1, "steps_of.shown": 1, "FollowingBinner.shown": 1,
    },
    "encoders.gaze.eye": {"STEP_US": 4000, "LONGEST_US": 500_000, "FRESH": 0.3},
    "encoders.gaze.window": {
        "NEAR": 0.35, "SHRUNK": 0.6, "GROWN": 1.6, "PATIENCE": 4, "FORGOTTEN_US": 600_000, "SHARE": 20 / 34,
    },
    "encoders.image": {
        "EPSILON": 1e-07, "Direct.random": False, "Rate.gain": 1.0, "Rate.offset": 0.0, "Rate.random": True,
        "Latency.threshold": 0.01, "Latency.clip": False, "Latency.first": 0, "Latency.random": False,
        "FirstSpike.threshold": 0.01, "FirstSpike.random": False, "WeberFechner.lowest": 2.0**-8,
        "WeberFechner.random": False, "Phase.bits": 8, "Phase.random": False, "Burst.most": 5, "Burst.closest": 1,
        "Burst.widest": 0, "Burst.random": False, "Delta.threshold": 0.1, "Delta.falling": True, "Delta.padding": False,
        "Delta.random": False,
    },
    "encoders.kernels": {"LARGEST_PACKET": 2**28},
    "encoders.kernels.aedat4": {"MORE": 0, "ROOM": 1, "SCRATCH": 2, "SENSELESS": 3, "RECORD": 16, "EVENT": 13},
    "encoders.kernels.binning": {"OUTSIDE": -1, "UNSORTED": -2},
    "encoders.kernels.readers": {"EVENT": 13},
    "encoders.kernels.text": {"BLANK": 32, "NEWLINE": 10, "LONGEST": 10**17},
    "encoders.packets": {
        "RECORD_BYTES": {"t64": 13, "t32": 8, "aestream": 4}, "EVENT_BYTES": {"t64": 13, "t32": 8, "aestream": 8},
        "NO_TIME": 2**31, "LATEST_US": 2**62, "LONGEST_DATAGRAM": 1472, "WireDecoder.big_endian": False,
        "encode.big_endian": False, "encode.longest": 1472, "pack.big_endian": False,
    },
    "encoders.preprocess.drawing": {
        "SEARCH_SIDE": 320, "STROKE": 0.2, "LEVELS": (0.12, 0.24, 0.4), "SMALLEST": 0.07, "LARGEST": 0.98,
        "THICK": 0.27, "FILLED": 0.75, "BAR": 0.3, "BEYOND": (0.15, 0.45), "GOES_ON": 0.8, "PART": 0.06, "REACH": 0.7,
        "RING": 0.1, "FRAME": 0.3, "EDGE": 0.12, "CORNER": 0.1, "LEAST": 0.42, "TRIED": 6, "OWN": 2,
        "find_drawing.levels": (0.12, 0.24, 0.4),
    },
    "encoders.preprocess.fit": {
        "DIGIT_SIZE": 28, "DIGIT_BOX": 20, "EVEN": 0.15, "CAMERA_SIDE": 64, "LONG": 2.0, "SAME": 0.15, "THIN": 0.09,
        "NARROW": 0.55, "WIDEST": 1.3, "TALL": 1.7, "LINE": 1.5, "SOLID": 96, "fit_digit.channels": 1,
        "fit_plain.channels": 3,
    },
    "encoders.preprocess.pool": {"LEAST": 2},
    "encoders.recordings.aedat": {
        "Aedat2.last": -1, "CHIPS": {
            "dvs128": SensorSize(128, 128), "davis240": SensorSize(240, 180), "davis128": SensorSize(128, 128),
            "davis208": SensorSize(208, 192), "davis346": SensorSize(346, 260), "davis640": SensorSize(640, 480),
            "dvxplorer": SensorSize(640, 480), "dvxplorer_lite": SensorSize(320, 240), "dvs132s": SensorSize(132, 104),
        },
    },
    "encoders.recordings.aedat4": {
        "PACKET_EVENTS": 8000, "NONE": 0, "LZ4": 1, "parse_header.start": 0, "parse_header.end": 0,
    },
    "encoders.recordings.columns": {
        "ROWS": 262_144,
        "UNITS": {
            "ns": (0.001, "ns|nsecs?|nanos|nanoseconds"), "us": (1.0, "us|µs|usecs?|micros|microseconds"),
            "ms": (1000.0, "ms|msecs?|millis|milliseconds"), "s": (1_000_000.0, "s|secs?|seconds"),
        },
        "EPOCH_NS": 10**17, "SHORTEST": 1000, "RAREST": 0.1, "events_of.offset_us": 0,
    },
    "encoders.recordings.event_stream": {"ES_LATEST_US": 7_200_000_000},
    "encoders.recordings.files": {
        "RecordingReader.packets.packet_us": 10_000, "packets.packet_us": 10_000, "DIGEST_BYTES": 2**20,
    },
    "encoders.recordings.format": {
        "CHUNK_BYTES": 2**22, "READ_BYTES": 131_072, "LEAST_ROOM": 64, "text_header.longest": 65_536,
    },
    "encoders.recordings.hdf5": {
        "ECF": 36_559,
        "HDF5PLUGIN": {32_001: "Blosc", 32_004: "LZ4", 32_008: "bitshuffle", 32_015: "Zstandard", 32_026: "Blosc2"},
    },
    "encoders.recordings.matlab": {
        "SENSOR": SensorSize(240, 180),
        "TYPES": {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"},
        "MATRIX": 14, "COMPRESSED": 15, "NUMBERS": range(6, 16), "IMAGINARY": 2048, "HEAD": 128, "ORDER_AT": 126,
        "TAG": 8, "SMALL": 4, "LONGEST": 256,
    },
    "encoders.recordings.nmnist": {"Nmnist.ahead": 0},
    "encoders.recordings.prophesee": {
        "SENSORS": {
            "genx320": SensorSize(320, 320), "gen31": SensorSize(640, 480), "gen3": SensorSize(640, 480),
            "gen41": SensorSize(1280, 720), "gen4": SensorSize(1280, 720), "imx636": SensorSize(1280, 720),
            "imx646": SensorSize(1280, 720),
        },
        "SAMPLE_BYTES": 8192, "ATIS": SensorSize(304, 240), "Evt2.high": -1, "Evt21.swapped": False, "Evt21.high": -1,
        "Dat.first_version": False, "Dat.last": -1,
    },
    "encoders.recordings.prophesee_writer": {"MOST_WRAPS": 2**20},
    "encoders.recordings.quality": {
        "MAINS_HZ": (100, 120), "AROUND_HZ": slice(60, 160, None), "PEAK": 10.0, "DEPTH": 0.2, "HOT": 0.02, "FULL": 0.5,
        "FULL_TIME": 0.01, "Quality.faults.n_dropped": 0,
    },
    "encoders.recordings.text": {"HEAD_BYTES": 8192, "READ_BYTES": 2**22},
    "encoders.sources.address": {"PACKET_MS": 5, "Address.port": 0, "Address.number.lowest": 0.0},
    "encoders.sources.biases": {"RATE_PERIOD_US": 1000, "READ_S": 0.1},
    "encoders.sources.network": {"ANSWER_S": 5.0, "WANTED_BUFFER": 2**23},
    "encoders.sources.source": {
        "RESTART_US": 100_000, "MAX_PACKETS": 512, "MAX_EVENTS": 4_000_000, "MAX_JOINED": 200_000,
        "BACK_OFF_S": (0.25, 0.5, 1.0, 2.0, 4.0), "READ_S": 0.1, "Source.max_packets": 512,
        "Source.max_events": 4_000_000, "Source.back_off_s": (0.25, 0.5, 1.0, 2.0, 4.0), "Source.read.timeout_s": 0.1,
        "Source.read_waiting.timeout_s": 0.1, "Source.packets.timeout_s": 0.1, "open_source.wait_s": 0.0,
        "open_source.max_packets": 512,
    },
}
# fmt: on


def chosen(module: str, name: str) -> Any:
    """What stands in the module now."""
    found: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        found = getattr(found, part)
    if not path or last not in inspect.signature(found).parameters:
        return getattr(found, last)
    return inspect.signature(found).parameters[last].default


@pytest.mark.parametrize("module", CHOSEN)
def test_what_was_chosen_stays(module: str) -> None:
    assert {name: chosen(module, name) for name in CHOSEN[module]} == CHOSEN[module]
