"""AdamW as both training stages use it: what decays, and the rate of each step."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from xllms.recipe import TrainingSettings


def adamw(parameters: Sequence[nn.Parameter], settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW in which matrices decay; biases and norms do not."""
    matrices = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """Rate of step `step` (from 0) of `steps`: linear warm-up, then constant, linear or half a cosine to nothing."""
    warmup = min(settings.warmup_steps, steps // 2)
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    fade = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return settings.learning_rate * fade[settings.schedule]
