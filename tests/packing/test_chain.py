"""Sequences in batches of bounded size: each in one, none larger than it may be, nothing run twice, the same sums."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from tests.tiny import tiny_model
from xllms.packing import TokenSequence, Trie, token_logprobs
from xllms.packing.batches import Batch, padded_batches, trie_batches
from xllms.packing.chain import completion_logprobs
from xllms.packing.logprobs import Batching

# Few ids and long prompts: beginnings are shared, often for longer than is worth keeping.
tokens = st.lists(st.integers(3, 4), min_size=1, max_size=24).map(tuple)
ends = st.lists(st.integers(3, 6), min_size=1, max_size=4).map(tuple)
sequences = st.lists(st.builds(TokenSequence, tokens, ends), max_size=12)


def run(sequence: TokenSequence) -> tuple[int, ...]:
    return (sequence.prompt + sequence.completion)[:-1]


def prefixes(members: list[TokenSequence]) -> set[tuple[int, ...]]:
    return {run(one)[: length + 1] for one in members for length in range(len(run(one)))}


def members(batch: Batch, asked: list[TokenSequence]) -> list[TokenSequence]:
    return [asked[index] for index in batch[0]]


@given(sequences, st.integers(1, 60))
def test_a_batch_holds_no_more_nodes_than_it_may_and_begins_with_those_it_was_left(
    asked: list[TokenSequence], budget: int
) -> None:
    batches = trie_batches(asked, budget)
    assert sorted(index for indices, _ in batches for index in indices) == list(range(len(asked)))
    before: list[TokenSequence] = []
    for batch in batches:
        now = members(batch, asked)
        kept = batch[1]
        assert kept == 0 or kept >= 8, "fewer are run again"
        new = len(prefixes(now)) - kept
        assert len(now) == 1 or new <= max(budget, len(run(now[0])))
        if kept:
            shared = run(now[0])[:kept]
            assert run(before[-1])[:kept] == shared
            assert all(run(one)[:kept] == shared for one in now[:1])
        before = now


@given(sequences, st.integers(1, 60))
def test_padded_rows_take_no_more_tokens_than_they_may(asked: list[TokenSequence], budget: int) -> None:
    batches = padded_batches(asked, budget)
    assert sorted(index for indices, _ in batches for index in indices) == list(range(len(asked)))
    lengths = [[len(one) for one in members(batch, asked)] for batch in batches]
    assert all(len(rows) == 1 or max(rows) * len(rows) <= budget for rows in lengths)
    assert [max(rows) for rows in lengths] == sorted((max(rows) for rows in lengths), reverse=True)


@functools.cache
def model(architecture: str) -> PreTrainedModel:
    return tiny_model(architecture).eval()


@pytest.mark.parametrize("batching", ["trie", "padded"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
@settings(max_examples=15, deadline=None)
@given(asked=sequences, nodes=st.integers(1, 60))
def test_the_sums_are_those_of_one_trie(
    architecture: str, batching: Batching, asked: list[TokenSequence], nodes: int
) -> None:
    found = completion_logprobs(model(architecture), asked, batching=batching, nodes=nodes)
    if not asked:
        assert found == []
        return
    trie = Trie.build(asked)
    with torch.inference_mode():
        whole = trie.sum_by_sequence(token_logprobs(model(architecture), trie).double()).tolist()
    assert found == pytest.approx(whole, rel=1e-5, abs=1e-5)
