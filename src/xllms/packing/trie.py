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
from itertools import chain

import numpy as np
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
        """The plan by which attention runs over this trie on a CPU."""
        return Branches(
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
        layout = _Layout(sum(map(len, runs)))
        paths: list[Tensor] = [torch.empty(0)] * len(batch)
        chunks: list[tuple[int, int]] = []
        chunk_path: list[int] = []
        for index in sorted(range(len(runs)), key=runs.__getitem__):
            start, stop = layout.append(_tensor(runs[index]))
            paths[index] = layout.path
            if stop > start:
                chunks.append((start, stop))
                chunk_path.append(index)
        nodes = layout.close()
        pairs, pair = _scored_pairs(batch, paths)
        lengths = tuple(len(sequence.completion) for sequence in batch)
        return cls(
            ids=layout.ids[:nodes],
            depth=layout.depth[:nodes],
            end=layout.end[:nodes],
            node=pairs[0],
            target=pairs[1],
            pair=pair,
            sequence=torch.repeat_interleave(torch.arange(len(batch)), torch.tensor(lengths)),
            lengths=lengths,
            paths=tuple(paths),
            chunks=tuple(chunks),
            chunk_path=tuple(chunk_path),
        )


class _Layout:
    """Depth-first order comes for free when the sequences are added in sorted order.

    Args:
        room: for as many nodes.
    """

    def __init__(self, room: int) -> None:
        self.ids, self.depth, self.end = torch.empty(3, room, dtype=torch.long)
        self.nodes = 0
        self.run = self.path = torch.empty(0, dtype=torch.long)

    def append(self, run: Tensor) -> tuple[int, int]:
        """Add what `run` does not share with the run before; the (start, stop) of its new nodes."""
        common = min(len(run), len(self.run))
        parting = (run[:common] != self.run[:common]).nonzero()
        shared = int(parting[0]) if len(parting) else common
        start, stop = self.nodes, self.nodes + len(run) - shared
        self.end[self.path[shared:]] = start
        self.path = torch.cat([self.path[:shared], torch.arange(start, stop)])
        self.ids[start:stop] = run[shared:]
        self.depth[start:stop] = torch.arange(shared, len(run))
        self.run, self.nodes = run, stop
        return start, stop

    def close(self) -> int:
        """Number of nodes, all of whose subtrees end now."""
        self.end[self.path] = self.nodes
        return self.nodes


def _scored_pairs(batch: Sequence[TokenSequence], paths: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(2, S) distinct nodes and next tokens, in order of node; and the (T,) pair of every scored token."""
    scored = [path[len(s.prompt) - 1 :][: len(s.completion)] for s, path in zip(batch, paths, strict=True)]
    node = torch.cat(scored)
    target = _tensor(tuple(chain.from_iterable(sequence.completion for sequence in batch)))
    vocabulary = int(target.max()) + 1 if len(target) else 1
    numbers, pair = torch.unique(node * vocabulary + target, return_inverse=True)
    return torch.stack([numbers // vocabulary, numbers % vocabulary]), pair


def _tensor(tokens: tuple[int, ...]) -> Tensor:
    """By way of numpy: `torch.tensor` takes ten times as long for long tuples."""
    return torch.from_numpy(np.array(tokens, dtype=np.int64))
