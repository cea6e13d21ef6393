"""The packing plan: which examples make a step, which of them share a forward pass, and which process runs it.

A step's examples are drawn without regard to what they share, so the mathematics is that of plain shuffled batches, and
they do not depend on the number of processes. Only within a step are sharers put side by side: its examples are sorted
by token ids and the sorted row is cut into passes of like cost, each within the budget of trie nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil

import torch

from xllms.training.examples import Example

Pass = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What an example costs beside its neighbour: trie nodes through the layers, and scored positions through the head.

    Attributes:
        budget: trie nodes in one pass at most; an example that is larger by itself sets the limit of its pass.
        head: cost of one scored position, in nodes (the head's weights over the layers' weights).
    """

    budget: int
    head: float = 0.0


def token_budget(wanted: int | None, device: torch.device) -> int:
    """Trie nodes in one pass: `wanted`, or what suits the device.

    On a CPU 512 rows are enough for its matrix products, and larger passes were slower: what they keep for backward
    has to come from the system each time (docs/results/training.md).
    """
    return wanted or (512 if device.type == "cpu" else 8192)


@dataclass(frozen=True)
class Plan:
    """Steps of a run over `examples`.

    Attributes:
        examples: all of them.
        order: the draws, in the order of `draw_order`.
        batch_size: examples in one step, over all processes.
        cost: what is balanced.
        processes: how many there are.
    """

    examples: Sequence[Example]
    order: Sequence[int]
    batch_size: int
    cost: Cost
    processes: int = 1

    def __len__(self) -> int:
        return ceil(len(self.order) / self.batch_size)

    def step(self, number: int) -> Sequence[int]:
        """Indices of the examples of step `number`, from 0; the last step may be smaller."""
        return self.order[number * self.batch_size : (number + 1) * self.batch_size]

    def passes(self, number: int, rank: int) -> list[Pass]:
        """The forward passes of one process in one step: as many as the others have, some of them perhaps empty."""
        return deal(self.examples, self.step(number), self.cost, self.processes)[rank]


def deal(examples: Sequence[Example], members: Sequence[int], cost: Cost, processes: int) -> list[list[Pass]]:
    """Cut `members` into passes of like cost, the same number for each process.

    Args:
        examples: all of them.
        members: indices of those to run.
        cost: budget of one pass, and the price of a scored position.
        processes: how many share the work.

    Returns:
        For each process its passes, each the indices of its examples, sorted by token ids.
    """
    row = sorted(members, key=lambda i: (examples[i].sequences[0].prompt, examples[i].sequences[0].completion, i))
    fresh = [examples[i].nodes for i in row]
    added = [fresh[0]] if row else []
    added += [nodes - _shared(examples[a], examples[b]) for a, b, nodes in zip(row, row[1:], fresh[1:], strict=False)]
    price = [nodes + cost.head * examples[i].scored for i, nodes in zip(row, added, strict=True)]
    rounds = max(1, ceil(sum(added) / (cost.budget * processes)))
    cuts = _cut(price, rounds * processes)
    while not all(_fits(fresh, added, start, stop, cost.budget) for start, stop in cuts):
        rounds += 1
        if rounds * processes >= len(row):  # finer cuts need not part what costs nothing beside its neighbour
            cuts = [(min(at, len(row)), min(at + 1, len(row))) for at in range(rounds * processes)]
            break
        cuts = _cut(price, rounds * processes)
    passes = [tuple(row[start:stop]) for start, stop in cuts]
    paid = [sum(price[start:stop]) for start, stop in cuts]
    return _share_out(passes, paid, processes)


def _fits(fresh: Sequence[int], added: Sequence[int], start: int, stop: int, budget: int) -> bool:
    """Whether a pass keeps to the budget, or is no larger than one of its examples must be.

    Its first example shares nothing, the others with the one before (at least).
    """
    if stop == start:
        return True
    return fresh[start] + sum(added[start + 1 : stop]) <= max(budget, *fresh[start:stop])


def _shared(one: Example, other: Example) -> int:
    """Nodes that `other` finds in the trie of `one`: the common prefix of their first sequences."""
    a, b = (example.sequences[0] for example in (one, other))
    shared = 0
    for left, right in zip(a.prompt + a.completion[:-1], b.prompt + b.completion[:-1], strict=False):
        if left != right:
            break
        shared += 1
    return shared


def _cut(price: Sequence[float], pieces: int) -> list[tuple[int, int]]:
    """Cut a row into `pieces` runs whose sums are as near to each other as whole examples allow."""
    upto = [0.0, *accumulate(price)]
    bounds = [0]
    for piece in range(1, pieces):
        target = upto[-1] * piece / pieces
        stop = bounds[-1]
        while stop < len(price) and abs(upto[stop + 1] - target) <= abs(upto[stop] - target):
            stop += 1
        bounds.append(stop)
    bounds.append(len(price))
    return list(pairwise(bounds))


def _share_out(passes: Sequence[Pass], paid: Sequence[float], processes: int) -> list[list[Pass]]:
    """The same number of passes for each process, the dearest first to whoever has paid least so far."""
    rounds = len(passes) // processes
    hands: list[list[int]] = [[] for _ in range(processes)]
    spent = [0.0] * processes
    for index in sorted(range(len(passes)), key=lambda i: (-paid[i], i)):
        rank = min((r for r in range(processes) if len(hands[r]) < rounds), key=lambda r: (spent[r], r))
        hands[rank].append(index)
        spent[rank] += paid[index]
    return [[passes[index] for index in sorted(hand)] for hand in hands]
