"""The trie on a CUDA device gives what it gives on the CPU."""

from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from tests.tiny import tiny_model, with_lora
from xllms.packing import TokenSequence, Trie, enable_gradient_checkpointing, flex, token_logprobs
from xllms.packing.logprobs import base_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def random_batch(longest: int) -> list[TokenSequence]:
    torch.manual_seed(0)
    return [
        TokenSequence((1, *torch.randint(3, 6, (n,)).tolist()), tuple(torch.randint(3, 9, (n,)).tolist()))
        for n in range(2, longest)
    ]


def values_and_gradient(architecture: str, trie: Trie, device: str, **how: Any) -> tuple[torch.Tensor, torch.Tensor]:
    model = with_lora(tiny_model(architecture)).to(device).train()
    if how.pop("checkpointed", False):
        enable_gradient_checkpointing(base_model(model))
    logprobs = token_logprobs(model, trie, **how)
    logprobs.sum().backward()
    gradient = torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])
    return logprobs.detach().cpu(), gradient


@pytest.mark.parametrize("how", [{"kernel": "flex"}, {"kernel": "branches"}, {"checkpointed": True}], ids=str)
@pytest.mark.parametrize("architecture", ["llama", "qwen", "gemma3", "gemma2", "bloom"])
def test_values_and_gradients_equal_the_cpus(
    architecture: str, how: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    trie = Trie.build(random_batch(longest=16))
    cpu, cpu_gradient = values_and_gradient(architecture, trie, "cpu")
    gpu, gpu_gradient = values_and_gradient(architecture, trie, "cuda", **how)
    assert "does not compile" not in capsys.readouterr().err
    assert torch.allclose(gpu, cpu, atol=1e-4)
    assert float((gpu_gradient - cpu_gradient).norm() / cpu_gradient.norm()) < 1e-3


def test_kernels_are_compiled_for_a_few_sizes_and_not_for_each_trie() -> None:
    tries = [Trie.build(random_batch(longest)) for longest in (32, 33, 34)]
    assert len({len(trie) for trie in tries}) == 3
    assert len({flex.bucket(len(trie)) for trie in tries}) == 1
    values_and_gradient("llama", tries[0], "cuda")
    tried = dict(flex._tried)
    graphs = counters["stats"]["unique_graphs"]
    for trie in tries[1:]:
        values_and_gradient("llama", trie, "cuda")
    assert flex._tried == tried
    assert all(tried.values())
    assert counters["stats"]["unique_graphs"] == graphs
