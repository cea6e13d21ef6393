"""Attention over a trie on a GPU: FlexAttention with the trie's rule as its mask (Dong et al. 2024, arXiv 2412.05496).

Node i sees node j when `j <= i < end[j]`, and in a sliding window when `depth[i] - depth[j] < window`. Which blocks of
128 x 128 pairs are seen is read off each block's largest and smallest `end` and `depth`, without the N x N mask that
`create_block_mask` would make. N is padded to a few sizes, since a kernel is compiled for each; a padding node sees
itself alone, and costs next to nothing.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from xllms.packing.branches import Branches
from xllms.packing.plan import Scoring

_BLOCK = 128
_KERNELS = 64  # shapes and ways of scoring in one process; dynamo's own limit is 8
_tried: dict[tuple[Any, ...], bool] = {}


class FlexPlan:
    """The attention plan of a trie by FlexAttention, or by its branches where that does not compile.

    Args:
        depth: (N,) position of each node.
        end: (N,) first node after each node's subtree.
        branches: the plan to fall back to.
        device: where it is to run.
    """

    def __init__(self, depth: Tensor, end: Tensor, branches: Branches, device: torch.device) -> None:
        self.branches = branches
        self.longest = int(depth.max()) + 1
        self.padding = bucket(len(depth)) - len(depth)
        alone = torch.arange(len(end), len(end) + self.padding) + 1
        with torch.inference_mode(False):  # a mask is saved for the backward pass
            self.depth = F.pad(depth, (0, self.padding)).to(device)
            self.end = torch.cat([end, alone]).to(device)
        self._masks: dict[int | None, BlockMask] = {}

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """As `Plan.attend`."""
        if query.is_cuda and not self._compiles(query, key, value, scoring):
            return self.branches.attend(query, key, value, scoring)
        return self._attend(query, key, value, scoring)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        padded = [F.pad(tensor, (0, 0, 0, self.padding)) for tensor in (query, key, value)]
        answer: Tensor = _kernel(query.device.type)(
            *padded,
            score_mod=_score_mod(scoring, query.shape[1], self.depth),
            block_mask=self.block_mask(scoring.window),
            scale=scoring.scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return answer[:, :, : query.shape[2]].transpose(1, 2)

    def block_mask(self, window: int | None) -> BlockMask:
        """The trie's rule; made once for each window, since all layers share it."""
        if window is not None and window >= self.longest:
            window = None
        if window not in self._masks:
            with torch.inference_mode(False):
                self._masks[window] = _block_mask(self.depth, self.end, window)
        return self._masks[window]

    def _compiles(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> bool:
        """Whether the kernels for these shapes compile, the backward one included; tried once and remembered."""
        needs_grad = torch.is_grad_enabled() and query.requires_grad
        heads = [(tensor.shape[1], tensor.shape[3], tensor.dtype) for tensor in (query, key, value)]
        wanted = (len(self.depth), *heads, scoring, needs_grad, query.device)
        if wanted not in _tried:
            _tried[wanted] = all(_tried.values()) and self._try([query, key, value], scoring, needs_grad)
        return _tried[wanted]

    def _try(self, like: list[Tensor], scoring: Scoring, needs_grad: bool) -> bool:
        # Hooks of its own, so that gradient checkpointing around this layer does not see what is saved here.
        shield = saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
        try:
            with torch.inference_mode(False), torch.set_grad_enabled(needs_grad), shield:
                zeros = [torch.zeros_like(tensor, requires_grad=needs_grad) for tensor in like]
                answer = self._attend(zeros[0], zeros[1], zeros[2], scoring)
                if needs_grad:
                    torch.autograd.backward(answer.sum())
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # dynamo, inductor and triton each raise their own
            print(
                "attention: FlexAttention does not compile here, so tries run through grouped attention: slower, with "
                f"copies of the keys in memory ({type(error).__name__}: {str(error).strip().splitlines()[0]})",
                file=sys.stderr,
            )
            return False
        return True


def bucket(nodes: int) -> int:
    """The next of 128, 256, 384, 512, 768, 1024, 1536, ...: two sizes for each power of two."""
    power = max(_BLOCK, 1 << (nodes - 1).bit_length())
    smaller = power * 3 // 4
    return smaller if nodes <= smaller and smaller % _BLOCK == 0 else power


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """FlexAttention compiled; on a CPU as it is, which makes N x N scores and is for tests."""
    if device == "cpu":
        return flex_attention
    import torch._dynamo.config as dynamo

    compiled = torch.compile(flex_attention, dynamic=False, fullgraph=True)

    def run(*args: Any, **kwargs: Any) -> Any:
        # Past the limit it would run uncompiled, with N x N scores in memory: better an error, and the branches.
        with dynamo.patch(recompile_limit=_KERNELS, fail_on_recompile_limit_hit=True):
            return compiled(*args, **kwargs)

    return run


def _score_mod(scoring: Scoring, heads: int, depth: Tensor) -> Callable[..., Tensor] | None:
    """Constants stand in tensors, one entry a head: dynamo stumbles over captured floats."""
    if scoring.softcap is not None:
        cap = torch.full((heads,), scoring.softcap, device=depth.device)
        return lambda score, batch, head, i, j: torch.tanh(score / cap[head]) * cap[head]
    if scoring.slopes is not None:
        tilt = torch.tensor(scoring.slopes, device=depth.device)
        return lambda score, batch, head, i, j: score - tilt[head] * (depth[i] - depth[j])
    return None


def _block_mask(depth: Tensor, end: Tensor, window: int | None) -> BlockMask:
    def sees(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        ancestor = (j <= i) & (i < end[j])
        return ancestor if window is None else ancestor & (depth[i] - depth[j] < window)

    first = torch.arange(0, len(end), _BLOCK, device=end.device)
    queries, before = first[:, None], first[:, None] > first[None, :]
    ends, depths = end.view(-1, _BLOCK), depth.view(-1, _BLOCK)
    some = (before & (ends.amax(1) > queries)) | (queries == first)
    every = before & (ends.amin(1) >= queries + _BLOCK)
    if window is not None:
        some &= depths.amin(1)[:, None] - depths.amax(1) < window
        every &= depths.amax(1)[:, None] - depths.amin(1) < window
    return BlockMask.from_kv_blocks(*_listed(some & ~every), *_listed(every), _BLOCK, sees)


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(Q, K) of booleans -> (1, 1, Q) how many are true, (1, 1, Q, K) which, those first."""
    which = blocks.int().argsort(dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], which.int()[None, None]
