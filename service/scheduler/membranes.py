"""Membranes of many streams, kept in the batches they were stepped in: gathered without copying where that is possible.

A row is one stream's state as a place in a batch. As long as the same streams step together their state is never moved.
"""

from dataclasses import dataclass, field

from models.neurons.state import State, stack_states


@dataclass(eq=False, slots=True)
class Batch:
    """The state of several streams after a step, and who still needs which row of it."""

    state: State
    rows: "list[Row | None]" = field(default_factory=list)
    live: int = 0


@dataclass(eq=False, slots=True)
class Row:
    """One stream's place in a batch."""

    batch: Batch
    index: int

    def state(self) -> State:
        """The stream's own state, batch size 1 (a view)."""
        return {key: tensor[self.index : self.index + 1] for key, tensor in self.batch.state.items()}


def release(rows: list[Row]) -> None:
    """These rows are needed no more. A batch that is mostly abandoned gives its last rows away and is freed."""
    batches: list[Batch] = []
    for row in rows:
        batch = row.batch
        if not batches or batches[-1] is not batch:
            batches.append(batch)
        batch.rows[row.index] = None
        batch.live -= 1
    for batch in batches:
        if 0 < batch.live * 2 < len(batch.rows):
            scatter_apart(batch)


def scatter_apart(batch: Batch) -> None:
    """Give every row of a batch that is still needed a copy of its own."""
    for row in [row for row in batch.rows if row is not None]:
        row.batch = Batch({key: tensor.clone() for key, tensor in row.state().items()}, [row], 1)
        row.index = 0
    batch.live = 0


def row_of(state: State) -> Row:
    """A row of its own for a state of batch size 1."""
    batch = Batch(state, [], 1)
    row = Row(batch, 0)
    batch.rows.append(row)
    return row


def scatter(state: State, n: int) -> list[Row]:
    """The rows of a freshly stepped batch of n streams."""
    batch = Batch(state, [], n)
    rows = [Row(batch, index) for index in range(n)]
    batch.rows.extend(rows)
    return rows


def gather(rows: list[Row]) -> State:
    """The state of these streams as one batch, in their order; neighbours in a batch are taken together."""
    parts: list[State] = []
    at = 0
    while at < len(rows):
        batch, first = rows[at].batch, rows[at].index
        end = at + 1
        while end < len(rows) and rows[end].batch is batch and rows[end].index == first + end - at:
            end += 1
        whole = first == 0 and end - at == len(batch.rows)
        parts.append(batch.state if whole else {key: t[first : first + end - at] for key, t in batch.state.items()})
        at = end
    return parts[0] if len(parts) == 1 else stack_states(parts)
