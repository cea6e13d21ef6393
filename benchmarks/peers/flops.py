"""Arithmetic that a training step needs at least, counted from the model's shape and the examples."""

from typing import Any

import torch

from xllms.packing.trie import TokenSequence, Trie


def flops(config: Any, sequences: list[TokenSequence], rank: int, *, reference: bool) -> float:
    """FLOPs of one step with LoRA on all linear layers and nothing else trained, every shared prefix run once.

    A multiplication by a frozen weight costs one GEMM forward and one backward (for its input), a LoRA factor two
    backward. Attention is two GEMMs forward and four backward over the keys that a token really sees. A frozen head is
    two GEMMs over the scored positions, loss and gradient together. Nothing that is merely recomputed is counted.

    Args:
        config: transformers' configuration of a Llama-like model (gate, up and down projections).
        sequences: all of the step.
        rank: of the adapter.
        reference: whether the reference's log-probabilities are computed too: one forward pass.
    """
    trie = Trie.build(sequences)
    nodes, scored = len(trie), len(torch.unique(trie.node))
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_size = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    queries, keys = config.num_attention_heads * head_size, config.num_key_value_heads * head_size
    into_attention = [(hidden, queries), (hidden, keys), (hidden, keys)]
    shapes = [*into_attention, (queries, hidden), (hidden, inner), (hidden, inner), (inner, hidden)]
    weights = sum(a * b for a, b in shapes)
    adapter = rank * sum(a + b for a, b in shapes)
    seen = (trie.depth + 1).double()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * layers
    attended = sum(
        float((seen.clamp(max=window) if window and kind == "sliding_attention" else seen).sum()) for kind in kinds
    )
    head = 2 * config.vocab_size * hidden * scored
    forward = 2 * nodes * layers * weights + 4 * queries * attended + head
    backward = 2 * nodes * layers * weights + 8 * queries * attended + head
    # The first layer's q, k and v feed on a frozen embedding: no gradient goes further.
    backward -= 2 * nodes * sum(a * b for a, b in into_attention)
    lora = 3 * 2 * nodes * layers * adapter
    once_more = forward + 2 * nodes * layers * adapter if reference else 0
    return forward + backward + lora + once_more
