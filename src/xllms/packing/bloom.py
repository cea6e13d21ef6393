"""BLOOM on a trie: what stands in for its attention layer, with ALiBi counted by depth.

BLOOM's own layer takes a key's position from a running count over the attention mask (on a trie: its index among all
nodes), and makes N x N scores.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers.models.bloom.modeling_bloom import BloomAttention, build_alibi_tensor, dropout_add

from xllms.packing.plan import Plan, Scoring, UnsupportedAttention


def bloom_attention(
    layer: BloomAttention,
    plan: Plan,
    hidden_states: Tensor,
    residual: Tensor,
    *,
    layer_past: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """`BloomAttention.forward` on the nodes of a trie; adapters sit in its linear layers and are run.

    Args:
        layer: whose weights they are.
        plan: of the trie.
        hidden_states: (1, N, H).
        residual: (1, N, H), added to the result.
        layer_past: takes the keys and values, if given.
        kwargs: its mask and its ALiBi tensor; unused, the plan knows.

    Returns:
        (1, N, H), and None for the weights.

    Raises:
        UnsupportedAttention: attention dropout.
    """
    if layer.training and layer.attention_dropout.p:
        raise UnsupportedAttention("tree attention cannot do: dropout")
    query, key, value = layer._reshape(layer.query_key_value(hidden_states))
    if layer_past is not None:
        key, value = layer_past.update(key, value, layer.layer_idx)
    scoring = Scoring(scaling=layer.inv_norm_factor, slopes=_slopes(layer.num_heads))
    answer = plan.attend(query, key, value, scoring).flatten(2)
    return dropout_add(layer.dense(answer), residual, layer.hidden_dropout, layer.training), None


@cache
def _slopes(heads: int) -> tuple[float, ...]:
    """Of each head; BLOOM's own bias is slope times position, and softmax takes no notice of a shift."""
    with torch.inference_mode(False):
        return tuple(build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)[:, 0, 1].tolist())
