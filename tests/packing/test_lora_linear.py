"""The fused LoRA layer is peft's: same results, same gradients, and peft's own path wherever it does not apply."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from tests.tiny import tiny_model
from xllms.packing.lora_linear import FusedLoraLinear, fuse_lora


class One(nn.Module):
    """One linear layer that peft can adapt."""

    def __init__(self, size: int, out: int, bias: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(size, out, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def adapted(size: int, out: int, *, bias: bool = False, dropout: float = 0.0, dtype: torch.dtype = torch.float32):
    torch.manual_seed(size * 100 + out)
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["layer"], lora_dropout=dropout, init_lora_weights=False)
    plain = get_peft_model(One(size, out, bias).to(dtype), config)
    return plain, fuse_lora(copy.deepcopy(plain))


def gradients(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    x = x.clone().requires_grad_()
    result = model(x)
    (result.float() * torch.arange(result.numel()).view(result.shape).float().sin()).sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert x.grad is not None and len(found) == 2
    return result.detach(), {**found, "x": x.grad}


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 40),
    out=st.integers(1, 40),
    rows=st.integers(1, 9),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_results_and_gradients_are_those_of_peft(
    size: int, out: int, rows: int, bias: bool, dtype: torch.dtype
) -> None:
    plain, fused = adapted(size, out, bias=bias, dtype=dtype)
    assert any(isinstance(module, FusedLoraLinear) for module in fused.modules())
    x = torch.randn(2, rows, size, dtype=dtype)
    (want, wanted), (got, found) = gradients(plain, x), gradients(fused, x)
    # In bfloat16 both add the layer's product to the adapter's in float32 and round once, dx twice.
    bound = (
        {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2 * float(x.abs().max())}
    )
    torch.testing.assert_close(got, want, **bound)
    assert got.dtype == want.dtype
    for name, value in wanted.items():
        scale = max(1.0, float(value.float().abs().max()))
        torch.testing.assert_close(found[name] / scale, value / scale, **bound)


def test_a_model_with_an_adapter_says_the_same_and_keeps_its_names() -> None:
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(0)
    plain = get_peft_model(tiny_model("qwen"), config).eval()
    fused = fuse_lora(copy.deepcopy(plain))
    ids = torch.randint(3, 100, (2, 11))
    assert fused.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(fused(ids).logits, plain(ids).logits, rtol=1e-5, atol=1e-5)
    with fused.disable_adapter(), plain.disable_adapter():
        assert torch.equal(fused(ids).logits, plain(ids).logits)
    merged = copy.deepcopy(fused).merge_and_unload()
    torch.testing.assert_close(merged(ids).logits, plain(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["dropout", "autocast", "two adapters"])
def test_what_it_does_not_cover_is_left_to_peft(case: str) -> None:
    plain, fused = adapted(8, 6, dropout=0.5 if case == "dropout" else 0.0)
    if case == "two adapters":
        for model in (plain, fused):
            torch.manual_seed(5)
            model.add_adapter("more", LoraConfig(r=2, target_modules=["layer"], init_lora_weights=False))
            model.base_model.set_adapter(["default", "more"])
    x = torch.randn(4, 8)
    results = []
    for model in (plain.train(), fused.train()):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=case == "autocast"):
            results.append(model(x))
    assert torch.equal(*results)
