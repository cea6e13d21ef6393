"""Tree attention, registered with transformers as `xllms_trie`.

A model whose attention goes through transformers' `AttentionInterface` runs a trie when it is called with
`trie_branches=...` while this implementation is set. Positions come from `position_ids` (the depths).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from xllms.packing.branches import Branches

IMPLEMENTATION = "xllms_trie"


class UnsupportedAttention(RuntimeError):
    """This architecture's attention cannot run a trie; padded batches can."""


def trie_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    trie_branches: Branches | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of every node over its ancestors and itself.

    Args:
        module: the attention layer; unused.
        query: (1, Hq, N, D).
        key: (1, Hk, N, D), Hq a multiple of Hk.
        value: (1, Hk, N, Dv).
        attention_mask: unused, the plan knows.
        scaling: of the scores; 1/sqrt(D) if None.
        dropout: must be 0, since a shared prefix would have one mask for all who share it.
        sliding_window: a query sees keys less than this many positions away.
        trie_branches: the plan.
        kwargs: what else the architecture passes.

    Returns:
        (1, N, Hq, Dv), and None for the weights.

    Raises:
        UnsupportedAttention: soft-capped scores, attention sinks, dropout, or a call without a plan.
    """
    unsupported = [name for name in ("softcap", "s_aux", "sinks") if kwargs.get(name) is not None]
    if trie_branches is None or dropout or unsupported or query.shape[0] != 1:
        raise UnsupportedAttention(f"tree attention cannot do: {', '.join(unsupported) or 'dropout or plain batches'}")
    shared = query.shape[1] // key.shape[1]
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    outputs = []
    for group, mask in zip(trie_branches.groups, trie_branches.masks(sliding_window), strict=True):
        batch, length = group.queries.shape
        # The heads that share one key head are laid out as further queries: no copies of the keys.
        grouped = q[group.queries].view(batch, length, key.shape[1], shared, -1).permute(0, 2, 3, 1, 4)
        seen = mask[:, None].repeat(1, 1, shared, 1) if shared > 1 else mask[:, None]
        answer = F.scaled_dot_product_attention(
            grouped.reshape(batch, key.shape[1], shared * length, -1),
            k[group.keys].transpose(1, 2),
            v[group.keys].transpose(1, 2),
            attn_mask=seen,
            scale=scaling,
        )
        answer = answer.view(batch, key.shape[1], shared, length, -1).permute(0, 3, 1, 2, 4)
        outputs.append(answer.reshape(batch * length, query.shape[1], -1)[group.valid])
    return torch.cat(outputs)[trie_branches.restore][None], None


AttentionInterface.register(IMPLEMENTATION, trie_attention)


@contextmanager
def tree_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within this block `model` runs tries; before and after, what it ran before.

    Raises:
        UnsupportedAttention: the architecture has an attention of its own.
    """
    before = model.config._attn_implementation
    if not model._can_set_attn_implementation():
        raise UnsupportedAttention(f"{type(model).__name__} does not use transformers' attention interface")
    configs = {id(c): c for c in (m.config for m in model.modules() if isinstance(m, PreTrainedModel))}.values()
    try:
        for config in configs:
            config._attn_implementation = IMPLEMENTATION
        yield
    finally:
        for config in configs:
            config._attn_implementation = before
