"""Membrane states of many streams, kept in the batches they were stepped in, so that gathering them rarely copies.

While the same streams step together, their state is never moved.
"""

from dataclasses import dataclass, field

from spikesight.models.neurons.state import State, stack_states


@dataclass(eq=False, slots=True)
class StateBatch:
    """The state of several streams after a step, and the streams that still refer to it."""

    state: State
    members: "list[Membranes | None]" = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Membranes:
    """The state of one stream: a row of a StateBatch."""

    batch: StateBatch
    index: int

    def state(self) -> State:
        """Return the stream's own state, batch size 1, as views."""
        return {key: tensor[self.index : self.index + 1] for key, tensor in self.batch.state.items()}


def release(members: list[Membranes]) -> None:
    """Drop these streams' states. A batch that lost most members is freed, and the remaining members get copies."""
    batches = {membranes.batch for membranes in members}
    for membranes in members:
        membranes.batch.members[membranes.index] = None
    for batch in batches:
        left = [membranes for membranes in batch.members if membranes is not None]
        if 2 * len(left) < len(batch.members):
            for membranes in left:
                state = {key: tensor.clone() for key, tensor in membranes.state().items()}
                membranes.batch, membranes.index = StateBatch(state, [membranes]), 0


def membranes_of(state: State) -> Membranes:
    """Wrap a state of batch size 1 as Membranes."""
    return scatter(state, 1)[0]


def scatter(state: State, n: int) -> list[Membranes]:
    """Return one Membranes for each of the n streams in the state of a batch."""
    batch = StateBatch(state)
    members = [Membranes(batch, index) for index in range(n)]
    batch.members.extend(members)
    return members


def gather(members: list[Membranes]) -> State:
    """Return the states of these streams as one batch, in order. Neighbours in a batch are sliced, not copied."""
    parts: list[State] = []
    at = 0
    while at < len(members):
        batch, first = members[at].batch, members[at].index
        end = at + 1
        while end < len(members) and members[end].batch is batch and members[end].index == first + end - at:
            end += 1
        all_of_it = first == 0 and end - at == len(batch.members)
        parts.append(batch.state if all_of_it else {key: t[first : first + end - at] for key, t in batch.state.items()})
        at = end
    return parts[0] if len(parts) == 1 else stack_states(parts)
