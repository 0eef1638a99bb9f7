"""Examples stored beside a taught checkpoint, as features, so that the model can be corrected later.

`examples.safetensors` holds firing rates, float16, with class and piece numbers: no events, no pictures. It is written
only on request, and is not part of exports or uploads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spikesight.encoders.events import SensorSize
from spikesight.models.checkpoint import replacing
from spikesight.models.contract import Card, CheckpointError
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner

EXAMPLES = "examples.safetensors"
MOST_BYTES = 1 << 27
NONE_KEPT = "it keeps no examples to learn on from: teach it anew with `spikesight teach --correctable`"
OTHERS = f"{EXAMPLES} does not hold examples of this model: teach it anew with `spikesight teach --correctable`"


@contextmanager
def saving_beside(folder: Path, examples: Sequence[EmbeddedExample]) -> Iterator[None]:
    """Write the examples beside the checkpoint that the with-block saves, both or neither; without examples, remove an
    older file. Raises OSError.
    """
    if not examples:
        yield
        (folder / EXAMPLES).unlink(missing_ok=True)
        return
    labels = sorted({one.label for one in examples})
    pieces = {piece: number for number, piece in enumerate(dict.fromkeys(one.piece for one in examples))}
    with replacing(folder / EXAMPLES) as (path,):
        tensors = {
            "features": torch.stack([torch.from_numpy(one.features) for one in examples]).half(),
            "labels": torch.tensor([labels.index(one.label) for one in examples]),
            "pieces": torch.tensor([pieces[one.piece] for one in examples]),
        }
        save_file(tensors, path)
        yield


def learner_of(folder: Path, network: TaughtNetwork, card: Card) -> FewShotLearner:
    """Return a learner that continues with this model's stored examples. Raises CheckpointError."""
    contract, config = card.contract, network.config
    sensor = SensorSize(contract.sensor_width, contract.sensor_height)
    learner = FewShotLearner(network.backbone, sensor, contract.steps, contract.bin_us, config.slices)
    if learner.contract != contract:
        raise CheckpointError("it is fed otherwise than this version teaches: teach it anew")
    features, labels, pieces = _read(folder / EXAMPLES)
    width = learner.network.head.in_features
    right = features.ndim == 3 and features.shape[2] == width and len(features) == len(labels) == len(pieces)
    if not right or sorted(set(labels.tolist())) != list(range(len(card.labels))):
        raise CheckpointError(OTHERS)
    learner.copies, number = features.shape[1] - 1, count()
    picture = torch.zeros(2, contract.height, contract.width, dtype=torch.uint8).numpy()
    learner.shown = [
        EmbeddedExample(next(number), card.labels[label], str(piece), seen.float().numpy(), picture)
        for seen, label, piece in zip(features, labels.tolist(), pieces.tolist())
    ]
    return learner


def _read(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Read features [M, 1 + copies, F], labels [M] and pieces [M]. Raises CheckpointError."""
    try:
        if not path.is_file():
            raise CheckpointError(NONE_KEPT)
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointError(OTHERS)
        tensors = load_file(path)
    except (SafetensorError, OSError):
        raise CheckpointError(OTHERS) from None
    kinds = {name: (tensor.dtype, tensor.ndim) for name, tensor in tensors.items()}
    wanted = {"features": (torch.float16, 3), "labels": (torch.int64, 1), "pieces": (torch.int64, 1)}
    if kinds != wanted or not tensors["features"].isfinite().all():
        raise CheckpointError(OTHERS)
    return tensors["features"], tensors["labels"], tensors["pieces"]
