"""Train a digit network to read one thing that fills its view and each place of a larger view, with the same weights.

    python -m spikesight.training.run.places --root DATA --minutes 90 --to RUN

The network goes on from `nmnist`. Each step has samples of the corpus (training/data/corpora/digits), with real
recordings among them, and scenes (`scenes`); "none of the classes" has the logit 0 in both.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from spikesight.models.networks.places import places
from spikesight.models.neurons.layers import Neuron
from spikesight.training.data.corpora.scenes import IGNORED, NONE, Scenes
from spikesight.training.run.loop import update_average
from spikesight.training.step.batches import Batches, carried_state, seeded

WINDOW = 3  # bins that a place is read from
NONE_WEIGHT = 0.5  # of places without a digit, for each of which counts as much as its answer is wrong
SCENES = 32
SHARE = 1.0  # of the scenes' loss


def places_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of logits [T, N, P, P, K] at targets [T, N, P, P], and [digits, right, others, named]."""
    logits = pad(logits.float(), (0, 1))  # "none" has the logit 0
    recent = torch.stack([logits[max(0, t - WINDOW + 1) : t + 1].mean(0) for t in range(1, len(logits))])
    seen, wanted = recent.flatten(0, 3), targets[1:].flatten()
    seen, wanted = seen[wanted != IGNORED], wanted[wanted != IGNORED]
    each = cross_entropy(seen, wanted, reduction="none")
    with torch.no_grad():
        wrong = 1 - torch.exp(-each)
        weights = torch.where(wanted == NONE, NONE_WEIGHT * wrong, torch.ones_like(each))
        said = seen.argmax(1)
        digit = wanted < NONE
        counts = torch.stack([digit.sum(), (said == wanted)[digit].sum(), (~digit).sum(), (said < NONE)[~digit].sum()])
    return (weights * each).sum() / digit.sum().clamp(min=50), counts


def main() -> None:

    import yaml

    import spikesight
    from spikesight.models.classifier.classifier import Classifier  # noqa: F401
    from spikesight.training.config import TrainConfig
    from spikesight.training.data import load_data
    from spikesight.training.distributed import Processes, choose_device
    from spikesight.training.flags import from_mapping
    from spikesight.training.step.losses import total_loss

    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--start", default="")
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    recipe = yaml.safe_load((Path(__file__).parents[1] / "recipes/events/digits.yaml").read_text())
    config = from_mapping(TrainConfig(), {**recipe, "root": args.root, "cache": args.cache, "batch_size": 24}, "x")
    data = load_data(config)
    config = data.config
    processes = Processes(choose_device("cpu"))
    batches = Batches(data, processes)
    scenes = Scenes(data.train.frames.made.pictures, data.outliers.frames.pictures, seed=config.seed)
    import copy

    network = copy.deepcopy(spikesight.load("nmnist").classifier.network)
    if args.start:
        network.load_state_dict(torch.load(args.start))
    network.train().to(memory_format=torch.channels_last)
    for p in network.parameters():
        p.requires_grad_(True)
    rates: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: rates.append(spikes.float().mean()))
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    decayed = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=args.lr
    )
    begin, step, tally, losses = time.monotonic(), 0, torch.zeros(4), [0.0, 0.0, 0.0]
    last: list = [None, None]
    count = len(data.train)
    while (passed := (time.monotonic() - begin) / 60 / args.minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = args.lr * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * passed))
        rows = torch.randint(count, (24,), generator=seeded(7, step)).numpy()
        later = torch.randint(count, (24,), generator=seeded(7, step + 1)).numpy()
        _, x_seq, wanted, generator = batches.take(rows, step, later)
        view, shown = scenes.batch(step, SCENES)
        optimiser.zero_grad()
        rates.clear()
        with torch.autocast("cpu", torch.bfloat16):
            whole, after = network(x_seq, carried_state({}, last[0], 0.3, generator))
        last[0] = {k: v.detach() for k, v in after.items()}
        first = total_loss(whole, wanted, config, None, torch.stack(rates).mean(), None, none=True)
        first.backward()
        rates.clear()
        with torch.autocast("cpu", torch.bfloat16):
            made, after = places(network, view.float(), carried_state({}, last[1], 0.3, generator))
        last[1] = {k: v.detach() for k, v in after.items()}
        second, counts = places_loss(made, shown)
        (SHARE * second + config.spike_penalty * torch.stack(rates).mean()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        update_average(average, network, 0.998, step)
        tally += counts
        losses = [losses[0] + first.item(), losses[1] + second.item(), losses[2] + 1]
        step += 1
        if step in (20, 100) or step % 250 == 0:
            minutes = (time.monotonic() - begin) / 60
            row = {
                "step": step,
                "minutes": round(minutes, 1),
                "whole": round(losses[0] / losses[2], 4),
                "places": round(losses[1] / losses[2], 4),
                "digits": round(float(tally[1] / tally[0]), 4),
                "named": round(float(tally[3] / tally[2]), 4),
            }
            print(json.dumps(row), flush=True)
            with (args.to / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            tally, losses = torch.zeros(4), [0.0, 0.0, 0.0]
            torch.save(average, args.to / "average.new")
            (args.to / "average.new").replace(args.to / "average.pt")
    torch.save(average, args.to / "average.pt")
    print("done", step)


if __name__ == "__main__":
    main()
