"""One seed for everything that draws."""

import random

import torch


def seed_everything(seed: int) -> None:
    """Seed Python and torch: adapters start alike, data are shuffled alike."""
    random.seed(seed)
    torch.manual_seed(seed)
