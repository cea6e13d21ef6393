"""FlexAttention with the trie's rule gives what one sequence at a time gives; here uncompiled, on a CPU."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.attention.flex_attention as torch_flex
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packing.test_exactness import assert_equals_one_at_a_time, batches, lora_model, weight_lists
from tests.tiny import tiny_model, with_lora
from xllms.packing import TokenSequence, Trie, enable_gradient_checkpointing, flex, token_logprobs
from xllms.packing.flex import FlexPlan, bucket
from xllms.packing.logprobs import base_model
from xllms.packing.plan import Scoring

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def gradients_on_a_cpu() -> Iterator[None]:
    """torch refuses them for want of a compiled kernel; uncompiled, it computes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_flex, "_validate_device", lambda *tensors: None)
        patch.setattr(torch_flex, "_WARNINGS_SHOWN", {"flex_attention_performance"}, raising=False)
        yield


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gemma2", "bloom"])
@settings(max_examples=8, deadline=None)
@given(batch=batches, weights=weight_lists)
def test_flex_equals_one_sequence_at_a_time(
    architecture: str, batch: list[TokenSequence], weights: list[float]
) -> None:
    assert_equals_one_at_a_time(lora_model(architecture), batch, torch.tensor(weights[: len(batch)]), "trie", "flex")


def test_checkpointed_layers_run_flex_again() -> None:
    batch = [TokenSequence((1, 3, 4), (5, 6, 7)), TokenSequence((1, 3), (7, 8))]
    model = with_lora(tiny_model("gemma3")).train()
    found = []
    for _ in range(2):
        model.zero_grad()
        token_logprobs(model, batch, kernel="flex").sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        enable_gradient_checkpointing(base_model(model))
    assert torch.allclose(*found, atol=1e-5)


def random_trie(sequences: int, seed: int) -> Trie:
    """Sequences that part from one another early and late, of some hundred nodes together."""
    draw = torch.Generator().manual_seed(seed)
    rows = [torch.randint(0, 5, (140,), generator=draw).tolist() for _ in range(3)]
    parting = torch.randint(1, 139, (sequences,), generator=draw).tolist()
    return Trie.build(
        TokenSequence(tuple(rows[i % 3][:at]), tuple(torch.randint(0, 5, (40 + i,), generator=draw).tolist()))
        for i, at in enumerate(parting)
    )


@given(st.integers(1, 12), st.integers(0, 99), st.sampled_from([None, 1, 30, 100, 500]))
@settings(max_examples=40, deadline=None)
def test_the_blocks_of_the_mask_hold_the_rule(sequences: int, seed: int, window: int | None) -> None:
    """A pair that is seen is in a block that is computed, and every pair of a block computed whole is seen."""
    trie = random_trie(sequences, seed)
    plan = FlexPlan(trie.depth, trie.end, trie.branches, CPU)
    mask = plan.block_mask(window)
    n = len(plan.depth)
    i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
    seen = (j <= i) & (i < plan.end[j])
    if window is not None:
        seen &= plan.depth[:, None] - plan.depth[None, :] < window
    some = seen.view(n // 128, 128, n // 128, 128).any(3).any(1)
    every = seen.view(n // 128, 128, n // 128, 128).all(3).all(1)
    whole = listed(mask.full_kv_num_blocks, mask.full_kv_indices)
    part = listed(mask.kv_num_blocks, mask.kv_indices)
    assert not (part & whole).any()
    assert not (some & ~(part | whole)).any()
    assert not (whole & ~every).any()
    if window is None:  # read off exactly
        assert torch.equal(part | whole, some)
        assert torch.equal(whole, every)
    assert seen[torch.arange(len(trie), n)].sum() == n - len(trie)  # padding sees itself alone


def listed(count: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """A block mask's list of blocks as a matrix of booleans."""
    first = torch.arange(which.shape[-1]) < count[0, 0, :, None]
    return torch.zeros(which.shape[2:], dtype=torch.bool).scatter(1, which[0, 0].long(), first)


def test_few_sizes_are_compiled() -> None:
    sizes = [bucket(n) for n in range(1, 5000)]
    assert all(size >= n and size % 128 == 0 for n, size in enumerate(sizes, 1))
    assert max(size / n for n, size in enumerate(sizes, 1) if n > 256) < 1.51
    assert len(set(sizes)) == 11


def test_what_does_not_compile_is_said_once_and_runs_by_branches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(device: str) -> None:
        raise RuntimeError("no triton\nhere")

    monkeypatch.setattr(flex, "_kernel", broken)
    monkeypatch.setattr(flex, "_tried", {})
    trie = random_trie(3, 0)
    plan = FlexPlan(trie.depth, trie.end, trie.branches, CPU)
    tensors = [torch.randn(1, heads, len(trie), 8, requires_grad=True) for heads in (4, 2, 2)]
    for scoring in (Scoring(), Scoring(), Scoring(window=7)):
        assert not plan._compiles(*tensors, scoring)
    said = capsys.readouterr().err
    assert said.count("FlexAttention") == 1
    assert "slower" in said
    assert "no triton" in said
