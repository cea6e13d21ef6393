"""Answers in progress: prompts read into a cache of keys and values with room for what will be written.

Prompts are read as tries, some at a time: reading takes several times the memory of what it leaves behind. An answer
that ends gives its place to the last one, so one row is copied for each, not all that go on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from xllms.packing.logprobs import run_trie
from xllms.packing.trie import TokenSequence, Trie

Ids = tuple[int, ...]


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer, (B, heads, columns, D) each, where no step copies what is there.

    Args:
        keys: storage; its first `used` columns hold the prompts.
        values: likewise.
    """

    def __init__(self, keys: Tensor, values: Tensor, used: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.used, self._rows = used, len(keys)
        self._keys, self._values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Put one step's keys and values behind the others; all of them."""
        end = self.used + key_states.shape[2]
        self._keys[: self._rows, :, self.used : end] = key_states
        self._values[: self._rows, :, self.used : end] = value_states
        self.used = end
        return self._keys[: self._rows, :, :end], self._values[: self._rows, :, :end]

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self.used

    def batch_select_indices(self, indices: Tensor) -> None:
        """Row i becomes what row `indices[i]` was; rows that stay are not touched."""
        self._rows = len(indices)
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero().flatten()
        if len(moved):
            for held in (self._keys, self._values):
                held[moved, :, : self.used] = held[indices[moved], :, : self.used]


@dataclass
class State:
    """B answers in progress.

    Attributes:
        hidden: (B, H) final hidden state of each one's last token.
        cache: their keys and values.
        mask: (B or more, columns) 0 in front of a prompt, 1 from there to the end of the room.
        used: columns that hold tokens.
        position: (B,) of the next token.
    """

    hidden: Tensor
    cache: Any
    mask: Tensor
    used: int
    position: Tensor

    def keep(self, rows: Tensor) -> None:
        """Row i becomes what row `rows[i]` was; all others go."""
        rows = rows.to(self.mask.device)
        self.mask, self.position = self.mask[rows], self.position[rows]
        for layer in self.cache.layers:
            layer.batch_select_indices(rows)

    def advance(self, model: Any, token: Tensor) -> None:
        """Run one (B,) token of each answer."""
        self.used += 1
        decoder = getattr(model, model.base_model_prefix)
        kwargs = {} if model.config.model_type == "bloom" else {"position_ids": self.position[:, None]}
        output = decoder(
            input_ids=token[:, None],
            attention_mask=self.mask[:, : self.used],
            past_key_values=self.cache,
            use_cache=True,
            **kwargs,
        )
        self.hidden = output.last_hidden_state[:, -1]
        self.position = self.position + 1


def places(ended: Tensor) -> Tensor:
    """(B,) whether each answer has ended -> the rows that go on: the last ones in the places of those that ended."""
    going = (~ended).nonzero().flatten()
    rows = torch.arange(len(going))
    free = ended[: len(going)].nonzero().flatten()
    if len(free):
        rows[free] = going[-len(free) :]
    return rows


def read_tries(model: Any, prompts: Sequence[Ids], room: int, parts: Iterable[range]) -> State:
    """Read prompts, every shared prefix of a part once.

    Args:
        model: causal LM whose decoder runs tries.
        prompts: of one batch.
        room: tokens that each answer may have.
        parts: which of them are read at a time, in order.
    """
    longest = max(map(len, prompts))
    layers: list[tuple[Tensor, Tensor]] = []
    hidden = []
    for part in parts:
        trie = Trie.build([TokenSequence(prompts[row]) for row in part])
        read = DynamicCache()
        output = run_trie(model, trie, past_key_values=read, use_cache=True).last_hidden_state[0]
        hidden.append(output[torch.stack([path[-1] for path in trie.paths]).to(output.device)])
        layers = layers or [
            (_storage(layer.keys, len(prompts), longest + room), _storage(layer.values, len(prompts), longest + room))
            for layer in read.layers
        ]
        for layer, storage in zip(read.layers, layers, strict=True):
            for source, target in zip((layer.keys, layer.values), storage, strict=True):
                for row, path in zip(part, trie.paths, strict=True):
                    # Left-padded: all prompts of the batch end in the same column.
                    target[row, :, longest - len(path) : longest] = source[0][:, path.to(source.device)]
            layer.keys = layer.values = None  # the pages are needed for the next layer
    cache = DynamicCache()
    cache.layers.extend(RoomyLayer(keys, values, longest) for keys, values in layers)
    mask = _mask(prompts, longest, room, model.device)
    return State(torch.cat(hidden), cache, mask, longest, mask[:, :longest].sum(1))


def read_padded(model: Any, prompts: Sequence[Ids], room: int, parts: Iterable[range]) -> State:
    """As `read_tries`, for architectures that cannot run them: all rows at once, padded to the longest."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = _mask(prompts, longest, room, model.device)
    here = mask[:, :longest]
    kwargs = {} if model.config.model_type == "bloom" else {"position_ids": (here.cumsum(1) - 1).clamp(min=0)}
    decoder = getattr(model, model.base_model_prefix)
    output = decoder(input_ids=ids, attention_mask=here, use_cache=True, **kwargs)
    return State(output.last_hidden_state[:, -1], output.past_key_values, mask, longest, here.sum(1))


def _storage(like: Tensor, rows: int, columns: int) -> Tensor:
    # Zeros: what stands in front of a prompt is masked, but must be finite. They take no memory until written to.
    return like.new_zeros(rows, like.shape[1], columns, like.shape[3])


def _mask(prompts: Sequence[Ids], longest: int, room: int, device: torch.device) -> Tensor:
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return (torch.arange(longest + room) >= longest - lengths[:, None]).long().to(device)
