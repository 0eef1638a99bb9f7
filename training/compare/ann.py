"""The ANN of a comparison, trained by the loop of `train-dvs`: one step, SGD, no model selection."""

from collections.abc import Callable
from math import inf
from pathlib import Path

from torch import nn

from spikesight.models.contract import Contract
from spikesight.training.compare.costs import Stepwise
from spikesight.training.config import TrainConfig
from spikesight.training.data.pictures import Images
from spikesight.training.data.sets import Data, Frames
from spikesight.training.run.loop import Run


def ann_settings(epochs: int, *, lr: float = 0.05, shift: int = 2, flip: bool = False, seed: int = 0) -> TrainConfig:
    """SGD with warm-up over a tenth of the run and cosine to zero; `shift` in pixels each way."""
    return TrainConfig(
        steps=1, encoding="direct", neuron="relu", loss="mean", epochs=epochs, batch_size=128, optimiser="sgd", lr=lr,
        warmup_epochs=0.1 * epochs, weight_decay=5e-4, clip_norm=5.0, shift=shift, flip=flip, rotate=0.0, drop=0.0,
        seed=seed, device="cpu", channels_last=True, save_minutes=inf,
    )  # fmt: skip


def fit_ann(
    network: nn.Module,
    images: Images,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    config: TrainConfig,
    report: Callable[[str], None] = print,
) -> nn.Module:
    """Train any network from [N, C, H, W] to logits in place; in evaluation mode, with its last weights.

    Writes nothing. `mean` and `std` are those of pixels in [0, 1], by channel.
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
    run = Run(data, Path(), network=Stepwise(network))
    progress = run.progress
    while progress.epoch < config.epochs:
        run.train_epoch()
        report(f"epoch {progress.epoch + 1}/{config.epochs}: loss {progress.loss_sum / progress.seen:.4f}")
        progress.next_epoch()
    return network.eval()
