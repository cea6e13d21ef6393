"""The layout of a trie: depth-first, each shared prefix once, subtrees closed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xllms.packing import TokenSequence, Trie

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


@given(batches)
def test_each_node_asks_in_exactly_one_branch(batch: list[TokenSequence]) -> None:
    trie = Trie.build(batch)
    asked = torch.cat([group.queries.flatten()[group.valid] for group in trie.branches.groups])
    assert sorted(asked.tolist()) == list(range(len(trie)))
    assert asked[trie.branches.restore].tolist() == list(range(len(trie)))


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
