"""The trie on a CUDA device gives what it gives on the CPU."""

import pytest
import torch

from tests.tiny import tiny_model, with_lora
from xllms.packing import TokenSequence, Trie, token_logprobs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("architecture", ["llama", "qwen", "gemma3"])
def test_values_and_gradients_equal_the_cpus(architecture: str) -> None:
    torch.manual_seed(0)
    batch = [
        TokenSequence((1, *torch.randint(3, 6, (n,)).tolist()), tuple(torch.randint(3, 9, (n,)).tolist()))
        for n in range(2, 12)
    ]
    trie = Trie.build(batch)
    found = []
    for device in ("cpu", "cuda"):
        model = with_lora(tiny_model(architecture)).to(device)
        logprobs = token_logprobs(model, trie)
        logprobs.sum().backward()
        gradient = torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])
        found.append((logprobs.detach().cpu(), gradient))
    (cpu, cpu_gradient), (gpu, gpu_gradient) = found
    assert torch.allclose(gpu, cpu, atol=1e-4)
    assert float((gpu_gradient - cpu_gradient).norm() / cpu_gradient.norm()) < 1e-3
