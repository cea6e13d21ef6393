"""Log-probabilities and both gradients of a head, tile by tile, against float64 on the whole logits matrix."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from xllms.packing import head as head_module
from xllms.packing.head import head_logprobs
from xllms.packing.linear_head import linear_logprobs

DTYPES = [torch.float32, torch.bfloat16]


@dataclass
class Case:
    hidden: Tensor  # (M, H)
    weight: Tensor  # (V, H)
    node: Tensor  # (S,)
    target: Tensor  # (S,)
    factor: Tensor  # (S,) gradient that comes in

    def to(self, dtype: torch.dtype) -> "Case":
        return Case(self.hidden.to(dtype), self.weight.to(dtype), self.node, self.target, self.factor)


@dataclass
class Outcome:
    values: Tensor
    for_hidden: Tensor
    for_weight: Tensor


def random_case(
    seed: int, positions: int, vocabulary: int, width: int, pairs: int, reach: float, shape: str = "random"
) -> Case:
    """Scores within ±`reach`; some positions have several targets, some none, in any order."""
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, width, generator=draw)
    weight = torch.randn(vocabulary, width, generator=draw)
    if shape == "equal rows":
        weight[:] = weight[0]
    weight *= reach / float((hidden @ weight.T).abs().max())
    if shape == "late outlier":  # every score before the last entry is small
        weight[:-1] *= 0.01
        # Scaled by the largest score: by its own, a small `hidden[0]` gave other positions scores of 10,000s.
        weight[-1] = hidden[0] * (reach / (hidden @ hidden[0]).abs().max())
    node = torch.randint(positions, (pairs,), generator=draw)
    target = torch.randint(vocabulary, (pairs,), generator=draw)
    return Case(hidden, weight, node, target, torch.randn(pairs, generator=draw))


def outcome(case: Case, logprobs: Callable[[Tensor, Tensor], Tensor]) -> Outcome:
    hidden, weight = case.hidden.clone().requires_grad_(), case.weight.clone().requires_grad_()
    values = logprobs(hidden, weight)
    values.backward(case.factor.to(values.dtype))
    assert hidden.grad is not None
    assert weight.grad is not None
    assert hidden.grad.dtype == hidden.dtype
    assert weight.grad.dtype == weight.dtype
    return Outcome(values.detach(), hidden.grad, weight.grad)


def by_whole_logits(case: Case) -> Outcome:
    def logprobs(hidden: Tensor, weight: Tensor) -> Tensor:
        return (hidden @ weight.T).log_softmax(1)[case.node, case.target]

    return outcome(case.to(torch.float64), logprobs)


def by_tiles(case: Case, tile: int | None, block: int | None) -> Outcome:
    def logprobs(hidden: Tensor, weight: Tensor) -> Tensor:
        return linear_logprobs(hidden, weight, case.node, case.target, tile=tile, block=block)

    return outcome(case, logprobs)


def assert_equals_whole_logits(case: Case, tile: int | None, block: int | None) -> None:
    """Within a few roundings of what was added up: scores for values, rows of the other factor for gradients."""
    want, got = by_whole_logits(case), by_tiles(case, tile, block)
    assert got.values.dtype == torch.float32
    assert bool((got.values <= 0).all())
    low = case.weight.dtype == torch.bfloat16
    reach = float((case.hidden.float().abs() @ case.weight.float().abs().T).max())  # what cancels rounds too
    # bfloat16 keeps 8 bits of a score; that the bound does not grow with the score is the point.
    of_values = 0.012 if low else 1e-6 * (2 + reach)
    of_gradients = 0.015 if low else 2e-6 * (2 + reach)
    assert float((got.values - want.values).abs().max()) <= of_values
    flow = float(case.factor.abs().sum())
    for name, other in (("for_hidden", case.weight), ("for_weight", case.hidden)):
        error = float((getattr(got, name) - getattr(want, name)).abs().max())
        assert error <= of_gradients * flow * float(other.abs().max()), name


sizes = {
    "seed": st.integers(0, 10**6),
    "positions": st.integers(1, 12),
    "vocabulary": st.integers(2, 70),
    "width": st.integers(1, 9),
    "pairs": st.integers(1, 25),
    "tile": st.integers(1, 75),
    "block": st.integers(1, 14),
    "reach": st.sampled_from([0.1, 5.0, 30.0, 80.0]),
    "shape": st.sampled_from(["random", "equal rows", "late outlier"]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=150, deadline=None)
@given(**sizes)
def test_values_and_both_gradients(dtype: torch.dtype, tile: int, block: int, **size: Any) -> None:
    assert_equals_whole_logits(random_case(**size).to(dtype), tile, block)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_chosen_by_itself(dtype: torch.dtype) -> None:
    """More positions than a block and more entries than a tile, neither a multiple."""
    case = random_case(0, 1100, 2500, 24, 1500, 30.0).to(dtype)
    assert_equals_whole_logits(case, None, None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_entry_far_from_all_others(dtype: torch.dtype, sign: float) -> None:
    """A score of ±300 in the last tile: what was summed before it must fade to nothing, or stay as it is."""
    hidden, weight = torch.ones(3, 1), torch.zeros(50, 1)
    weight[-1] = 300 * sign
    node, target = torch.tensor([0, 1, 2]), torch.tensor([4, 49, 4])
    case = Case(hidden, weight, node, target, torch.ones(3)).to(dtype)
    assert_equals_whole_logits(case, 7, 2)


def test_a_sure_bfloat16_token_is_sure() -> None:
    """A score of 25 is rounded by up to 0.06 in bfloat16; the log-probability of a sure token must not be."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(3000, 64, generator=draw) * 0.3
    target = torch.arange(0, 3000, 50)
    rows = weight[target]
    hidden = rows * (25 / rows.square().sum(1, keepdim=True)) * torch.linspace(0.7, 1.1, 60)[:, None]
    case = Case(hidden, weight, torch.arange(60), target, torch.ones(60)).to(torch.bfloat16)
    want = by_whole_logits(case).values
    assert float(want.max()) > -1e-6
    assert float((by_tiles(case, 512, None).values - want).abs().max()) < 2e-3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("trained", ["hidden", "weight"])
def test_one_gradient_does_not_need_the_other(dtype: torch.dtype, trained: str) -> None:
    case = random_case(3, 9, 40, 5, 14, 5.0).to(dtype)
    both = by_tiles(case, 16, 4)
    hidden = case.hidden.clone().requires_grad_(trained == "hidden")
    weight = case.weight.clone().requires_grad_(trained == "weight")
    linear_logprobs(hidden, weight, case.node, case.target, tile=16, block=4).backward(case.factor)
    assert (hidden.grad is None) == (trained == "weight")
    assert (weight.grad is None) == (trained == "hidden")
    grad = hidden.grad if trained == "hidden" else weight.grad
    assert grad is not None
    assert torch.equal(grad, both.for_hidden if trained == "hidden" else both.for_weight)


def test_a_tied_weight_gathers_both_of_its_gradients() -> None:
    torch.manual_seed(0)
    ids, target = torch.tensor([3, 1, 3, 7, 2]), torch.tensor([1, 3, 7, 2, 3])
    found = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        embedding, head = nn.Embedding(11, 4), nn.Linear(4, 11, bias=False)
        head.weight = embedding.weight
        head.to(dtype)
        hidden = torch.tanh(embedding(ids))
        if dtype == torch.float32:
            values = head_logprobs(head, hidden, torch.arange(5), target, tile=3)
        else:
            values = head(hidden).log_softmax(1)[torch.arange(5), target]
        values.sum().backward()
        assert embedding.weight.grad is not None
        found.append(embedding.weight.grad)
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 1e-6


def test_no_positions() -> None:
    hidden = torch.empty(0, 4)
    none = torch.empty(0, dtype=torch.long)
    for head in (nn.Linear(4, 9, bias=False), nn.Linear(4, 9)):
        values = head_logprobs(head, hidden, none, none)
        assert values.shape == (0,)
        assert values.dtype == torch.float32


def test_a_second_derivative_is_refused() -> None:
    case = random_case(0, 4, 20, 5, 6, 5.0)
    hidden = case.hidden.requires_grad_()
    values = linear_logprobs(hidden, case.weight, case.node, case.target)
    (grad,) = torch.autograd.grad(values.square().sum(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_autocast_multiplies_in_its_own_type() -> None:
    case = random_case(1, 30, 200, 16, 40, 5.0)
    with torch.autocast("cpu", torch.bfloat16), Watch() as watch:
        got = by_tiles(case, 64, 8)
    assert watch.product_dtypes == {torch.bfloat16}
    want = by_whole_logits(case)
    assert float((got.values - want.values).abs().max()) < 0.05
    assert float((got.for_weight - want.for_weight).norm() / want.for_weight.norm()) < 0.02


class Watch(TorchDispatchMode):
    """The largest storage that any operation makes, and the matrix products; what exists before is not counted."""

    def __init__(self, *existing: Tensor) -> None:
        super().__init__()
        self.known = {t.untyped_storage().data_ptr() for t in existing}
        self.largest = 0
        self.products = 0
        self.product_dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(output, Tensor) and output.untyped_storage().data_ptr() not in self.known:
                self.largest = max(self.largest, output.untyped_storage().nbytes() // output.element_size())
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            self.products += 1
            self.product_dtypes.add(args[-1].dtype)
        return result


POSITIONS, ENTRIES, WIDTH = 150, 1900, 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("trained", [False, True])
def test_nothing_larger_than_a_tile_is_made(dtype: torch.dtype, trained: bool) -> None:
    """Forward and backward, for 285,000 logits in tiles of 20 entries."""
    case = random_case(0, POSITIONS, ENTRIES, WIDTH, 200, 30.0).to(dtype)
    head = nn.Linear(WIDTH, ENTRIES, bias=False, dtype=dtype)
    head.weight = nn.Parameter(case.weight, requires_grad=trained)
    hidden = case.hidden.requires_grad_()
    with Watch(hidden, head.weight) as watch:
        head_logprobs(head, hidden, case.node, case.target, tile=20).backward(case.factor)
    largest = ENTRIES * WIDTH if trained else POSITIONS * 20  # a trained weight has a gradient of its own size
    assert POSITIONS * 20 <= watch.largest <= largest < POSITIONS * ENTRIES / 40


@pytest.mark.parametrize("trained", [False, True])
def test_without_gradients_only_the_scores_are_multiplied(trained: bool) -> None:
    """A parameter that needs a gradient needs none in a reference pass."""
    case = random_case(0, 30, 100, WIDTH, 40, 5.0)
    head = nn.Linear(WIDTH, 100, bias=False)
    head.weight = nn.Parameter(case.weight, requires_grad=trained)
    with Watch() as with_gradients:
        expected = head_logprobs(head, case.hidden.clone().requires_grad_(), case.node, case.target, tile=10)
    with torch.no_grad(), Watch() as watch:
        values = head_logprobs(head, case.hidden.requires_grad_(), case.node, case.target, tile=10)
    assert not values.requires_grad
    assert torch.equal(values, expected)
    assert watch.products == math.ceil(100 / 10)
    assert with_gradients.products == 2 * watch.products


def bent_by_a_cap(logits: Tensor) -> Tensor:
    return torch.tanh(logits / 5) * 5


@pytest.mark.parametrize("bias", [False, True])
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), positions=st.integers(1, 60), vocabulary=st.integers(2, 70), tile=st.integers(1, 9))
def test_a_bias_and_a_cap(bias: bool, seed: int, positions: int, vocabulary: int, tile: int) -> None:
    """The general path, whose chunks hold from 16 positions to all of them."""
    case = random_case(seed, positions, vocabulary, 6, 2 * positions, 12.0)
    heads = [nn.Linear(6, vocabulary, bias=bias) for _ in range(2)]
    heads[0].weight = nn.Parameter(case.weight)
    heads[1].load_state_dict(heads[0].state_dict())
    heads[1].double()
    hidden = [case.hidden.clone().requires_grad_(), case.hidden.double().requires_grad_()]
    got = head_logprobs(heads[0], hidden[0], case.node, case.target, bend=bent_by_a_cap, tile=tile)
    want = bent_by_a_cap(heads[1](hidden[1])).log_softmax(1)[case.node, case.target]
    got.backward(case.factor)
    want.backward(case.factor.double())
    assert float((got - want).detach().abs().max()) < 2e-5
    pairs = zip([hidden[0], *heads[0].parameters()], [hidden[1], *heads[1].parameters()], strict=True)
    flow = float(case.factor.abs().sum())
    for one, other in pairs:
        assert one.grad is not None
        assert other.grad is not None
        assert float((one.grad - other.grad).abs().max()) < 1e-5 * flow * max(1.0, float(case.weight.abs().max()))


def test_the_general_path_holds_the_logits_of_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """At any time, and none of them between forward and backward."""
    monkeypatch.setattr(head_module, "_CHUNK_LOGITS", 30 * ENTRIES)
    case = random_case(0, POSITIONS, ENTRIES, WIDTH, 200, 5.0)
    head = nn.Linear(WIDTH, ENTRIES)
    kept = [0]

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with Watch() as watch:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            values = head_logprobs(head, case.hidden.requires_grad_(), case.node, case.target)
        values.backward(case.factor)
    assert watch.largest == 30 * ENTRIES
    assert max(kept) <= ENTRIES * WIDTH
