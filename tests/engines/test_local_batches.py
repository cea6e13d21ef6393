"""Batches hold what memory allows, like lengths side by side, and whoever shares a beginning."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache

from tests.tiny import tiny_model
from xllms.engines.local_batches import Costs, batches, device_bytes, reading_parts

COSTS = Costs(column=100, row=1000, node=400, score=0.5, weights=20_000)
ROOMY = replace(COSTS, weights=1 << 40)
prompts = st.lists(st.lists(st.integers(3, 5), min_size=1, max_size=60).map(tuple), min_size=1, max_size=40)


def padded(asked: list[tuple[int, ...]], found: list[list[int]]) -> float:
    """Part of the columns that holds no prompt."""
    lengths = [[len(asked[i]) for i in batch] for batch in found]
    return 1 - sum(map(sum, lengths)) / sum(max(batch) * len(batch) for batch in lengths)


@given(prompts, st.integers(1, 30), st.integers(1, 9), st.integers(1, 60_000))
def test_every_prompt_stands_in_one_batch_and_no_batch_is_too_large(
    asked: list[tuple[int, ...]], limit: int, size: int, memory: int
) -> None:
    found = list(batches(asked, limit, size, COSTS, memory))
    assert sorted(i for batch in found for i in batch) == list(range(len(asked)))
    for batch in found:
        assert len(batch) <= size
        longest = max(len(asked[i]) for i in batch)
        padding = sum(longest - len(asked[i]) for i in batch)
        assert padding * COSTS.column <= COSTS.weights
        assert len(batch) == 1 or len(batch) * ((longest + limit) * COSTS.column + COSTS.row) <= memory
    assert found == list(batches(asked, limit, size, COSTS, memory))


@given(prompts, st.integers(1, 200_000))
def test_all_rows_of_a_batch_are_read_in_order_in_parts_that_fit(asked: list[tuple[int, ...]], memory: int) -> None:
    parts = list(reading_parts(asked, COSTS, memory))
    assert [row for part in parts for row in part] == list(range(len(asked)))
    for part in parts:
        nodes = len({asked[row][: at + 1] for row in part for at in range(len(asked[row]))})
        assert len(part) == 1 or nodes * COSTS.node <= memory / 4


def test_what_is_shared_is_read_once_and_counted_once() -> None:
    asked = [(1,) * 50 + (2 + i,) for i in range(30)]
    assert list(reading_parts(asked, COSTS, memory=4 * 81 * 430)) == [range(30)]
    assert len(list(reading_parts(asked, COSTS, memory=4 * 60 * 430))) > 1


def test_short_prompts_are_not_padded_to_articles() -> None:
    """A thousand prompts of 20 to 2,000 tokens that all begin alike, as an evaluation's do."""
    draw = torch.Generator().manual_seed(0)
    asked = []
    for _ in range(1000):
        length = int(10 ** float(1.3 + 2 * torch.rand((), generator=draw)))
        asked.append((1, 2, 3, *torch.randint(4, 1000, (length,), generator=draw).tolist()))
    found = list(batches(asked, 64, 64, ROOMY, 1 << 40))
    by_ids = sorted(range(len(asked)), key=asked.__getitem__)
    as_before = [by_ids[start : start + 64] for start in range(0, len(by_ids), 64)]
    assert padded(asked, found) < 0.25
    assert padded(asked, as_before) > 0.6


def test_a_few_long_prompts_are_a_batch_of_their_own() -> None:
    """Where padding the others to them costs more than another pass over the weights."""
    asked = [(1, 2, 3 + i) for i in range(40)] + [(1, 2) + (3,) * (600 + i) for i in range(3)]
    weighing = [replace(COSTS, weights=weights) for weights in (40 * 590 * 100, 40 * 610 * 100)]
    assert [[len(batch) for batch in batches(asked, 8, 64, costs, 1 << 40)] for costs in weighing] == [[40, 3], [43]]


def test_those_that_share_their_examples_stay_together() -> None:
    examples = [
        tuple(torch.randint(3, 99, (400,), generator=torch.Generator().manual_seed(i)).tolist()) for i in (0, 1)
    ]
    asked = [examples[i % 2] + (5,) * (3 + i % 7) for i in range(40)]
    found = list(batches(asked, 8, 20, ROOMY, 1 << 40))
    assert [{i % 2 for i in batch} for batch in found] in ([{0}, {1}], [{1}, {0}])


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "bloom", "gpt-oss"])
def test_costs_are_known_of_every_architecture(architecture: str) -> None:
    model = tiny_model(architecture)
    costs = Costs.of(model)
    cache = DynamicCache()
    model(torch.arange(3, 7)[None], past_key_values=cache, use_cache=True)
    kept = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert costs.column == kept / 4
    assert costs.node > costs.column
    assert costs.weights == sum(p.numel() * 4 for p in model.parameters())
    assert 2**27 < device_bytes(model, costs) <= 2**31
