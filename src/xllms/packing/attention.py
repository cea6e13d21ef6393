"""Tree attention in a transformers model: within `TreeAttention` its layers ask the plan of a trie.

Most architectures call transformers' `AttentionInterface`, where ours is registered as `xllms_trie`. BLOOM has an
attention of its own, and something stands in for it. Positions come from `position_ids` (the depths), or, for ALiBi,
from the plan.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.models.bloom.modeling_bloom import BloomAttention

from xllms.packing.bloom import bloom_attention
from xllms.packing.plan import Plan, Scoring, UnsupportedAttention

IMPLEMENTATION = "xllms_trie"
_CANNOT = ("s_aux", "sinks", "position_bias")

_running: ContextVar["TreeAttention | None"] = ContextVar("xllms_tree_attention", default=None)


class TreeAttention(AbstractContextManager[None]):
    """Within this block `model` runs the trie of `plan`; before and after, what it ran before. Enter it as often as
    needed: gradient checkpointing comes back to it.

    Raises:
        UnsupportedAttention: the architecture has an attention of its own.
    """

    def __init__(self, model: PreTrainedModel, plan: Plan) -> None:
        self.plan = plan
        self.own = [module for module in model.modules() if isinstance(module, BloomAttention)]
        if not self.own and not model._can_set_attn_implementation():
            raise UnsupportedAttention(f"{type(model).__name__} does not use transformers' attention interface")
        configs = (module.config for module in model.modules() if isinstance(module, PreTrainedModel))
        self.configs = list({id(config): config for config in configs}.values())
        self._entered: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        switched = self._switched()
        switched.__enter__()
        self._entered.append(switched)

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    @contextmanager
    def _switched(self) -> Iterator[None]:
        token = _running.set(self)
        before = [config._attn_implementation for config in self.configs]
        forwards = [vars(module).get("forward") for module in self.own]
        try:
            for config in self.configs:
                config._attn_implementation = IMPLEMENTATION
            for module in self.own:
                module.forward = partial(bloom_attention, module, self.plan)
            yield
        finally:
            for config, implementation in zip(self.configs, before, strict=True):
                config._attn_implementation = implementation
            for module, forward in zip(self.own, forwards, strict=True):
                del module.forward
                if forward is not None:
                    module.forward = forward
            _running.reset(token)


def trie_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers' attention interface calls: attention of every node over its ancestors and itself.

    Args:
        module: the attention layer; unused.
        query: (1, Hq, N, D).
        key: (1, Hk, N, D), Hq a multiple of Hk.
        value: (1, Hk, N, Dv).
        attention_mask: unused, the plan knows.
        scaling: of the scores; 1/sqrt(D) if None.
        dropout: must be 0, since a shared prefix would have one mask for all who share it.
        sliding_window: a query sees keys less than this many positions away.
        softcap: bound of the scores (Gemma 2).
        kwargs: what else the architecture passes.

    Returns:
        (1, N, Hq, Dv), and None for the weights.

    Raises:
        UnsupportedAttention: attention sinks, a position bias, dropout, or a call outside `TreeAttention`.
    """
    running = _running.get()
    cannot = [name for name in _CANNOT if kwargs.get(name) is not None]
    if running is None or dropout or cannot or query.shape[0] != 1:
        raise UnsupportedAttention(f"tree attention cannot do: {', '.join(cannot) or 'dropout or plain batches'}")
    scoring = Scoring(scaling, sliding_window, softcap)
    return running.plan.attend(query, key, value, scoring), None


AttentionInterface.register(IMPLEMENTATION, trie_attention)


def enable_gradient_checkpointing(model: PreTrainedModel) -> None:
    """Keep only the input of each layer and compute the layer again in the backward pass, tries included.

    Use this and not the model's own method or `TrainingArguments.gradient_checkpointing`: those compute a layer again
    after `TreeAttention` was left, with plain causal attention, and the gradient would be wrong.

    Args:
        model: of transformers (peft's and DDP's wrappers taken off: `logprobs.base_model`); it saves in training mode.

    Raises:
        ValueError: the architecture has no gradient checkpointing.
    """
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False, "context_fn": _and_again})


def _and_again() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """The contexts of a layer's run and of its second run: the trie that runs now runs again."""
    return nullcontext(), _running.get() or nullcontext()
