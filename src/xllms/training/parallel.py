"""Several processes as one trainer: gradients summed over all (DDP), or weights sharded over all (FSDP2).

A step is the same set of examples however many processes share it. Each process runs its own passes; what is summed
is the gradient of the loss's sum and the number of items behind it, so the result is that of one process, up to the
order of a sum. With `ddp` the sum is one all-reduce at the end of the step: passes need not be alike in number or
size, and no gradient travels twice. With `fsdp` the gradients are reduced while the layers run backwards.
"""

import datetime
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import PreTrainedModel

from xllms.errors import InputError
from xllms.processes import rank, world_size

_TIMEOUT = datetime.timedelta(hours=2)  # rank 0 writes checkpoints and adapters while the others wait


class Processes:
    """The processes that train together; alone, every method is a plain one.

    Args:
        device: what this process runs on.
        sharded: whether weights are sharded (FSDP2).

    Raises:
        InputError: the launcher's variables and the process group disagree.
    """

    def __init__(self, device: torch.device, *, sharded: bool = False) -> None:
        self.size, self.rank, self.device = world_size(), rank(), device
        self.sharded = sharded and self.size > 1
        if self.size > 1 and not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=_TIMEOUT)
        if self.size > 1 and dist.get_world_size() != self.size:
            raise InputError(f"WORLD_SIZE is {self.size}, but {dist.get_world_size()} processes have met")

    @property
    def main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()

    def gather(self, value: Any) -> list[Any]:
        """What each process has, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def total(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor]

    def start_alike(self, parameters: Iterable[nn.Parameter]) -> None:
        """Rank 0's weights everywhere."""
        if self.size > 1 and not self.sharded:
            for parameter in parameters:
                dist.broadcast(parameter.data, 0)

    def sum_gradients(self, parameters: Iterable[nn.Parameter], items: float) -> None:
        """Turn gradients of each process's summed loss into those of the mean over `items`, the step's total."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.size > 1 and not self.sharded:
            for dtype in {gradient.dtype for gradient in gradients}:
                _all_reduce([gradient for gradient in gradients if gradient.dtype == dtype])
        # FSDP2 has taken the mean over processes already.
        torch._foreach_div_(gradients, items / self.size if self.sharded else items)


def _all_reduce(gradients: list[Tensor]) -> None:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def shard(root: nn.Module, model: PreTrainedModel, processes: Processes) -> None:
    """Shard `root`, layer by layer, over all processes (FSDP2).

    Args:
        root: what is called; holds `model`.
        model: the transformers model inside; its `_no_split_modules` are the layers.
        processes: who shares.

    Raises:
        InputError: the model does not name its layers.
    """
    layers = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
    if not layers:
        raise InputError(f"parallel: fsdp: {type(model).__name__} does not name its layers; use parallel: ddp")
    mesh = init_device_mesh(processes.device.type, (processes.size,))
    # Float32 weights on a GPU are multiplied in bfloat16: the shards are the master weights.
    mixed = processes.device.type == "cuda" and model.dtype == torch.float32
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if mixed else MixedPrecisionPolicy()
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(root, mesh=mesh, mp_policy=policy)


def whole_weights(model: nn.Module, *, only_trained: bool) -> dict[str, Tensor]:
    """The weights of a sharded model put together on the main process; every process must call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=only_trained)
    return {name: w for name, w in get_model_state_dict(model, options=options).items() if isinstance(w, Tensor)}
