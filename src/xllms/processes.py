"""Which of several processes this one is, from the variables that torchrun and `accelerate launch` set."""

import os
import sys


def world_size() -> int:
    """How many processes work together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process among them; the main process is 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Number of this process on its machine: which GPU is its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    """Whether this process is the one that writes files and talks."""
    return rank() == 0


def say(text: str) -> None:
    """One line on standard error, from the main process only."""
    if is_main():
        print(text, file=sys.stderr)
