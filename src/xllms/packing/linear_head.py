"""Log-probabilities under a plain linear head, one block of positions × one tile of the vocabulary at a time.

`d log p(t) / dh = W_t − E_p[W]`, and `E_p[W] = softmax(h Wᵀ) W` is attention with K = V = W: one pass over the tiles
gives the log-probability and its gradient in `h` together, in two matrix products. A weight that is trained costs two
more in backward: each tile's scores again, then `dW = Σ_n f_n (onehot − p_n) h_nᵀ`, where `f_n` sums the incoming
gradients at position n. No tensor is larger than a tile, the hidden states or the weight.

Three things make the tiles run at the speed of their matrix products (float32, one AVX-512 core, hidden 640):
- The vocabulary is the outer loop, so a tile of W is read from memory once; 1,024 positions × 1,024 entries of scores
  stay in the shared cache. Tiles of 8,192 entries over all positions ran at 0.83 to 0.89 of this speed.
- `exp2` takes 0.3 ns an element where `exp` takes 0.8, and 30 where its result is close to underflow.
- The reference that is subtracted before `exp2` starts at the target's own score and is raised only when a score is
  more than `_JUMP` above it.

bfloat16 products round a score of 20 by up to 0.06. The reference is therefore subtracted inside the product, before
rounding: what counts in the sum is then close to zero and keeps its digits.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_LOG2E = math.log2(math.e)
# In bfloat16 what lies above the reference is off by up to 2⁻⁷ for 4, and its tile is multiplied again beyond that:
# on the real Gemma-3-270M 2 % of the tiles of 400 positions are, 8 % for 2, 17 % for 1.
_JUMP = 4.0


def linear_logprobs(
    hidden: Tensor,
    weight: Tensor,
    node: Tensor,
    target: Tensor,
    *,
    tile: int | None = None,
    block: int | None = None,
) -> Tensor:
    """Log-probability of `target[i]` after `hidden[node[i]]` under `softmax(hidden · weight')`.

    Args:
        hidden: (M, H) one row per distinct position.
        weight: (V, H) output matrix, frozen or trained; it may be the input embedding too.
        node: (S,) row of `hidden`.
        target: (S,) token id.
        tile: vocabulary entries at a time; None takes what was fastest on a CPU, or a guess on a GPU (not measured).
        block: positions at a time, likewise; peak memory is block × tile floats (and as many low-precision ones).

    Returns:
        (S,) float32, differentiable once in `hidden` and `weight`. Where neither needs a gradient, only the scores are
        computed. In bfloat16 scores must stay within ±10,000 (real ones are within hundreds): beyond, the rounded
        reference is further from its score than `exp2` reaches.
    """
    if not torch.is_grad_enabled():  # a parameter says that it needs a gradient even here
        hidden, weight = hidden.detach(), weight.detach()
    result: Tensor = _LinearHead.apply(hidden, weight, node, target, tile, block)  # type: ignore[no-untyped-call]
    return result


class _LinearHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, node: Tensor, target: Tensor, tile: int | None, block: int | None
    ) -> Tensor:
        tiles = _Tiles(hidden, weight, tile, block)
        own = _own_scores(tiles, node, target)
        reference = tiles.kept(_best_own(own, node, len(hidden)))
        normaliser, mean = _sweep(tiles, reference, ctx.needs_input_grad[0])
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(mean, normaliser, hidden, weight, node, target)
            ctx.sizes = tiles.tile, tiles.block
            ctx.dtype = tiles.dtype
        # Rounding may put a sure token's score above the normaliser that holds it.
        return (own - normaliser.squeeze(1)[node]).clamp_(max=0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        mean, normaliser, hidden, weight, node, target = ctx.saved_tensors
        factor = torch.zeros_like(normaliser).index_add_(0, node, grad[:, None])
        for_hidden = for_weight = None
        tile, block = ctx.sizes
        if ctx.needs_input_grad[0]:
            for_hidden = _hidden_gradient(mean, factor, weight, node, target, grad, block).to(hidden.dtype)
        if ctx.needs_input_grad[1]:
            tiles = _Tiles(hidden, weight, tile, block, ctx.dtype)
            for_weight = _weight_gradient(tiles, normaliser, factor, node, target, grad)
        return for_hidden, for_weight, None, None, None, None


class _Tiles:
    """The scores of blocks of positions on tiles of the vocabulary, in buffers that are used again."""

    def __init__(
        self, hidden: Tensor, weight: Tensor, tile: int | None, block: int | None, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype or _product_dtype(weight)
        self.low = self.dtype != torch.float32
        self.hidden = hidden.to(self.dtype)
        self.weight = weight
        self.cpu = hidden.device.type == "cpu"
        self.tile = min(tile or (1024 if self.cpu else 8192), len(weight))
        # In low precision a block redoes its tile when one of its positions jumps: fewer do in a smaller block.
        most = block or ((512 if self.low else 1024) if self.cpu else 8192)
        self.block = max(1, math.ceil(len(hidden) / max(1, math.ceil(len(hidden) / most))))  # all blocks alike
        size = self.block * self.tile
        self._scores = torch.empty(size, dtype=torch.float32, device=hidden.device)
        self._rounded = torch.empty(size if self.low else 0, dtype=self.dtype, device=hidden.device)

    def blocks(self) -> list[slice]:
        return list(_slices(len(self.hidden), self.block))

    def over_vocabulary(self) -> Iterator[tuple[slice, Tensor]]:
        for part in _slices(len(self.weight), self.tile):
            yield part, self.weight[part].to(self.dtype)

    def scores(self, block: slice, rows: Tensor, shift: Tensor) -> Tensor:
        """`hidden[block] · rows' − shift[block]`, (block, tile) float32, until the next call; `shift` was `kept`."""
        hidden, shift = self.hidden[block], shift[block]
        scores = self._scores[: len(hidden) * len(rows)].view(len(hidden), len(rows))
        if not self.low:
            return torch.mm(hidden, rows.T, out=scores).sub_(shift)
        return scores.copy_(self._low(scores).copy_(-shift).addmm_(hidden, rows.T))

    def kept(self, shift: Tensor) -> Tensor:
        """`shift`, in numbers that the products' type has too."""
        return shift.to(self.dtype).float()

    def add_product(self, into: Tensor, left: Tensor, right: Tensor) -> None:
        """`into += left · right` in float32; `left` is `scores` or its transpose."""
        if not self.low:
            into.addmm_(left, right)
            return
        into.add_(left.to(self.dtype) @ right)

    def _low(self, like: Tensor) -> Tensor:
        return self._rounded[: like.numel()].view(like.shape)


def _product_dtype(weight: Tensor) -> torch.dtype:
    """What the head's own `forward` would multiply in: autocast's type, or the weight's; never less than float16."""
    device = weight.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    return dtype if dtype in (torch.bfloat16, torch.float16) else torch.float32


def _slices(length: int, step: int) -> Iterator[slice]:
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _own_scores(tiles: _Tiles, node: Tensor, target: Tensor) -> Tensor:
    """(S,) score of each target, summed in float32 whatever the matrix is kept in."""
    own = torch.empty(len(node), dtype=torch.float32, device=node.device)
    for part in _slices(len(node), tiles.block):
        rows = tiles.weight[target[part]].to(tiles.dtype)
        own[part] = torch.linalg.vecdot(tiles.hidden[node[part]].float(), rows.float())
    return own


def _best_own(own: Tensor, node: Tensor, positions: int) -> Tensor:
    """(M, 1) the best score among each position's targets: a first reference that no sum can underflow against."""
    best = own.new_full((positions,), -math.inf).scatter_reduce_(0, node, own, "amax")
    return best.masked_fill_(best == -math.inf, 0.0)[:, None]


def _sweep(tiles: _Tiles, reference: Tensor, wants_mean: bool) -> tuple[Tensor, Tensor | None]:
    """Log of the sum of `exp(scores)`, (M, 1), and the mean row of the weight under the softmax, (M, H)."""
    total = torch.zeros_like(reference)
    mean = torch.zeros(tiles.hidden.shape, dtype=torch.float32, device=reference.device) if wants_mean else None
    for _, rows in tiles.over_vocabulary():
        for block in tiles.blocks():
            sums = (total[block],) if mean is None else (total[block], mean[block])
            scores = _raised(tiles, block, rows, reference, sums).mul_(_LOG2E).exp2_()
            sums[0].add_(scores.sum(1, keepdim=True))
            if mean is not None:
                tiles.add_product(mean[block], scores, rows)
    # A position without a target starts at 0, not at a score of its own: its sum may underflow, and 0 / 0 would reach
    # the gradient through its factor of 0. Where there is a target the sum is about 1 or more.
    total.clamp_(min=torch.finfo(total.dtype).tiny)
    if mean is not None:
        mean.div_(total)
    return reference + total.log(), mean


def _raised(tiles: _Tiles, block: slice, rows: Tensor, reference: Tensor, sums: tuple[Tensor, ...]) -> Tensor:
    """The scores above the reference; where they are far above it, it is raised first and `sums` shrink with it."""
    scores = tiles.scores(block, rows, reference)
    rise = scores.amax(1, keepdim=True)
    if tiles.cpu and bool(rise.amax() <= _JUMP):  # a GPU would have to wait for the answer
        return scores
    before = reference[block].clone()
    reference[block] = tiles.kept(before + rise.clamp_(min=0))
    rise = reference[block] - before
    fade = torch.exp(-rise)
    for part in sums:
        part.mul_(fade)
    if tiles.low and tiles.cpu:
        return tiles.scores(block, rows, reference)  # rounded anew, close to zero
    return scores.sub_(rise)


def _hidden_gradient(
    mean: Tensor, factor: Tensor, weight: Tensor, node: Tensor, target: Tensor, grad: Tensor, block: int
) -> Tensor:
    result = mean * -factor
    for part in _slices(len(node), block):
        result.index_add_(0, node[part], weight[target[part]].float() * grad[part, None])
    return result


def _weight_gradient(
    tiles: _Tiles, normaliser: Tensor, factor: Tensor, node: Tensor, target: Tensor, grad: Tensor
) -> Tensor:
    result = torch.empty_like(tiles.weight)
    shift = tiles.kept(normaliser)
    factor = -factor * torch.exp(shift - normaliser)
    order = target.argsort()
    node, target, grad = node[order], target[order], grad[order]
    edges = torch.arange(0, len(result) + tiles.tile, tiles.tile, device=target.device)
    bounds = torch.searchsorted(target, edges).tolist()
    for number, (part, rows) in enumerate(tiles.over_vocabulary()):
        piece = torch.zeros(rows.shape, dtype=torch.float32, device=rows.device)  # float32 sums for any weight
        for block in tiles.blocks():
            scores = tiles.scores(block, rows, shift).mul_(_LOG2E).exp2_().mul_(factor[block])
            tiles.add_product(piece, scores.T, tiles.hidden[block])
        pairs = slice(bounds[number], bounds[number + 1])
        piece.index_add_(0, target[pairs] - part.start, tiles.hidden[node[pairs]].float() * grad[pairs, None])
        result[part] = piece
    return result
