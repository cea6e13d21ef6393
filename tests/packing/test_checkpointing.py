"""Gradient checkpointing computes a layer again as it was computed: on the trie."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import tiny_model, with_lora
from xllms.packing import TokenSequence, Trie, enable_gradient_checkpointing, token_logprobs
from xllms.packing.logprobs import base_model

BATCH = [TokenSequence((1, 3, 4, 5), tuple(range(6 + i, 18 + i))) for i in range(4)] + [TokenSequence((1, 3), (7, 8))]


def trained(architecture: str, lora: bool) -> nn.Module:
    model = tiny_model(architecture)
    return (with_lora(model) if lora else model.requires_grad_(True)).train()


@contextmanager
def counting_saved_bytes(seen: dict[int, int]) -> Iterator[None]:
    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


def gradient(model: nn.Module, passes: int) -> tuple[Tensor, int]:
    """All gradients in one row, and the bytes that the forward pass kept for them."""
    saved: dict[int, int] = {}
    with counting_saved_bytes(saved):
        loss = token_logprobs(model, Trie.build(BATCH)).square().sum()
    for _ in range(passes):  # a graph may be gone through again, and its layers run again
        model.zero_grad()
        loss.backward(retain_graph=True)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), sum(saved.values())


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "bloom"])
def test_same_gradients_from_less_memory(architecture: str, lora: bool) -> None:
    model = trained(architecture, lora)
    want, kept_before = gradient(model, 1)
    enable_gradient_checkpointing(base_model(model))
    for passes in (1, 2):
        got, kept = gradient(model, passes)
        assert float((got - want).norm() / want.norm()) < 1e-6
    parameters = sum(p.nbytes for p in model.parameters())
    assert kept - parameters < 0.5 * (kept_before - parameters)


def test_padded_batches_are_checkpointed_too() -> None:
    model = trained("llama", True)
    want = token_logprobs(model, BATCH, batching="padded")
    enable_gradient_checkpointing(base_model(model))
    got = token_logprobs(model, BATCH, batching="padded")
    parameters = [p for p in model.parameters() if p.requires_grad]
    for a, b in zip(*(torch.autograd.grad(x.sum(), parameters) for x in (got, want)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
