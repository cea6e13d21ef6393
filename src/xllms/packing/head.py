"""Log-probabilities from hidden states without ever holding a logits matrix of the batch.

A plain linear head, frozen or trained, goes tile by tile over its vocabulary (`linear_head`).
A head with a bias, with adapters, or one whose logits are bent (a soft cap, a scale) takes the general path here:
chunks of positions with all their logits, computed again in backward.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xllms.packing.linear_head import linear_logprobs

Bend = Callable[[Tensor], Tensor]

# 64 positions of Gemma's 262,144 entries. At the peak there are 4 to 5 floats for each of these logits, 256 to 320 MB.
# Half as many cost a trained head 40 % more time, twice as many save 4 % (256,000 × 640, a soft cap, one core).
_CHUNK_LOGITS = 2**24


def head_logprobs(
    head: nn.Module,
    hidden: Tensor,
    node: Tensor,
    target: Tensor,
    *,
    bend: Bend | None = None,
    tile: int | None = None,
) -> Tensor:
    """Log-probability of `target[i]` after `hidden[node[i]]`.

    Args:
        head: the output projection, (vocabulary, H).
        hidden: (M, H) final hidden states of the nodes that are scored.
        node: (S,) row of `hidden`.
        target: (S,) token id.
        bend: what the architecture does to its logits (a soft cap, a scale); None if nothing.
        tile: vocabulary entries projected at a time; None takes what was fastest on a CPU (a GPU's is not measured).
            The general path holds as many logits as 1,024 positions × `tile`, or 2²⁴ if it is None.

    Returns:
        (S,) float32; differentiable in `hidden`, and in the head if that is trained.
    """
    if type(head) is nn.Linear and head.bias is None and bend is None:
        return linear_logprobs(hidden, head.weight, node, target, tile=tile)
    weight = getattr(head, "weight", None)
    vocabulary = len(weight) if isinstance(weight, Tensor) else 2**18
    logits = _CHUNK_LOGITS if tile is None else 1024 * tile
    return _chunked_logprobs(head, hidden, node, target, bend, max(16, logits // vocabulary))


def _chunked_logprobs(
    head: nn.Module, hidden: Tensor, node: Tensor, target: Tensor, bend: Bend | None, chunk: int
) -> Tensor:
    """Each position's logits once, `chunk` positions at a time."""
    order = node.argsort()
    node, target = node[order], target[order]
    starts = torch.arange(0, len(hidden) + chunk, chunk, device=node.device)
    bounds = torch.searchsorted(node, starts).tolist()
    pieces = [hidden.new_empty(0, dtype=torch.float32)]
    for number, start in enumerate(range(0, len(hidden), chunk)):
        pairs = slice(bounds[number], bounds[number + 1])
        rows = hidden[start : start + chunk]
        piece = checkpoint(_logprobs, head, rows, node[pairs] - start, target[pairs], bend, use_reentrant=False)
        pieces.append(piece)
    return torch.cat(pieces)[order.argsort()]


def _logprobs(head: nn.Module, hidden: Tensor, node: Tensor, target: Tensor, bend: Bend | None) -> Tensor:
    logits = head(hidden).float()
    if bend is not None:
        logits = bend(logits)
    result: Tensor = logits[node, target] - logits.logsumexp(1)[node]
    return result
