"""Text from a model in this process: the prompts are read as one trie, then all answers are written side by side.

Every prefix that prompts share (a preamble, a question asked in many languages, a prompt sampled several times) is read
once; its keys and values are then dealt out to the answers. Answers that have ended leave the batch. Against
transformers' `generate` in data order, eight at a time: `benchmarks/generating.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xllms.engines.local_batches import Costs, batches, device_bytes, reading_parts
from xllms.engines.local_state import Ids, places, read_padded, read_tries
from xllms.engines.protocol import EngineError, Sampling, Usage, Written, before_stop
from xllms.models import Loaded
from xllms.packing.logprobs import base_model, logit_bend

_TILE = 512  # argmax over a vocabulary of 262,144 takes a fifth of the time by the largest of each tile (one core)


@dataclass(frozen=True)
class _Completion:
    ids: Ids
    ended: bool


class LocalEngine:
    """Writes answers with a loaded model.

    Args:
        loaded: model, template and batching.
        batch_size: answers written side by side at most.
        memory: bytes for their keys and values; None: what suits the device (`local_batches.device_bytes`).
    """

    def __init__(
        self, loaded: Loaded, batch_size: int = 128, name: str = "transformers", memory: int | None = None
    ) -> None:
        self.loaded = loaded
        self.batch_size = batch_size
        self.name = name
        self.memory = memory
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
        """Like `answer`, and tells of each whether it came to its end; a `schema` is not enforced.

        A prompt that fills the model's context has `error` set. An answer that comes to the context's end is cut off.

        Raises:
            EngineError: the model computes no numbers (NaN); no answer of the call is given then.
        """
        template = self.loaded.template
        ids = [template.prompt_ids(instruction, given) for instruction, given in prompts]
        config = base_model(self.loaded.model).config.get_text_config()
        context = getattr(config, "max_position_embeddings", None)  # ALiBi has none
        refused = f"{self.name}: refused: a prompt of {{}} tokens in a context of {context}"
        answers = [Written("", False, refused.format(len(prompt))) for prompt in ids]
        fitting = [i for i, prompt in enumerate(ids) if context is None or len(prompt) < context]
        costs = Costs.of(self.loaded.model)
        memory = device_bytes(self.loaded.model, costs) if self.memory is None else self.memory
        draw = torch.Generator().manual_seed(sampling.seed)
        for batch in batches([ids[i] for i in fitting], max_new_tokens, self.batch_size, costs, memory):
            part = [fitting[number] for number in batch]
            rows = [ids[i] for i in part]
            limits = [min(max_new_tokens, context - len(row)) if context else max_new_tokens for row in rows]
            completions = self._complete(rows, limits, sampling, draw, list(reading_parts(rows, costs, memory)))
            for index, completion in zip(part, completions, strict=True):
                answers[index] = Written(self._text(completion.ids, sampling), completion.ended)
                self.usage.output_tokens += len(completion.ids)
        self.usage.requests += len(ids)
        self.usage.input_tokens += sum(len(ids[i]) for i in fitting)
        return answers

    def _text(self, ids: Ids, sampling: Sampling) -> str:
        template = self.loaded.template
        if sampling.stop:  # before space is stripped: a stop may be nothing but line breaks
            text = before_stop(template.tokenizer.decode(list(ids), skip_special_tokens=True), sampling.stop).strip()
        else:
            text = template.decode(ids)
        if sampling.one_line:
            return next((line.strip() for line in text.splitlines() if line.strip()), "")
        return text

    @torch.inference_mode()
    def _complete(
        self, prompts: list[Ids], limits: list[int], sampling: Sampling, draw: torch.Generator, parts: list[range]
    ) -> list[_Completion]:
        model = base_model(self.loaded.model)
        limit, room = torch.tensor(limits), max(limits)
        state = (read_tries if self.loaded.batching == "trie" else read_padded)(model, prompts, room, parts)
        stop = torch.tensor(sorted(self.loaded.template.stop_ids))
        written = torch.empty(len(prompts), room, dtype=torch.long)
        length = limit.clone()
        whole = torch.zeros(len(prompts), dtype=torch.bool)
        live = torch.arange(len(prompts))
        for step in range(room):
            token = self._next(_logits(model, state.hidden), sampling, draw)
            written[live, step] = token.cpu()
            ended = torch.isin(written[live, step], stop)
            length[live[ended]] = step
            broken = self._text_ends(written[live, : step + 1], sampling) & ~ended
            length[live[broken]] = step + 1  # a token may hold the last letters before the break
            ended |= broken
            whole[live[ended]] = True
            ended |= limit[live] == step + 1
            if bool(ended.all()):
                break
            if bool(ended.any()):
                rows = places(ended)
                live, token = live[rows], token[rows.to(token.device)]
                state.keep(rows)
            state.advance(model, token)
        return [
            _Completion(tuple(row[:end]), told)
            for row, end, told in zip(written.tolist(), length.tolist(), whole.tolist(), strict=True)
        ]

    def _next(self, logits: Tensor, sampling: Sampling, draw: torch.Generator) -> Tensor:
        """(B, vocabulary) -> (B,) next tokens; nucleus sampling (Holtzman et al. 2020) above temperature 0."""
        likeliest = _argmax(logits)
        if not bool(torch.isfinite(logits.gather(1, likeliest[:, None])).all()):
            kind = str(self.loaded.model.dtype).removeprefix("torch.")
            raise EngineError(
                f"{self.name}: the model's logits are not numbers (NaN or infinite, in {kind}): its weights are "
                "damaged or overflow; use `dtype: float32`, or train it again at a lower learning rate"
            )
        if sampling.temperature == 0:
            return likeliest
        chance, token = (logits / sampling.temperature).softmax(-1).topk(min(256, logits.shape[-1]), dim=-1)
        before = chance.cumsum(-1) - chance
        chance = chance.masked_fill(before >= sampling.top_p, 0.0)
        picked = torch.multinomial(chance.cpu(), 1, generator=draw).to(token.device)
        return token.gather(1, picked).squeeze(1)

    def _text_ends(self, written: Tensor, sampling: Sampling) -> Tensor:
        """(B, tokens so far) -> (B,) whether the last token breaks a line after something was said, or ends a stop."""
        ended = torch.zeros(len(written), dtype=torch.bool)
        if not sampling.one_line and not sampling.stop:
            return ended
        tokenizer = self.loaded.template.tokenizer
        if sampling.one_line:
            last = tokenizer.batch_decode(written[:, -1:])
            rows = zip(written.tolist(), last, strict=True)
            # A break in front of the first letters ends nothing, in their own token neither.
            ended |= torch.tensor(["\n" in text and "\n" in tokenizer.decode(row).lstrip() for row, text in rows])
        if sampling.stop:
            # A character is four bytes at most, and a token one byte at least.
            reach = 4 * max(map(len, sampling.stop)) + 4
            tails = tokenizer.batch_decode(written[:, -reach:], skip_special_tokens=True)
            ended |= torch.tensor([before_stop(tail, sampling.stop) != tail for tail in tails])
        return ended


def _logits(model: Any, hidden: Tensor) -> Tensor:
    logits = model.get_output_embeddings()(hidden).float()
    bend = logit_bend(model.config)
    return logits if bend is None else bend(logits)


def _argmax(logits: Tensor) -> Tensor:
    """(B, vocabulary) -> (B,) the first largest, or the first NaN."""
    rows, vocabulary = logits.shape
    if logits.device.type != "cpu" or vocabulary < 2 * _TILE:
        return logits.argmax(-1)
    even = vocabulary // _TILE * _TILE
    tiles = logits[:, :even].view(rows, -1, _TILE)
    tile = tiles.amax(-1).argmax(-1)
    inside = tiles[torch.arange(rows), tile].argmax(-1)
    found = tile * _TILE + inside
    if even == vocabulary:
        return found
    rest = even + logits[:, even:].argmax(-1)
    pair = torch.stack([found, rest], 1)
    return pair.gather(1, logits.gather(1, pair).argmax(-1, keepdim=True)).squeeze(1)
