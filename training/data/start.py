"""Fill in the settings that a run leaves open, from the model that it starts from and from its samples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from spikesight.models.checkpoint import read_config
from spikesight.models.shipped import START, starts
from spikesight.training.config import TrainConfig
from spikesight.training.flags import from_mapping

NETWORK = "event-medium"
BATCH = 64
NEURONS = ("neuron", "beta", "theta", "surrogate", "learn_beta")
INPUT = ("steps", "bin_us", "height", "width", "encoding", "filter_us", "crop")

EPOCHS = 30
MINUTES = 10.0  # of a run that goes on with a model on somebody's own recordings
EPOCH_STEPS, LEAST_BATCH = 50, 16  # of a user's own folder
USUAL = {"shift": 2, "rotate": 10.0, "scale": 0.0, "drop": 0.2}
WIDE, WIDE_SHIFT = {"rotate": 15.0, "scale": 0.15, "drop": 0.3}, 0.08  # in own folders; of the input's shorter side
LR, SCRATCH_LR = 2e-3, 2e-2  # when starting from a model or on a named set of images; otherwise


def weights_path(text: str) -> Path:
    """Return the path of the weights that a setting names: a shipped model's name, else a file or a model's folder.

    As everywhere a shipped name comes first: what lies here under that name is given as a path, ./nmnist.
    """
    return starts().get(text, Path(text))


def name_of_start(config: TrainConfig) -> str:
    """Return in words whose weights a run starts from."""
    if not config.init_from:
        return "random weights"
    return f"the shipped {config.init_from}" if config.init_from in starts() else Path(config.init_from).name


def network_name(config: TrainConfig) -> str:
    """Return the network that the settings name, else that of the model they start from."""
    return config.network or _recipe(config).get("network", NETWORK)


def with_network(config: TrainConfig, *, own: bool, images: bool) -> TrainConfig:
    """Return the settings with network, neurons and input filled in.

    If no network is named, they are the `init_from` model's (its input not for `images`); settings that differ from
    their defaults stay. A user's `own` recordings start from the shipped START, unless the settings choose a
    network, neurons or a loss.
    """
    if own and not (config.init_from or _changed(config, "network", "loss", *NEURONS)):
        config = replace(config, init_from=START)
        return replace(config, network=network_name(config))
    recipe = _recipe(config)
    if config.network or recipe.get("neuron") == "relu":  # an ANN gives its shape alone
        return replace(config, network=network_name(config))
    kept = {"height", "width"} if config.crop not in (None, recipe.get("crop", "none")) else set[str]()
    kept |= {"steps"} if config.window_ms else set()
    names = [name for name in (*NEURONS, *(() if images else INPUT)) if name in recipe and name not in kept]
    brought = {name: recipe[name] for name in names if not _changed(config, name)}
    return from_mapping(config, {"network": network_name(config), **brought}, f"the recipe of {config.init_from}")


def with_schedule(config: TrainConfig, samples: int, side: int, *, own: bool, images: bool = False) -> TrainConfig:
    """Return the settings with epochs, batch size, steps an epoch and augmentation that suit the number of `samples`.

    A network needs a certain number of steps: an epoch of a user's small `own` folder is several passes in small
    batches, with wider augmentation. What is given stays. `side`: the input's shorter side, pixels.
    """
    suits = {
        "epochs": EPOCHS,
        "lr": LR if config.init_from or (images and not own) else SCRATCH_LR,
        "batch_size": suited_batch(samples) if own else BATCH,
        **USUAL,
    }
    if own:
        batch = config.batch_size or suits["batch_size"]
        suits |= {"epoch_steps": max(EPOCH_STEPS, samples // batch), **WIDE, "shift": round(WIDE_SHIFT * side)}
        suits |= {"scale": 0.0} if images else {}
    return replace(config, **{name: value for name, value in suits.items() if getattr(config, name) is None})


def suited_batch(samples: int) -> int:
    """Return the batch size that suits a folder of so many samples.

    >>> [suited_batch(samples) for samples in (20, 800, 1600, 100_000)]
    [16, 16, 32, 64]
    """
    return min(BATCH, max(LEAST_BATCH, samples // EPOCH_STEPS // LEAST_BATCH * LEAST_BATCH))


def _recipe(config: TrainConfig) -> dict[str, Any]:
    """Return the training settings of the model to start from; empty if it is not the folder of a trained model."""
    path = weights_path(config.init_from) if config.init_from else None
    recipe = read_config(path)[2].training.get("recipe") if path and path.is_dir() else None
    return recipe if isinstance(recipe, dict) else {}


def _changed(config: TrainConfig, *names: str) -> bool:
    """Return whether any of these settings differs from its default."""
    return any(getattr(config, name) != getattr(TrainConfig, name) for name in names)
