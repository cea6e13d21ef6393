"""Attention over a trie branch by branch: no dense N x N mask, and next to nothing paid for what is masked.

The nodes that one path added are a branch: its queries see the keys of the whole path, its own causally. Branches are
cut into blocks of queries, so that keys after a block, or out of a sliding window's reach, are left out; blocks of like
size are padded together into a few groups, one call of scaled-dot-product attention each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from xllms.packing.plan import Scoring

_BLOCK = 64  # queries in a block at least
_BLOCKS = 8  # in a branch at most: its keys are copied 4.5 times at most
_WASTE = 1.1  # a group may cost at most this many times its blocks
_GROUP_SCORES = 1 << 22  # scores (queries x keys) in one group at most


@dataclass(frozen=True)
class Block:
    """Some successive queries of one branch: those at `path[first:stop]`, over the keys at `path[start:stop]`."""

    path: Tensor
    start: int
    first: int
    stop: int

    @property
    def size(self) -> tuple[int, int]:
        """Queries and keys."""
        return self.stop - self.first, self.stop - self.start


@dataclass(frozen=True)
class Group:
    """B blocks, padded to Q queries and K keys.

    Attributes:
        keys: (B, K) nodes whose keys are seen; padding is node 0 and is masked.
        key_depth: (B, K) position of each key; of padding, past every query's.
        queries: (B, Q) nodes that ask; padding repeats the block's last.
        query_depth: (B, Q) position of each query.
        valid: (B, Q) which queries are no padding.
    """

    keys: Tensor
    key_depth: Tensor
    queries: Tensor
    query_depth: Tensor
    valid: Tensor

    @classmethod
    def pad(cls, blocks: Sequence[Block]) -> "Group":
        """Lay blocks out side by side."""
        start, first, stop = torch.tensor([(b.start, b.first, b.stop) for b in blocks]).T[:, :, None]
        keys = torch.nn.utils.rnn.pad_sequence([b.path[b.start : b.stop] for b in blocks], batch_first=True)
        key_depth = start + torch.arange(keys.shape[1])
        key_depth[key_depth >= stop] = int(stop.max())
        query_depth = first + torch.arange(int((stop - first).max()))
        valid = query_depth < stop
        query_depth = torch.minimum(query_depth, stop - 1)
        return cls(keys, key_depth, keys.gather(1, query_depth - start), query_depth, valid)

    def bias(self, scoring: Scoring, key_heads: int, shared: int) -> Tensor:
        """(B, key_heads or 1, Q * shared, K) to add to scores: -inf where a query does not see, and ALiBi's tilt."""
        distance = (self.query_depth[:, :, None] - self.key_depth[:, None, :])[:, None, :, None, :]
        unseen = distance < 0
        if scoring.window is not None:
            unseen |= distance >= scoring.window
        if scoring.slopes is None:
            tilt = torch.zeros(distance.shape).expand(-1, -1, -1, shared, -1)
        else:
            tilt = distance * -torch.tensor(scoring.slopes).view(key_heads, 1, shared, 1)
        return tilt.masked_fill(unseen, float("-inf")).flatten(2, 3)


class Layout:
    """The groups of a trie for one way of scoring, and how nodes go into them and come back.

    Attributes:
        shapes: (B, Q, K) of each group.
        biases: what each group adds to its scores.
        queries: (P,) nodes of all groups' queries, padding included.
        keys: nodes of all groups' keys.
        restore: (N,) where each node stands in `queries`.
    """

    def __init__(self, groups: Sequence[Group], biases: Sequence[Tensor], device: torch.device) -> None:
        self.shapes = [(*group.queries.shape, group.keys.shape[1]) for group in groups]
        self.biases = biases
        queries = torch.cat([group.queries.flatten() for group in groups])
        real = torch.cat([group.valid.flatten() for group in groups]).nonzero().flatten()
        restore = torch.empty_like(real)
        restore[queries[real]] = real
        self.queries, self.restore = queries.to(device), restore.to(device)
        self.keys = torch.cat([group.keys.flatten() for group in groups]).to(device)


class Branches:
    """The attention plan of a trie.

    Args:
        branches: in depth-first order, each (path, number of nodes at its end that are new).
    """

    def __init__(self, branches: Sequence[tuple[Tensor, int]]) -> None:
        self.branches = branches
        self._groups: dict[int | None, tuple[Group, ...]] = {}
        self._layouts: dict[tuple[object, ...], Layout] = {}

    def groups(self, window: int | None) -> tuple[Group, ...]:
        """The branches' blocks in groups; every node asks in exactly one."""
        if window not in self._groups:
            blocks = [block for path, new in self.branches for block in _blocks(path, new, window)]
            self._groups[window] = tuple(Group.pad(members) for members in _partition(blocks))
        return self._groups[window]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """As `Plan.attend`."""
        heads, key_heads = query.shape[1], key.shape[1]
        layout = self._layout(scoring, key_heads, heads // key_heads, query)
        # All gathers of a layer at once: index_select's backward is one pass, and twice as fast as that of indexing.
        rows = torch.split(_take(query, layout.queries), [b * q for b, q, _ in layout.shapes])
        counts = [b * k for b, _, k in layout.shapes]
        keys, values = (torch.split(_take(tensor, layout.keys), counts) for tensor in (key, value))
        groups = zip(layout.shapes, rows, keys, values, layout.biases, strict=True)
        answers = [_attend(key_heads, scoring, *group) for group in groups]
        return torch.cat(answers).index_select(0, layout.restore)[None]

    def _layout(self, scoring: Scoring, key_heads: int, shared: int, like: Tensor) -> Layout:
        """Made once for each way of scoring, since all layers of a kind share it."""
        longest = max(len(path) for path, _ in self.branches)
        if scoring.window is not None and scoring.window >= longest:
            scoring = replace(scoring, window=None)
        wanted = (scoring.window, scoring.slopes, key_heads, shared, like.device, like.dtype)
        if wanted not in self._layouts:
            with torch.inference_mode(False):  # a bias is saved for the backward pass, perhaps of a later run
                groups = self.groups(scoring.window)
                biases = [group.bias(scoring, key_heads, shared).to(like.device, like.dtype) for group in groups]
                self._layouts[wanted] = Layout(groups, biases, like.device)
        return self._layouts[wanted]


def _take(tensor: Tensor, nodes: Tensor) -> Tensor:
    """(1, H, N, D) -> (number of nodes, H, D)."""
    return tensor[0].transpose(0, 1).index_select(0, nodes)


def _attend(
    key_heads: int,
    scoring: Scoring,
    shape: tuple[int, int, int],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor,
) -> Tensor:
    """One group: (B * Q, Hq, D), (B * K, Hk, D), (B * K, Hk, Dv) -> (B * Q, Hq, Dv)."""
    b, q, k = shape
    # The heads that share one key head are laid out as further queries: no copies of the keys.
    query = query.view(b, q, key_heads, -1, query.shape[-1]).transpose(1, 2).flatten(2, 3)
    key, value = (tensor.view(b, k, key_heads, -1).transpose(1, 2) for tensor in (key, value))
    if scoring.softcap is None:
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scoring.scaling)
    else:
        scaling = query.shape[-1] ** -0.5 if scoring.scaling is None else scoring.scaling
        scores = torch.tanh(query @ key.mT * (scaling / scoring.softcap)) * scoring.softcap
        answer = (scores + bias).softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return answer.view(b, key_heads, q, -1, answer.shape[-1]).transpose(1, 2).reshape(b * q, -1, answer.shape[-1])


def _blocks(path: Tensor, new: int, window: int | None) -> Iterator[Block]:
    """A branch in blocks of like length."""
    length = max(_BLOCK, -(-new // _BLOCKS))
    if window is not None:
        length = min(length, max(_BLOCK, window // 2))
    for first in range(len(path) - new, len(path), length):
        start = 0 if window is None else max(0, first - window + 1)
        yield Block(path, start, first, min(first + length, len(path)))


def _partition(blocks: Sequence[Block]) -> list[list[Block]]:
    """Greedy over blocks sorted by size: open a new group when padding would cost too much."""
    groups: list[list[Block]] = []
    longest_q = longest_k = real = 0
    for block in sorted(blocks, key=lambda block: block.size):
        q, k = block.size
        longest_q, longest_k, real = max(longest_q, q), max(longest_k, k), real + q * k
        padded = (len(groups[-1]) + 1) * longest_q * longest_k if groups else 0
        if not groups or padded > _GROUP_SCORES or padded > _WASTE * real + 4096:
            groups.append([])
            longest_q, longest_k, real = q, k, q * k
        groups[-1].append(block)
    return groups
