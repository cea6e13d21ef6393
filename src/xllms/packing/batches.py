"""Sequences in batches of at most so many nodes or tokens, whichever of them share a beginning side by side.

A trie of a whole benchmark fits into no memory; cut along its depth-first order, each batch needs to know only how much
of its first path the batch before has run already.
"""

from collections.abc import Sequence

from xllms.packing.trie import TokenSequence

Batch = tuple[list[int], int]  # sequences, and how many nodes they share with the batch before
_WORTH = 8  # shared tokens; fewer are run again


def padded_batches(sequences: Sequence[TokenSequence], budget: int) -> list[Batch]:
    """Rows of like length, the longest first: what does not fit in memory fails at once."""
    batches: list[Batch] = []
    for index in sorted(range(len(sequences)), key=lambda index: -len(sequences[index])):
        members = batches[-1][0] if batches else []
        if not members or len(sequences[members[0]]) * (len(members) + 1) > budget:
            batches.append(([], 0))
        batches[-1][0].append(index)
    return batches


def trie_batches(sequences: Sequence[TokenSequence], budget: int) -> list[Batch]:
    """Sharers side by side, cut wherever the budget is spent."""
    runs = [(sequence.prompt + sequence.completion)[:-1] for sequence in sequences]
    batches: list[Batch] = []
    room = 0
    before: tuple[int, ...] = ()
    for index in sorted(range(len(runs)), key=runs.__getitem__):
        shared = _common(before, runs[index])
        if not batches or len(runs[index]) - shared > max(room, 0):
            batches.append(([], shared if shared >= _WORTH else 0))
            room = budget - shared + batches[-1][1]
        batches[-1][0].append(index)
        room -= len(runs[index]) - shared
        before = runs[index]
    return batches


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
