"""Estimate energy from counted operations and published picojoules, and say what the estimate leaves out."""

from typing import NamedTuple

from experiments.common.metering import Work

PICOJOULES = 4.6, 0.9  # multiply-accumulate, accumulate of float32; 45 nm (Horowitz, ISSCC 2014, as usually quoted)
PICOJOULES_A_BYTE = 24.96  # 3.12 pJ a bit, moved between memory and the unit that computes

CAVEATS = (
    "Operation counts times 45 nm constants: an estimate, not a measurement on any chip.",
    "Bias currents are excluded; membrane updates are in the second estimate, with their traffic.",
    "A spiking network beats a quantised one of the same bit budget, data movement included, only at low spike rates: "
    "below about 5.7 % at T = 5 (Yan et al. 2409.08290v4).",
    "Layers that see anything but spikes of one size a channel are charged as multiply-accumulates.",
)


class Energy(NamedTuple):
    """Energy of one sample, microjoules."""

    compute: float  # operations alone
    with_memory: float  # operations, and moving every operand from and to memory


def energy(picojoules: float, moved_bytes: float) -> Energy:
    """Return the energy of operations and of moving this many bytes."""
    return Energy(picojoules * 1e-6, (picojoules + PICOJOULES_A_BYTE * moved_bytes) * 1e-6)


def spiking_energy(work: Work) -> Energy:
    """Return E_MAC MACs + E_AC ACs; memory: a weight and a partial sum read and written each, and every membrane."""
    mac, ac = PICOJOULES
    moved = 3 * (work.effective_macs + work.effective_acs) + 2 * work.neuron_updates
    compute = mac * work.effective_macs + ac * (work.effective_acs + work.neuron_updates)
    return energy(compute, 4 * moved)


def ann_energy(macs: float, activations: float) -> Energy:
    """Return the energy of an ANN: for each MAC a weight read and a partial sum read and written, and activations."""
    return energy(PICOJOULES[0] * macs, 4 * (3 * macs + 2 * activations))
