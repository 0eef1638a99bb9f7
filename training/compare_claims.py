"""Which of the seed paper's claims hold on the comparison's results."""

from typing import Any

from training.compare_store import Result
from training.compare_tables import accuracy_at, steps_to


def found_by(result: Result, target: float, who: str) -> str:
    """From which T a method is at a target, in words."""
    need = steps_to(result, target)
    return f"{who} is there from T = {need}" if need else f"{who} is not there by T = {len(result['correct'])}"


def needs_hundreds(result: Result, target: float) -> bool | None:
    """Whether a method needs 100 steps or more for a target; None where steps or images are too few to tell."""
    if result["images"] < 100:  # one image more or less is over a point
        return None
    need = steps_to(result, target)
    if need is None:
        return True if len(result["correct"]) >= 100 else None
    return need >= 100


def claims(results: dict[str, Any]) -> list[list[str]]:
    """Which of the seed paper's claims hold here, with the numbers that say so."""
    rows = [["claim of the paper", "here", "evidence"]]

    def add(claim: str, holds: bool | None, evidence: str) -> None:
        rows.append([claim, "not tested" if holds is None else "holds" if holds else "does not hold", evidence])

    near = results["ann"]["accuracy_here"] - 1
    by_name = {r["method"]: r for r in (*results["binary"], *results["multi"])}
    base = {r["method"]: r for r in results["long"]}.get("rueckauer") or by_name.get("rueckauer")
    ends = sorted((len(d["correct"]), accuracy_at(d, len(d["correct"]))) for d in results["direct"])
    if len({t for t, _ in ends}) > 1:
        evidence = f"T = {ends[0][0]}: {ends[0][1]:.2f} %, T = {ends[-1][0]}: {ends[-1][1]:.2f} %"
        add("more steps raise direct accuracy", ends[-1][1] > ends[0][1], evidence)
    else:
        add("more steps raise direct accuracy", None, "needs two direct runs that differ in T")
    add("removing max-pool raises ANN accuracy", None, "this network has no max-pool in its stem")
    if base is not None:
        own = base.get("ann_accuracy", near + 1) - 1  # the ANN on the images of that run
        evidence = found_by(base, own, f"within 1 point of the ANN on {base['images']} images: rueckauer")
        add("conversion (Rueckauer) needs hundreds of steps", needs_hundreds(base, own), evidence)
    if by_name:
        first = min(by_name.values(), key=lambda r: steps_to(r, near) or 1 << 30)
        evidence = found_by(first, near, f"within 1 point of the ANN: {first['method']}")
        add("any conversion needs hundreds of steps", needs_hundreds(first, near), evidence)
    if base is not None and ends:
        last, (steps, best) = accuracy_at(base, len(base["correct"])), max(ends, key=lambda e: e[1])
        evidence = f"{last:.2f} % against {best:.2f} % at T = {steps}"
        add(f"conversion at T = {len(base['correct'])} beats direct training", last > best, evidence)
        quick = [(need, r["method"]) for r in by_name.values() if (need := steps_to(r, best))]
        evidence = found_by(base, best, f"as good as direct ({best:.2f} %): rueckauer")
        evidence += f"; {min(quick)[1]} from T = {min(quick)[0]}" if quick else ""
        holds = not quick or min(quick)[0] >= 100 * steps
        add("conversion's latency is two orders of magnitude higher at equal accuracy", holds, evidence)
    add("direct training is the road for event data", None, "still images only")
    return rows
