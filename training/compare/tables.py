"""Make the comparison's tables, and check which of the seed paper's claims hold."""

from collections.abc import Sequence

from spikesight.models.conversion.simulate import shown_steps
from spikesight.models.networks.energy import ann_energy, bit_budget, quantised_energy, spiking_energy
from spikesight.models.networks.metering import Work
from spikesight.models.statistics import interval
from spikesight.training.compare.results import Curve, Results

Table = list[list[str]]


def with_interval(correct: int, images: int) -> str:
    """Format an accuracy with its 95 % interval."""
    low, high = interval(correct, images)
    return f"{100 * correct / images:.2f} ({100 * low:.1f} to {100 * high:.1f})"


def steps_to(result: Curve, target: float) -> int | None:
    """Return the first T from which the accuracy stays at `target` (per cent) or above; None if it never does."""
    good = [100 * c / result.images >= target for c in result.correct]
    if not good or not good[-1]:
        return None
    bad = [t for t, ok in enumerate(good) if not ok]
    return (bad[-1] + 2) if bad else 1


def accuracy_table(results: Sequence[Curve]) -> Table:
    """Return a table of accuracies in per cent: one row a method, one column a number of steps T."""
    at = shown_steps(max(r.steps for r in results))
    rows = [["method", *(f"T = {t}" for t in at), "images"]]
    for r in results:
        cells = [f"{r.at(t):.2f}" if t <= r.steps else "" for t in at]
        rows.append([r.method, *cells, str(r.images)])
    return rows


def first_table(results: Results) -> Table:
    """Return the seed paper's Table 1 for these data, with the ANN's accuracy on each conversion's images."""
    ann = results.ann
    rows = [["network", "training", "T", "accuracy, % (95 %)", "ANN there, %", "images"]]

    def add(network: str, training: str, steps: object, right: int, images: int, top: float | None = None) -> None:
        beside = "" if top is None else f"{top:.2f}"
        rows.append([network, training, str(steps), with_interval(right, images), beside, str(images)])

    add("ANN", "direct", "-", round(ann.accuracy * ann.images / 100), ann.images)
    for r in results.direct:
        add("SNN", f"direct ({r.method})", r.steps, r.correct[-1], r.images)
    for r in results.chosen:
        training = f"conversion ({r.method}, chosen)"
        add("SNN", training, r.steps, r.correct[-1], r.images, r.ann_accuracy)
    for r in (*results.aimed, *results.binary, *results.long):
        training = f"conversion ({r.method})"
        add("SNN", training, r.steps, r.correct[-1], r.images, r.ann_accuracy)
    for r in results.stdp:
        add("SNN", f"{r.method}, seed {r.seed}", 60, r.right, r.images)
    return rows


def trial_table(results: Results) -> Table:
    """Return the table of methods on held-out training images; the best is marked as chosen."""
    rows = [["method", "T", "held-out images right, % (95 %)", ""]]
    chosen = {r.method for r in results.chosen}
    for t in results.trials:
        mark = "chosen" if t.method in chosen else ""
        rows.append([t.method, str(t.steps), with_interval(t.right, t.images), mark])
    return rows


def latency_table(results: Results) -> Table:
    """Return the table of steps until the accuracy stays within one point of the ANN's, and with early exit."""
    top = results.ann.accuracy_here
    rows = [["method", "T within 1 point of the ANN", "early exit at 0.9: mean steps", "accuracy there, %"]]
    for r in results.binary:
        need = steps_to(r, top - 1)
        mean, right = r.exits.get("0.9", (None, None))
        rows.append(
            [
                r.method,
                str(need) if need else f"not by {len(r.correct)}",
                f"{mean:.1f}" if mean else "",
                f"{right:.2f}" if right else "",
            ]
        )
    return rows


def energy_table(results: Results) -> Table:
    """Return the table of operations and estimated energy of one image: every network at its T, ANN, quantised ANNs."""
    macs, values = results.ann.macs, results.ann.activations
    rows = [
        ["network", "T", "bits", "spike rate", "MACs, M", "ACs, M", "compute, uJ", "with memory, uJ", "accuracy, %"]
    ]
    for bits in (32, 8, 4):
        e = ann_energy(macs, values) if bits == 32 else quantised_energy(macs, values, bits)
        right = f"{results.ann.accuracy_here:.2f}" if bits == 32 else "not measured"
        cost = [f"{macs / 1e6:.2f}", "0", f"{e.compute:.2f}", f"{e.with_memory:.2f}"]
        rows.append([f"ANN, {bits} bits", "-", str(bits), "-", *cost, right])
    for r in (*results.direct, *results.aimed, *results.binary):
        for step, work in r.work.items():
            e = spiking_energy(Work(work.macs, work.acs, 0.0, work.updates))
            cost = [f"{work.macs / 1e6:.2f}", f"{work.acs / 1e6:.2f}", f"{e.compute:.2f}", f"{e.with_memory:.2f}"]
            facts = [r.method, step, str(bit_budget(int(step))), f"{work.rate:.2%}"]
            rows.append([*facts, *cost, f"{r.at(int(step)):.2f}"])
    return rows


def equal_work(results: Results) -> Table:
    """Return the table of direct networks, each with the accuracy of the chosen conversions within its operations.

    Each conversion uses the largest T within that budget; nothing is chosen by accuracy.
    """
    chosen = {r.method for r in results.chosen}
    conversions = [r for r in results.binary if not chosen or r.method in chosen]
    rows = [["network", "T", "operations of an image, M", "accuracy, % (95 %)", "images"]]

    def add(name: str, r: Curve, steps: str) -> None:
        right, spent = r.correct[int(steps) - 1], r.work[steps].operations
        rows.append([name, steps, f"{spent / 1e6:.2f}", with_interval(right, r.images), str(r.images)])

    for d in results.direct:
        steps = next(iter(d.work))
        add(d.method, d, steps)
        for r in (*results.aimed, *conversions):
            within = [t for t, work in r.work.items() if work.operations <= d.work[steps].operations]
            if within:
                add(f"... {r.method}", r, max(within, key=int))
            else:
                rows.append([f"... {r.method}", "none fits", "", "", ""])
    return rows


def found_by(result: Curve, target: float, who: str) -> str:
    """Say from which T on a method reaches a target."""
    need = steps_to(result, target)
    return f"{who} is there from T = {need}" if need else f"{who} is not there by T = {len(result.correct)}"


def needs_hundreds(result: Curve, target: float) -> bool | None:
    """Return whether a method needs 100 steps or more for a target; None if steps or images are too few to tell."""
    if result.images < 100:  # one image more or less is over a point
        return None
    need = steps_to(result, target)
    if need is None:
        return True if result.steps >= 100 else None
    return need >= 100


def claims(results: Results) -> list[list[str]]:
    """Return the table of the seed paper's claims: whether each holds here, with the evidence."""
    rows = [["claim of the paper", "here", "evidence"]]

    def add(claim: str, holds: bool | None, evidence: str) -> None:
        rows.append([claim, "not tested" if holds is None else "holds" if holds else "does not hold", evidence])

    near = results.ann.accuracy_here - 1
    by_name = {r.method: r for r in results.binary}
    base = {r.method: r for r in results.long}.get("rueckauer") or by_name.get("rueckauer")
    ends = sorted((d.steps, d.at(d.steps)) for d in results.direct)
    if len({t for t, _ in ends}) > 1:
        evidence = f"T = {ends[0][0]}: {ends[0][1]:.2f} %, T = {ends[-1][0]}: {ends[-1][1]:.2f} %"
        add("more steps raise direct accuracy", ends[-1][1] > ends[0][1], evidence)
    else:
        add("more steps raise direct accuracy", None, "needs two direct runs that differ in T")
    add("removing max-pool raises ANN accuracy", None, "this network has no max-pool in its stem")
    if base is not None:
        own = near if base.ann_accuracy is None else base.ann_accuracy - 1  # the ANN on the images of that run
        evidence = found_by(base, own, f"within 1 point of the ANN on {base.images} images: rueckauer")
        add("conversion (Rueckauer) needs hundreds of steps", needs_hundreds(base, own), evidence)
    if by_name:
        first = min(by_name.values(), key=lambda r: steps_to(r, near) or 1 << 30)
        evidence = found_by(first, near, f"within 1 point of the ANN: {first.method}")
        add("any conversion needs hundreds of steps", needs_hundreds(first, near), evidence)
    if base is not None and ends:
        last, (steps, best) = base.at(base.steps), max(ends, key=lambda e: e[1])
        evidence = f"{last:.2f} % against {best:.2f} % at T = {steps}"
        add(f"conversion at T = {len(base.correct)} beats direct training", last > best, evidence)
        quick = [(need, r.method) for r in by_name.values() if (need := steps_to(r, best))]
        evidence = found_by(base, best, f"as good as direct ({best:.2f} %): rueckauer")
        evidence += f"; {min(quick)[1]} from T = {min(quick)[0]}" if quick else ""
        holds = not quick or min(quick)[0] >= 100 * steps
        add("conversion's latency is two orders of magnitude higher at equal accuracy", holds, evidence)
    add("direct training is the way for event data", None, "still images only")
    return rows
