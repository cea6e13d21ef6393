"""Text from a model in this process: the prompts are read as one trie, then all answers are written side by side.

Every prefix that prompts share (a preamble, a question asked in many languages, a prompt sampled several times) is read
once; its keys and values are then dealt out to the answers. Answers that have ended leave the batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from xllms.engines.protocol import Sampling, Usage, Written
from xllms.models import Loaded
from xllms.packing.logprobs import base_model, logit_bend, run_trie
from xllms.packing.trie import TokenSequence, Trie

Ids = tuple[int, ...]


class LocalEngine:
    """Writes answers with a loaded model.

    Args:
        loaded: model, template and batching.
        batch_size: answers written side by side at most.
    """

    def __init__(self, loaded: Loaded, batch_size: int = 128, name: str = "transformers") -> None:
        self.loaded = loaded
        self.batch_size = batch_size
        self.name = name
        self.usage = Usage()

    def answer(
        self, prompts: Sequence[tuple[str, str]], max_new_tokens: int, sampling: Sampling = Sampling()
    ) -> list[str]:
        """One answer per (instruction, input), in order; the same call gives the same answers."""
        return [written.text for written in self.write(prompts, max_new_tokens, sampling)]

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        """Like `answer`, and tells of each whether it came to its end; a `schema` is not enforced."""
        template = self.loaded.template
        ids = [template.prompt_ids(instruction, given) for instruction, given in prompts]
        # Alike prompts together: they share prefixes, and end at like lengths.
        order = sorted(range(len(ids)), key=ids.__getitem__)
        answers = [Written("", True)] * len(ids)
        draw = torch.Generator().manual_seed(sampling.seed)
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            completions = self._complete([ids[i] for i in part], max_new_tokens, sampling, draw)
            for index, (completion, ended) in zip(part, completions, strict=True):
                text = template.decode(completion)
                if sampling.one_line:
                    text = next((line.strip() for line in text.splitlines() if line.strip()), "")
                answers[index] = Written(text, ended)
                self.usage.output_tokens += len(completion)
        self.usage.requests += len(ids)
        self.usage.input_tokens += sum(map(len, ids))
        return answers

    @torch.inference_mode()
    def _complete(
        self, prompts: list[Ids], limit: int, sampling: Sampling, draw: torch.Generator
    ) -> list[tuple[Ids, bool]]:
        model = base_model(self.loaded.model)
        read = _read_trie if self.loaded.batching == "trie" else _read_padded
        state = read(model, prompts, limit)
        stop = torch.tensor(sorted(self.loaded.template.stop_ids), device=model.device)
        written = torch.empty(len(prompts), limit, dtype=torch.long, device=model.device)
        length = torch.full((len(prompts),), limit)
        ended = torch.zeros(len(prompts), dtype=torch.bool)
        live = torch.arange(len(prompts))
        for step in range(limit):
            token = _draw(_logits(model, state.hidden), sampling, draw)
            written[live.to(model.device), step] = token
            ending = torch.isin(token, stop).cpu()
            length[live[ending]] = step
            if sampling.one_line:
                broken = self._line_ends(written[live.to(model.device), : step + 1]) & ~ending
                length[live[broken]] = step + 1  # a token may hold the last letters before the break
                ending |= broken
            ended[live[ending]] = True
            if bool(ending.all()):
                break
            if step + 1 < limit:
                if bool(ending.any()):
                    live, token = live[~ending], token[~ending.to(token.device)]
                    state.keep((~ending).nonzero().flatten())
                state.advance(model, token)
        rows = written.tolist()
        return [(tuple(rows[i][: int(length[i])]), bool(ended[i])) for i in range(len(prompts))]

    def _line_ends(self, written: Tensor) -> Tensor:
        """(B, tokens so far) -> (B,) whether the last token breaks a line after something was said."""
        tokenizer = self.loaded.template.tokenizer
        breaks = [
            "\n" in last and bool(tokenizer.decode(row).strip())
            for row, last in zip(written.tolist(), tokenizer.batch_decode(written[:, -1:]), strict=True)
        ]
        return torch.tensor(breaks)


def _logits(model: Any, hidden: Tensor) -> Tensor:
    logits = model.get_output_embeddings()(hidden).float()
    bend = logit_bend(model.config)
    return logits if bend is None else bend(logits)


def _draw(logits: Tensor, sampling: Sampling, draw: torch.Generator) -> Tensor:
    """(B, vocabulary) -> (B,) next tokens; nucleus sampling (Holtzman et al. 2020) above temperature 0."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    chance, token = (logits / sampling.temperature).softmax(-1).topk(min(256, logits.shape[-1]), dim=-1)
    before = chance.cumsum(-1) - chance
    chance = chance.masked_fill(before >= sampling.top_p, 0.0)
    picked = torch.multinomial(chance.cpu(), 1, generator=draw).to(token.device)
    return token.gather(1, picked).squeeze(1)


class _RoomyLayer(DynamicLayer):
    """Keys and values of one layer with room for the answer, so that no step copies what is there."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.used = keys.shape[2]
        self._keys, self._values = (
            torch.cat([t, t.new_empty(*t.shape[:2], room, t.shape[3])], dim=2) for t in (keys, values)
        )

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        end = self.used + key_states.shape[2]
        self._keys[:, :, self.used : end] = key_states
        self._values[:, :, self.used : end] = value_states
        self.used = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.used

    def keep(self, rows: Tensor) -> None:
        rows = rows.to(self._keys.device)
        self._keys, self._values = self._keys[rows], self._values[rows]


@dataclass
class _State:
    """B answers in progress: final hidden state (B, H), cache, (B, length) mask and (B,) next positions."""

    hidden: Tensor
    cache: Any
    mask: Tensor
    position: Tensor

    def keep(self, rows: Tensor) -> None:
        on_device = rows.to(self.mask.device)
        self.mask, self.position = self.mask[on_device], self.position[on_device]
        for layer in self.cache.layers:
            if isinstance(layer, _RoomyLayer):
                layer.keep(rows)
            else:
                layer.batch_select_indices(on_device)

    def advance(self, model: Any, token: Tensor) -> None:
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(token), 1)], dim=1)
        decoder = getattr(model, model.base_model_prefix)
        kwargs = {} if model.config.model_type == "bloom" else {"position_ids": self.position[:, None]}
        output = decoder(
            input_ids=token[:, None],
            attention_mask=self.mask,
            past_key_values=self.cache,
            use_cache=True,
            **kwargs,
        )
        self.hidden = output.last_hidden_state[:, -1]
        self.position = self.position + 1


def _read_trie(model: Any, prompts: list[Ids], room: int) -> _State:
    trie = Trie.build([TokenSequence(prompt) for prompt in prompts])
    read = DynamicCache()
    hidden = run_trie(model, trie, past_key_values=read, use_cache=True).last_hidden_state[0]
    # Left-padded: every answer's prompt ends in the same column.
    longest = max(len(path) for path in trie.paths)
    nodes = torch.full((len(prompts), longest), -1)
    for row, path in enumerate(trie.paths):
        nodes[row, longest - len(path) :] = path
    nodes = nodes.to(model.device)
    mask = (nodes >= 0).long()
    at = nodes.clamp(min=0)
    cache = DynamicCache()
    for layer in read.layers:
        keys, values = (t[0][:, at].transpose(0, 1) for t in (layer.keys, layer.values))
        cache.layers.append(_RoomyLayer(keys, values, room))
    return _State(hidden[nodes[:, -1]], cache, mask, mask.sum(1))


def _read_padded(model: Any, prompts: list[Ids], room: int) -> _State:
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    mask = mask.to(model.device)
    position = (mask.cumsum(1) - 1).clamp(min=0)
    kwargs = {} if model.config.model_type == "bloom" else {"position_ids": position}
    decoder = getattr(model, model.base_model_prefix)
    output = decoder(input_ids=ids.to(model.device), attention_mask=mask, use_cache=True, **kwargs)
    return _State(output.last_hidden_state[:, -1], output.past_key_values, mask, mask.sum(1))
