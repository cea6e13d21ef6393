"""Which queries meet which keys: the attention plan of a trie.

The nodes that one path added are a branch: its queries see the keys of the whole path, its own causally. Branches of
like size are padded together into a few groups, so that attention costs what the branches cost (no dense N x N mask).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_WASTE = 1.5  # a group may cost at most this many times its branches
_GROUP_SCORES = 1 << 22  # scores (queries x keys) in one group at most


@dataclass(frozen=True)
class Group:
    """B branches, padded to Q queries and K keys.

    Attributes:
        keys: (B, K) nodes whose keys are seen; padding repeats node 0 and is masked.
        queries: (B, Q) nodes that ask; padding repeats the branch's last.
        valid: positions of the real queries in the flattened B * Q.
        query_depth: (B, Q) position of each query.
        key_count: (B, 1) real keys of each branch.
    """

    keys: Tensor
    queries: Tensor
    valid: Tensor
    query_depth: Tensor
    key_count: Tensor

    def mask(self, window: int | None) -> Tensor:
        """(B, Q, K) True where a query sees a key: `key <= query`, and nearer than `window` if there is one."""
        key_depth = torch.arange(self.keys.shape[1], device=self.keys.device)[None, None, :]
        query_depth = self.query_depth[:, :, None]
        seen = (key_depth <= query_depth) & (key_depth < self.key_count[:, :, None])
        return seen if window is None else seen & (query_depth - key_depth < window)


class Branches:
    """The groups of a trie, and how their outputs go back into depth-first order.

    Attributes:
        groups: every branch is in exactly one.
        restore: (N,) index into the groups' concatenated real queries.
    """

    def __init__(self, groups: tuple[Group, ...], restore: Tensor) -> None:
        self.groups = groups
        self.restore = restore
        self._mask = lru_cache(maxsize=None)(self._make_mask)

    def masks(self, window: int | None) -> tuple[Tensor, ...]:
        """One mask per group; made once for each window, since all layers share them."""
        longest = max(int(group.key_count.max()) for group in self.groups)
        return self._mask(None if window is None or window >= longest else window)

    def _make_mask(self, window: int | None) -> tuple[Tensor, ...]:
        return tuple(group.mask(window) for group in self.groups)

    def to(self, device: torch.device) -> "Branches":
        """The same plan on another device."""
        if self.restore.device == device:
            return self
        groups = tuple(Group(*(tensor.to(device) for tensor in vars(group).values())) for group in self.groups)
        return Branches(groups, self.restore.to(device))

    @classmethod
    def plan(cls, branches: Sequence[tuple[Tensor, int]]) -> "Branches":
        """Group branches.

        Args:
            branches: in depth-first order, each (path, number of nodes at its end that are new).
        """
        groups = tuple(_pad([branches[i] for i in members]) for members in _partition(branches))
        order = torch.cat([group.queries.flatten()[group.valid] for group in groups])
        restore = torch.empty_like(order)
        restore[order] = torch.arange(len(order))
        return cls(groups, restore)


def _partition(branches: Sequence[tuple[Tensor, int]]) -> list[list[int]]:
    """Greedy over branches sorted by size: open a new group when padding would cost too much."""
    size = [(new, len(path)) for path, new in branches]
    groups: list[list[int]] = []
    longest_q = longest_k = real = 0
    for index in sorted(range(len(branches)), key=lambda i: size[i]):
        q, k = size[index]
        longest_q, longest_k, real = max(longest_q, q), max(longest_k, k), real + q * k
        padded = (len(groups[-1]) + 1) * longest_q * longest_k if groups else 0
        if not groups or padded > _GROUP_SCORES or padded > _WASTE * real + 4096:
            groups.append([])
            longest_q, longest_k, real = q, k, q * k
        groups[-1].append(index)
    return groups


def _pad(members: Sequence[tuple[Tensor, int]]) -> Group:
    most_q = max(new for _, new in members)
    most_k = max(len(path) for path, _ in members)
    count = torch.tensor([len(path) for path, _ in members])[:, None]
    new = torch.tensor([new for _, new in members])[:, None]
    keys = torch.zeros(len(members), most_k, dtype=torch.long)
    for row, (path, _) in enumerate(members):
        keys[row, : len(path)] = path
    step = torch.arange(most_q)[None, :]
    query_depth = torch.minimum(count - new + step, count - 1)
    return Group(
        keys=keys,
        queries=keys.gather(1, query_depth),
        valid=(step < new).flatten().nonzero().flatten(),
        query_depth=query_depth,
        key_count=count,
    )
