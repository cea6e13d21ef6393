"""What a model's attention layer asks, and the plan of a trie answers; how it computes that is the plan's affair."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class UnsupportedAttention(RuntimeError):
    """This architecture's attention cannot run a trie; padded batches can."""


@dataclass(frozen=True)
class Scoring:
    """How an architecture scores a key for a query, before the softmax.

    Attributes:
        scaling: factor of query times key; 1/sqrt(D) if None.
        window: a query sees keys less than this many positions away; None for all of its ancestors.
        softcap: scores become `tanh(score / softcap) * softcap` (Gemma 2).
        slopes: per query head, what a score loses with each position between query and key (ALiBi, Press et al. 2022).
    """

    scaling: float | None = None
    window: int | None = None
    softcap: float | None = None
    slopes: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.softcap is not None and self.slopes is not None:
            raise UnsupportedAttention("tree attention cannot do: soft-capped scores with ALiBi")


class Plan(Protocol):
    """Which node of a trie attends to which."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """Attention of every node over its ancestors and itself.

        Args:
            query: (1, Hq, N, D).
            key: (1, Hk, N, D), Hq a multiple of Hk.
            value: (1, Hk, N, Dv).
            scoring: how scores are made of them.

        Returns:
            (1, N, Hq, Dv).
        """
        ...
