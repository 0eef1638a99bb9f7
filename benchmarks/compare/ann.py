"""The ANN of a comparison: trained by the loop of `train-dvs` with one step, SGD and no model selection."""

from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor, nn

from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, Frames
from spikesight.training.data.images import Images
from spikesight.training.run.loop import Run


class Stepwise(nn.Module):
    """An ANN with the interface of a spiking network: one step, no state."""

    def __init__(self, ann: nn.Module) -> None:
        super().__init__()
        self.ann = ann

    def forward(self, x_seq: Tensor, _: object = None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.ann(x_seq[0])[None], {}


def ann_settings(epochs: int, *, lr: float = 0.05, shift: int = 2, flip: bool = False, seed: int = 0) -> TrainConfig:
    """Return settings for SGD with warm-up over a tenth of the run and cosine to zero; `shift` in pixels each way."""
    return TrainConfig(
        steps=1, encoding="direct", neuron="relu", loss="mean", epochs=epochs, batch_size=128, optimiser="sgd", lr=lr,
        warmup_epochs=0.1 * epochs, weight_decay=5e-4, shift=shift, flip=flip, rotate=0.0, drop=0.0,
        seed=seed, device="cpu", scale=0.0, clip_norm=5.0, carry=0.0,
    )  # fmt: skip


def fit_ann(
    network: nn.Module,
    images: Images,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    config: TrainConfig,
    report: Callable[[str], None] = print,
) -> nn.Module:
    """Train any network from [N, C, H, W] to logits in place; return it in evaluation mode with its last weights.

    Writes no files. `mean` and `std` normalise pixels in [0, 1], by channel.
    """
    channels, height, width = images.pixels.shape[1:]
    frames = Frames(images.pixels[:, None], images.labels)
    contract = Contract(
        kind="image", channels=channels, height=height, width=width, steps=1, encoding="direct", mean=mean, std=std
    )
    data = Data(
        train=frames, val=frames, test=frames, labels=(), contract=contract, split={}, recorded=len(frames),
        config=config,
    )  # fmt: skip
    for epoch, loss in enumerate(train_alone(Run(data, Path(), network=Stepwise(network))), 1):
        report(f"epoch {epoch}/{config.epochs}: loss {loss:.4f}")
    return network.eval()


def train_alone(run: Run) -> Iterator[float]:
    """Train all remaining epochs without validation and without writing; yield the mean loss of each."""
    while run.progress.epoch < run.config.epochs:
        run.train_epoch(keep=False)
        yield run.progress.loss_sum / run.progress.seen
        run.progress.next_epoch()
