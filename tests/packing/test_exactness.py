"""The trie gives what one sequence at a time gives: values, and every adapter gradient."""

import functools
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.tiny import VOCABULARY, tiny_model, with_lora
from xllms.packing import TokenSequence, Trie, branches, choose_batching, token_logprobs
from xllms.packing.logprobs import Batching, Kernel

TOLERANCE = 1e-5

# Few distinct tokens, so that prefixes are really shared; longer than Gemma's window of 5.
tokens = st.lists(st.integers(3, 6), min_size=1, max_size=9).map(tuple)
batches = st.lists(st.builds(TokenSequence, tokens, tokens), min_size=1, max_size=6)


@functools.cache
def lora_model(architecture: str) -> nn.Module:
    return with_lora(tiny_model(architecture))


def one_at_a_time(model: nn.Module, batch: list[TokenSequence]) -> torch.Tensor:
    """Summed log-probability of each completion, by the model's own logits."""
    sums = []
    for sequence in batch:
        ids = torch.tensor([sequence.prompt + sequence.completion])
        logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
        at = torch.arange(len(sequence.prompt) - 1, len(sequence) - 1)
        sums.append(logprobs[at, ids[0, at + 1]].sum())
    return torch.stack(sums)


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward(retain_graph=True)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert found
    return found


def assert_same(got: torch.Tensor, want: torch.Tensor, what: str) -> None:
    error = (got - want).norm() / want.norm().clamp(min=1e-6)
    assert error <= TOLERANCE, f"{what}: relative error {error:.2e}"


def assert_equals_one_at_a_time(
    model: nn.Module,
    batch: list[TokenSequence],
    weights: torch.Tensor,
    batching: Batching,
    kernel: Kernel | None = None,
) -> None:
    """Values and gradients of the weighted sum, tensor by tensor.

    A gradient is held against the sum of the norms of what adds up to it, since signed weights may cancel; and against
    a tenth of the largest tensor's, since some are exactly nothing (a query that sees one key) and float32 gives 1e-9.
    """
    trie = Trie.build(batch)
    want_sums = one_at_a_time(model, batch)
    parts = [gradients(model, w * total) for w, total in zip(weights, want_sums, strict=True)]
    got_sums = trie.sum_by_sequence(token_logprobs(model, trie, batching=batching, kernel=kernel))
    got = gradients(model, (got_sums * weights).sum())

    assert_same(got_sums, want_sums, "log-probabilities")
    assert got.keys() == parts[0].keys()
    norms = {name: sum(float(part[name].norm()) for part in parts) for name in got}
    largest = max(norms.values())
    for name, gradient in got.items():
        want = torch.stack([part[name] for part in parts]).sum(0)
        error = float((gradient - want).norm()) / max(norms[name], 0.1 * largest)
        assert error <= TOLERANCE, f"gradient of {name}: relative error {error:.2e}"


weight_lists = st.lists(st.sampled_from([-2.0, -1.0, -0.3, 0.2, 1.0, 1.5]), min_size=6, max_size=6)


@pytest.mark.parametrize("architecture", ["llama", "qwen", "gemma3", "gemma2", "bloom"])
@settings(max_examples=25, deadline=None)
@given(batch=batches, weights=weight_lists)
def test_trie_equals_one_sequence_at_a_time(
    architecture: str, batch: list[TokenSequence], weights: list[float]
) -> None:
    with mock.patch.object(branches, "_BLOCK", 4):  # as long branches are cut
        assert_equals_one_at_a_time(lora_model(architecture), batch, torch.tensor(weights[: len(batch)]), "trie")


@pytest.mark.parametrize("architecture", ["bloom", "llama", "gemma3"])
@settings(max_examples=10, deadline=None)
@given(batch=batches, weights=weight_lists)
def test_padded_batches_equal_one_sequence_at_a_time(
    architecture: str, batch: list[TokenSequence], weights: list[float]
) -> None:
    assert_equals_one_at_a_time(lora_model(architecture), batch, torch.tensor(weights[: len(batch)]), "padded")


def test_architectures_are_told_apart_by_measuring() -> None:
    for architecture in ("llama", "gemma3", "gemma2", "bloom"):
        batching, reason = choose_batching(lora_model(architecture))
        assert batching == "trie", reason
    batching, reason = choose_batching(tiny_model("gpt-oss"))
    assert batching == "padded"
    assert "GptOss" in reason
    assert "s_aux" in reason


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_a_trained_or_a_capped_head(architecture: str) -> None:
    model = tiny_model(architecture)
    model.requires_grad_(True)
    batch = [TokenSequence((5, 3), (4, 6, 3)), TokenSequence((5,), (3, 3))]
    batching, _ = choose_batching(model)
    assert_equals_one_at_a_time(model, batch, torch.tensor([1.0, -0.5]), batching)


class Largest(TorchDispatchMode):
    """Most elements in one tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(t.numel() for t in tree_leaves(result) if isinstance(t, torch.Tensor))])
        return result


def test_no_logits_matrix_of_the_batch_is_made() -> None:
    model = lora_model("qwen")
    trie = Trie.build([TokenSequence((token, 4), (5, 6, token)) for token in range(3, 40)])
    scored = len(trie.node.unique())
    with Largest() as largest:
        token_logprobs(model, trie, tile=40).sum().backward()
    assert 0 < largest.elements < scored * VOCABULARY
    with Largest() as largest:
        model(input_ids=trie.ids[None])
    assert largest.elements >= scored * VOCABULARY
