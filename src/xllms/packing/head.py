"""Log-probabilities from hidden states without ever holding a logits matrix of the batch.

With a frozen output matrix W, `d log p(t) / dh = W_t - E_p[W]`, and `E_p[W] = softmax(h W') W` is attention with
K = V = W: one pass over tiles of W gives the log-probability and its gradient together, in two GEMMs, with N x H of
extra memory.
A head that is trained, has a bias, or bends its logits takes the general path: chunks of rows, recomputed in backward.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Bend = Callable[[Tensor], Tensor]


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, node: Tensor, target: Tensor, tile: int) -> Tensor:
        wants_grad = ctx.needs_input_grad[0]
        highest = hidden.new_full((len(hidden), 1), float("-inf"), dtype=torch.float32)
        total = torch.zeros_like(highest)
        mean = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device) if wants_grad else None
        for start in range(0, len(weight), tile):
            rows = weight[start : start + tile]
            scores = (hidden @ rows.T).float()
            new = torch.maximum(highest, scores.amax(1, keepdim=True))
            scores.sub_(new).exp_()
            fade = (highest - new).exp_()
            total.mul_(fade).add_(scores.sum(1, keepdim=True))
            if mean is not None:
                mean.mul_(fade).add_(scores.to(rows.dtype) @ rows)
            highest = new
        if mean is not None:
            mean.div_(total)
            ctx.save_for_backward(mean, weight, node, target)
            ctx.dtype = hidden.dtype
        normaliser = (highest + total.log()).squeeze(1)
        # The target's own score in float32, whatever the matrix is kept in.
        own = torch.linalg.vecdot(hidden[node].float(), weight[target].float())
        result: Tensor = own - normaliser[node]
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (grad,) = grads
        mean, weight, node, target = ctx.saved_tensors
        factor = mean.new_zeros(len(mean)).index_add_(0, node, grad)
        result = mean * -factor[:, None]
        result.index_add_(0, node, weight[target].float() * grad[:, None])
        return result.to(ctx.dtype), None, None, None, None


def head_logprobs(
    head: nn.Module,
    hidden: Tensor,
    node: Tensor,
    target: Tensor,
    *,
    bend: Bend | None = None,
    tile: int = 8192,
) -> Tensor:
    """Log-probability of `target[i]` after `hidden[node[i]]`.

    Args:
        head: the output projection, (vocabulary, H).
        hidden: (M, H) final hidden states of the nodes that are scored.
        node: (S,) row of `hidden`.
        target: (S,) token id.
        bend: what the architecture does to its logits (a soft cap, a scale); None if nothing.
        tile: vocabulary entries projected at a time; peak memory is M * tile floats.

    Returns:
        (S,) float32; differentiable in `hidden`, and in the head if that is trained.
    """
    plain = type(head) is nn.Linear and head.bias is None and bend is None
    if plain and not head.weight.requires_grad:
        result: Tensor = _FrozenHead.apply(hidden, head.weight, node, target, tile)  # type: ignore[no-untyped-call]
        return result
    weight = getattr(head, "weight", None)
    vocabulary = len(weight) if isinstance(weight, Tensor) else tile
    rows = max(1, tile * len(hidden) // vocabulary)  # as many floats as the frozen path holds
    rows = max(rows, 64)
    pieces = []
    for start in range(0, len(node), rows):
        part = slice(start, start + rows)
        pieces.append(checkpoint(_row_logprobs, head, hidden[node[part]], target[part], bend, use_reentrant=False))
    return torch.cat(pieces)


def _row_logprobs(head: nn.Module, hidden: Tensor, target: Tensor, bend: Bend | None) -> Tensor:
    logits = head(hidden).float()
    if bend is not None:
        logits = bend(logits)
    result: Tensor = logits.gather(1, target[:, None]).squeeze(1) - logits.logsumexp(1)
    return result
