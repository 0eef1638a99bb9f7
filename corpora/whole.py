"""Make `nmnist` from random weights: one command, one run, about four hours on two cores.

    python -m corpora.whole --root DATA --cache CACHE --to RUN [--photographs FOLDER] [--part 0.1]

Three stages, each from the weights of the one before. (1) An ANN learns from one frame of all events of a sample: a
step costs a tenth of a spiking one's. (2) The network with LIF neurons, from these weights, learns from bins; 200
steps from there read 88 of 100 N-MNIST recordings, 250 from random weights 21. (3) It learns to find in scenes
(finder.py), in two rounds. Then it is tested and calibrated, and RUN/scenes-1/model is written. The command goes on
where it was stopped. `--part` shortens all stages.

On 15 batches of scenes of seed 5 (486 digits of the three kinds, last step) the likeliest class is right at 58, 63,
58 % after the first round, at 65, 65, 67 % after the second (loss 2.84, 2.74); the weights shipped before, of more than
20,000 steps in pieces with a learning rate of 0.0015, had 58, 60, 52 % (2.78). An ANN that was taught scenes, too, by
one frame of each (9,000 steps, half an hour), before 500 and 1,800 spiking steps, was no better than none.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpora import finder
from corpora.sets import register
from spikesight.models.checkpoint import load
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, load_data
from spikesight.training.flags import from_mapping, read_yaml
from spikesight.training.resolve import neuron_config
from spikesight.training.run.evaluate import evaluate
from spikesight.training.run.loop import Run
from spikesight.training.run.report import write_report

CPU = torch.device("cpu")
RECIPE = Path(__file__).with_name("digits.yaml")
EPOCHS = 6  # into which the steps of the first two stages are divided
FRAMES, RECORDINGS = 1500, 3600  # optimiser steps of the first two stages
SCENES = 12000, 6000  # of the third's rounds, each with its own scenes and from the full learning rate on
FRAMES_LR, RECORDINGS_LR = 0.02, 0.01


class OneFrame(SpikingResNet):
    """A network that sees the events of all steps in one frame of counts, and answers once."""

    def forward(self, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run x_seq [T, N, C, H, W]; return logits [1, N, K] and the state."""
        return super().forward(x_seq.sum(0, keepdim=True), state)


def shape_of(neuron: str, config: TrainConfig) -> ResNetConfig:
    """Return the digit network's shape with these neurons, as --neuron has them."""
    return replace(NETWORKS["event-medium"], neuron=neuron_config(replace(config, neuron=neuron)))


def with_steps(data: Data, steps: int, lr: float) -> Data:
    """Return the data with settings for a run of so many steps."""
    return replace(data, config=replace(data.config, epochs=EPOCHS, epoch_steps=max(1, steps // EPOCHS), lr=lr))


def train_alone(run: Run) -> Iterator[float]:
    """Train all remaining epochs without validation and without writing; yield the mean loss of each."""
    while run.progress.epoch < run.config.epochs:
        run.train_epoch(keep=False)
        yield run.progress.loss_sum / run.progress.seen
        run.progress.next_epoch()


def from_frames(data: Data, to: Path) -> dict[str, Tensor]:
    """Train the ANN on one frame and write its weights to `to`; return them."""
    data = replace(data, config=replace(data.config, neuron="relu", spike_penalty=0.0))
    run = Run(data, to.parent, network=OneFrame(shape_of("relu", data.config)))
    for epoch, loss in enumerate(train_alone(run), 1):
        print(f"one frame, epoch {epoch}/{EPOCHS}  loss {loss:.4f}", flush=True)
    weights = {name: tensor.contiguous() for name, tensor in run.shipped_network().state_dict().items()}
    save_file(weights, to)
    return weights


def main() -> None:
    parser = finder.parser_of(__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="share of the steps (default 1)")
    parser.add_argument("--until", choices=["recordings", "scenes"], default="scenes", help="last stage")
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    register()
    torch.manual_seed(args.seed)
    config = from_mapping(TrainConfig(), read_yaml(RECIPE), str(RECIPE))
    data = load_data(replace(config, root=args.root, cache=args.cache, seed=args.seed))
    frames, recordings = args.to / "frames.safetensors", args.to / "recordings"
    first = with_steps(data, round(FRAMES * args.part), FRAMES_LR)
    network = SpikingResNet(shape_of("lif", data.config))
    network.load_state_dict(load_file(frames) if frames.exists() else from_frames(first, frames))
    run = Run(with_steps(data, round(RECORDINGS * args.part), RECORDINGS_LR), recordings, network=network)
    if run.progress_path.exists():
        run.resume()
    run.train()
    if args.until == "recordings":
        return
    begun, pictures = recordings / finder.BEST, args.photographs and finder.photographs(args.photographs)
    for number, steps in enumerate(SCENES):
        to = args.to / f"scenes-{number}"
        if not (to / finder.BEST).exists():
            finder.learn(begun, data, pictures, round(steps * args.part), to, args.seed + number)
        begun = to / finder.BEST
    data = replace(run.data, contract=replace(data.contract, task="detection"))
    right = evaluate(load(begun)[0], data.val, len(data.labels), CPU, data.contract).accuracy
    write_report(begun.parents[1], data, replace(run.progress, best_val=right), CPU, None)


if __name__ == "__main__":
    main()
