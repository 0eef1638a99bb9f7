"""One interface for training in one process or in several, which torchrun starts.

Batch norms use the statistics of the whole batch over all processes, so that several processes compute the same as one.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce  # its gradients are summed, too
from torch.nn.parallel import DistributedDataParallel

from spikesight.training.config import TrainConfig

PATIENCE = timedelta(days=7)  # for the main process, which caches the data and writes the report alone


def choose_device(name: str) -> torch.device:
    """Return the device called `name`: cpu, cuda or auto (the GPU, if there is one). Raises ValueError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA GPU is available to this PyTorch; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


class ProcessGroup:
    """The processes of a run, and what they do together: one alone, unless torchrun started several.

    In several, tensors travel by NCCL between GPUs and by Gloo between CPUs.
    """

    def __init__(self, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.device, self.rank, self.world = device, rank, world

    @property
    def main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return `module` wrapped so that its gradients are averaged over all processes."""
        if self.world == 1:
            return module
        synchronise_norms(module)
        return DistributedDataParallel(module, broadcast_buffers=False)  # all processes compute the same statistics

    def share(self, batch: Tensor, dim: int = 0) -> Tensor:
        """Return this process's part of `batch`, which is divided evenly along `dim`."""
        return batch.chunk(self.world, dim)[self.rank]

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of `tensor` over all processes."""
        if self.world == 1:
            return tensor
        total = tensor.to(self.device, copy=True)
        dist.all_reduce(total)
        return total

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes, concatenated along the first axis."""
        if self.world == 1:
            return tensor
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    def wait(self) -> None:
        """Block until every process has called this."""
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the process group, at the end of the run."""
        if self.world > 1:
            self.wait()  # one that left during the report could end while its last operation is being cleaned up
            dist.destroy_process_group()


def join_processes(config: TrainConfig, device: torch.device) -> ProcessGroup:
    """Return the processes of this run: this one, unless torchrun started several. Raises ValueError."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return ProcessGroup(device)
    batch = config.batch_size or 16  # a batch size chosen from the data is a multiple of 16
    if batch % world:
        raise ValueError(f"--batch-size {batch} must be a multiple of the {world} processes")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return ProcessGroup(device, dist.get_rank(), world)


class SyncNorm(nn.BatchNorm2d):
    """Batch norm with statistics over the batches of all processes; it runs on CPUs, unlike PyTorch's SyncBatchNorm."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        x = input.float()
        count = all_reduce(x.new_tensor([x.numel() / x.shape[1]]))
        mean = all_reduce(x.sum((0, 2, 3))) / count
        centred = x - mean.view(1, -1, 1, 1)
        variance = all_reduce(centred.square().sum((0, 2, 3))) / count
        self._update(mean.detach(), variance.detach(), float(count))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(input.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)


def synchronise_norms(network: nn.Module) -> None:
    """Turn every batch norm of `network` into a SyncNorm, in place; parameters and statistics are kept."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncNorm
