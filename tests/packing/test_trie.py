"""The layout of a trie: depth-first, each shared prefix once, subtrees closed."""

from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xllms.packing import TokenSequence, Trie, branches
from xllms.packing.plan import Scoring

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple)
batches = st.lists(st.builds(TokenSequence, tokens, st.one_of(tokens, st.just(()))), min_size=1, max_size=8)


@given(batches)
def test_every_sequence_reads_back_from_its_path(batch: list[TokenSequence]) -> None:
    trie = Trie.build(batch)
    for index, sequence in enumerate(batch):
        run = sequence.prompt + sequence.completion[:-1]
        assert tuple(trie.ids[trie.paths[index]].tolist()) == run
        assert trie.depth[trie.paths[index]].tolist() == list(range(len(run)))
        pairs = trie.pair[trie.sequence == index]
        assert tuple(trie.target[pairs].tolist()) == sequence.completion


@given(batches)
def test_a_shared_prefix_stands_once_and_ancestors_are_a_range(batch: list[TokenSequence]) -> None:
    trie = Trie.build(batch)
    runs = {s.prompt + s.completion[:-1] for s in batch}
    prefixes = {run[:length] for run in runs for length in range(1, len(run) + 1)}
    assert len(trie) == len(prefixes)
    for path in trie.paths:
        last = int(path[-1])
        ancestors = [j for j in range(len(trie)) if j <= last < int(trie.end[j])]
        assert ancestors == path.tolist()


@given(batches, st.sampled_from([None, 1, 3]), st.sampled_from([2, 64]))
def test_each_node_asks_once_and_sees_its_ancestors(batch: list[TokenSequence], window: int | None, block: int) -> None:
    trie = Trie.build(batch)
    with mock.patch.object(branches, "_BLOCK", block):  # short sequences are cut too
        groups = trie.branches.groups(window)
    asked, seen = [], {}
    for group in groups:
        bias = group.bias(Scoring(window=window), 1, 1)[:, 0]
        for row, at in group.valid.nonzero().tolist():
            node = int(group.queries[row, at])
            asked.append(node)
            seen[node] = group.keys[row][bias[row, at] == 0].tolist()
    assert sorted(asked) == list(range(len(trie)))
    for i in range(len(trie)):
        ancestors = [j for j in range(i + 1) if i < int(trie.end[j])]
        assert seen[i] == (ancestors if window is None else ancestors[-window:])


def test_the_picture_in_the_docstring() -> None:
    a, b, c, d, e, f, g = range(1, 8)
    trie = Trie.build([TokenSequence((a,), (b, c, d)), TokenSequence((a,), (b, e)), TokenSequence((a,), (b, e, f, g))])
    assert trie.ids.tolist() == [a, b, c, e, f]
    assert trie.depth.tolist() == [0, 1, 2, 2, 3]
    assert trie.end.tolist() == [5, 5, 3, 5, 5]
    assert (len(trie), trie.tokens) == (5, 9)


def test_equal_sequences_are_scored_once_and_counted_twice() -> None:
    trie = Trie.build([TokenSequence((1,), (2, 3))] * 2)
    assert len(trie.node) == 2
    assert trie.sum_by_sequence(torch.tensor([1.0, 10.0])).tolist() == [11.0, 11.0]


def test_what_cannot_be_laid_out_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sequence"):
        Trie.build([])
    with pytest.raises(ValueError, match="BOS"):
        Trie.build([TokenSequence((), (1,))])
