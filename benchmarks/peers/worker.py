"""What the sides of `benchmarks/training.py` share: the protocol, and how seconds, memory and gradients are taken.

A worker loads its model, says that it is ready, and then runs one case per line on standard input; between two lines
it waits in `read` and burns nothing, so that the sides can be run in turns. It needs torch only: LLaMA-Factory's
environment has no xllms.
"""

import ctypes
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

Case = dict[str, Any]
Timed = Callable[[], float]  # runs the case once; the loss of its first optimiser step
GEMM_SHAPES = ((1024, 640, 2048), (1024, 1024, 1024), (512, 640, 8192), (512, 2048, 640))


class Side(Protocol):
    """One trainer."""

    version: str

    def adapter(self) -> dict[str, torch.nn.Parameter]:
        """The adapter's weights under the names that `common_name` makes."""
        ...

    def prepare(self, case: Case) -> Timed:
        """Everything that is not counted: tokenizing, packing, making the trainer."""
        ...


def common_name(name: str) -> str:
    """Name of an adapter's weight without what peft's versions and wrappers put around it."""
    return name.replace("base_model.model.", "").replace(".default", "")


def lora_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """An adapter's weights by their common names."""
    return {common_name(name): p for name, p in model.named_parameters() if "lora_" in name}


def gemm_rate(dtype: torch.dtype, repeats: int = 4) -> float:
    """FLOPs per CPU second of the fastest of a few shapes that the models have."""
    best = 0.0
    for m, k, n in GEMM_SHAPES:
        a, b = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
        torch.mm(a, b.T)
        start = time.process_time()
        for _ in range(repeats):
            torch.mm(a, b.T)
        best = max(best, 2 * m * k * n * repeats / (time.process_time() - start))
    return best


def peak_memory() -> int:
    """Peak resident bytes since `reset_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak() -> None:
    """Give back what earlier cases left, and measure the peak anew."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def serve(make: Callable[[dict[str, Any]], Side]) -> None:
    """Run cases for the parent until it closes standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    dtype = getattr(torch, job["dtype"])
    side = make(job)
    start = torch.load(job["adapter"])
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.linalg.vector_norm(torch.stack([g.float().norm() for g in gradients]))))

    register_optimizer_step_pre_hook(note)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    answer(ready=side.version)
    for line in sys.stdin:
        case = job["cases"][json.loads(line)["case"]]
        timed = side.prepare(case)
        with torch.no_grad():
            for name, parameter in side.adapter().items():
                parameter.copy_(start[name])
        reset_peak()
        rate = gemm_rate(dtype)
        norms.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        loss = timed()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        answer(cpu=cpu, wall=wall, peak=peak_memory(), gemm=rate, loss=loss, norm=norms[0], steps=len(norms))
        del timed
        reset_peak()
