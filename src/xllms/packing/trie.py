"""A batch of token sequences laid out as a trie, in depth-first order.

    sequences      a b c d      nodes   0 1 2 3 4
                   a b e        ids     a b c e f        (the last token of a sequence is only predicted, never run)
                   a b e f g    depth   0 1 2 2 3
                                end     5 5 3 5 5        (end[j] closes the subtree of j)

Node i attends to j when `j <= i < end[j]`: its ancestors and itself. Its position is its depth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from xllms.packing.branches import Branches


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Token ids of one example: the prompt is context, the completion is scored."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass
class Trie:
    """N nodes, S distinct scored (node, next token) pairs, T scored tokens over all sequences.

    Attributes:
        ids: (N,) token ids in depth-first order.
        depth: (N,) position of each node in its sequences.
        end: (N,) first node after each node's subtree.
        node: (S,) the node that predicts.
        target: (S,) the token that is predicted there.
        pair: (T,) for each scored token, sequence by sequence, its index into the S pairs.
        sequence: (T,) for each scored token, the sequence it belongs to.
        lengths: scored tokens per sequence.
        paths: per sequence, the (length,) nodes from root to its last node that is run.
        chunks: (start, stop) of the nodes that each path added, in depth-first order; with `chunk_path`, its path.
    """

    ids: Tensor
    depth: Tensor
    end: Tensor
    node: Tensor
    target: Tensor
    pair: Tensor
    sequence: Tensor
    lengths: tuple[int, ...]
    paths: tuple[Tensor, ...]
    chunks: tuple[tuple[int, int], ...]
    chunk_path: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tokens(self) -> int:
        """Tokens that would run if every sequence ran by itself, without padding."""
        return sum(len(path) for path in self.paths)

    @cached_property
    def branches(self) -> Branches:
        """The plan by which attention runs over this trie."""
        return Branches.plan(
            [(self.paths[path], stop - start) for (start, stop), path in zip(self.chunks, self.chunk_path, strict=True)]
        )

    def sum_by_sequence(self, values: Tensor) -> Tensor:
        """(S,) values of the pairs -> (number of sequences,) sums over each sequence's scored tokens."""
        sums = values.new_zeros(len(self.paths))
        return sums.index_add(0, self.sequence.to(values.device), values[self.pair.to(values.device)])

    @classmethod
    def build(cls, sequences: Iterable[TokenSequence]) -> "Trie":
        """Lay `sequences` out.

        Raises:
            ValueError: no sequences, or one with an empty prompt (nothing would predict its first token).
        """
        batch = list(sequences)
        if not batch:
            raise ValueError("a trie needs at least one sequence")
        if any(not sequence.prompt for sequence in batch):
            raise ValueError("every sequence needs a prompt of at least one token, such as BOS")
        runs = [(s.prompt + s.completion)[:-1] if s.completion else s.prompt for s in batch]
        layout = _Layout()
        paths: list[Tensor] = [torch.empty(0)] * len(batch)
        chunks: list[tuple[int, int]] = []
        chunk_path: list[int] = []
        for index in sorted(range(len(runs)), key=runs.__getitem__):
            start, stop = layout.append(runs[index])
            paths[index] = torch.tensor(layout.path)
            if stop > start:
                chunks.append((start, stop))
                chunk_path.append(index)
        layout.close(0)
        node, target, pair = _scored_pairs(batch, paths)
        lengths = tuple(len(sequence.completion) for sequence in batch)
        return cls(
            ids=torch.tensor(layout.ids),
            depth=torch.tensor(layout.depth),
            end=torch.tensor(layout.end),
            node=torch.tensor(node, dtype=torch.long),
            target=torch.tensor(target, dtype=torch.long),
            pair=torch.tensor(pair, dtype=torch.long),
            sequence=torch.repeat_interleave(torch.arange(len(batch)), torch.tensor(lengths)),
            lengths=lengths,
            paths=tuple(paths),
            chunks=tuple(chunks),
            chunk_path=tuple(chunk_path),
        )


class _Layout:
    """Depth-first order comes for free when the sequences are added in sorted order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depth: list[int] = []
        self.end: list[int] = []
        self.path: list[int] = []

    def append(self, run: Sequence[int]) -> tuple[int, int]:
        shared = 0
        for node, token in zip(self.path, run, strict=False):
            if self.ids[node] != token:
                break
            shared += 1
        self.close(shared)
        start = len(self.ids)
        for depth in range(shared, len(run)):
            self.path.append(len(self.ids))
            self.ids.append(run[depth])
            self.depth.append(depth)
            self.end.append(-1)
        return start, len(self.ids)

    def close(self, depth: int) -> None:
        for node in self.path[depth:]:
            self.end[node] = len(self.ids)
        del self.path[depth:]


def _scored_pairs(batch: Sequence[TokenSequence], paths: Sequence[Tensor]) -> tuple[list[int], list[int], list[int]]:
    """Distinct (node, next token) pairs, in order of node; and the pair of every scored token."""
    wanted = []
    for sequence, path in zip(batch, paths, strict=True):
        nodes = path.tolist()[len(sequence.prompt) - 1 :]
        wanted += list(zip(nodes, sequence.completion, strict=False))
    pairs = sorted(set(wanted))
    index = {pair: position for position, pair in enumerate(pairs)}
    return [n for n, _ in pairs], [t for _, t in pairs], [index[pair] for pair in wanted]
