"""NLLB-200 and MADLAD-400: encoder-decoders trained to translate, by CTranslate2 or by transformers.

Both read sentences, so a text is split, each distinct sentence translated once, and the text put together again.
NLLB is told the source by a token in front of the input and the target by the first token of the output; MADLAD the
target alone, by `<2xx>` in front of the input.
"""

import os
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from xllms.engines.protocol import EngineError, Usage
from xllms.engines.sentences import join_sentences, split_sentences
from xllms.errors import InputError
from xllms.languages import Language
from xllms.manifest import disk_error, fingerprint
from xllms.processes import say
from xllms.recipe.engines import SequenceModelSettings

# MADLAD's names where they are not the registry's tag (appendix of Kudugunta et al. 2023).
_MADLAD = {"zho_Hans": "zh", "nob_Latn": "no", "twi_Latn": "ak"}


class _Backend(Protocol):
    def generate(self, sources: list[list[int]], first: int | None) -> list[list[int] | None]:
        """Output ids of each input's, without specials; None where the limit of tokens cut it off."""
        ...


class SequenceModelTranslator:
    """Translates with a checkpoint of NLLB or MADLAD; it is loaded at the first text.

    Args:
        settings: which, and how it is run.

    Attributes:
        name: kind and checkpoint.
        usage: texts translated, tokens read and written.
    """

    def __init__(self, settings: SequenceModelSettings) -> None:
        self.settings = settings
        self.name = f"{settings.type}:{settings.name}"
        self.usage = Usage()

    def supports(self, source: Language, target: Language) -> bool:
        """Whether the tokenizer has both languages' tokens.

        Raises:
            InputError: there is no such checkpoint.
        """
        return source != target and self._token(source) is not None and self._token(target) is not None

    def translate(self, texts: Sequence[str], source: Language, target: Language) -> list[str]:
        """Each text in `target`, in order; line breaks are kept.

        A text of which a sentence was not ended within `max_new_tokens` becomes empty: half a translation is none.

        Raises:
            EngineError: the model does not have the pair, or its library is not installed.
            InputError: there is no such checkpoint.
        """
        if not self.supports(source, target):
            raise EngineError(f"{self.name}: does not translate from {source.name} to {target.name}; use another")
        split = [split_sentences(text, source) for text in texts]
        said = [sentence for parts in split for sentence, _ in parts if _has_words(sentence)]
        found = self._sentences(list(dict.fromkeys(said)), source, target)
        self.usage.requests += len(texts)
        return [_joined(parts, found, target) for parts in split]

    def _sentences(self, sentences: list[str], source: Language, target: Language) -> dict[str, str]:
        if not sentences:
            return {}
        ids, first = self._read(sentences, source, target)
        outputs = self._backend.generate(ids, first)
        self.usage.input_tokens += sum(map(len, ids))
        self.usage.output_tokens += sum(len(output or ()) for output in outputs)
        return {
            sentence: "" if output is None else self._tokenizer.decode(output, skip_special_tokens=True).strip()
            for sentence, output in zip(sentences, outputs, strict=True)
        }

    def _read(self, sentences: list[str], source: Language, target: Language) -> tuple[list[list[int]], int | None]:
        """Input ids of each sentence, and the token that the output has to begin with."""
        token = self._token(target)
        if self.settings.type == "madlad":
            return list(self._tokenizer([f"{token} {sentence}" for sentence in sentences])["input_ids"]), None
        self._tokenizer.src_lang = self._token(source)
        return list(self._tokenizer(sentences)["input_ids"]), int(self._tokenizer.convert_tokens_to_ids(token))

    def _token(self, language: Language) -> str | None:
        """The tokenizer's token for a language, if it has one."""
        if self.settings.type == "madlad":
            token = f"<2{_MADLAD.get(language.code) or language.bcp47.replace('-', '_')}>"
        else:
            token = language.nllb
        return token if token in self._vocabulary else None

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return dict(self._tokenizer.get_vocab())

    @cached_property
    def _tokenizer(self) -> Any:
        from xllms.models.loading import load_tokenizer
        from xllms.recipe import ModelSettings

        return load_tokenizer(ModelSettings(name=self.settings.name))

    @cached_property
    def _backend(self) -> _Backend:
        if self.settings.backend == "ctranslate2":
            return _CTranslate2(self.settings, self._tokenizer)
        return _Transformers(self.settings, self._tokenizer)


class _CTranslate2:
    """A checkpoint converted for CTranslate2."""

    def __init__(self, settings: SequenceModelSettings, tokenizer: Any) -> None:
        try:
            import ctranslate2
        except ImportError:
            raise EngineError(
                f"{settings.type}: CTranslate2 is absent; run `pip install ctranslate2`, or set backend: transformers"
            ) from None
        self.settings = settings
        self.tokenizer = tokenizer
        folder = converted(settings)
        try:
            self.model = ctranslate2.Translator(str(folder), device=settings.device, compute_type=settings.compute_type)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{settings.type} {settings.name}: CTranslate2 cannot run it: {_line(error)}") from None

    def generate(self, sources: list[list[int]], first: int | None) -> list[list[int] | None]:
        tokenizer, settings = self.tokenizer, self.settings
        prefix = None if first is None else [[tokenizer.convert_ids_to_tokens(first)]] * len(sources)
        results = self.model.translate_batch(
            [tokenizer.convert_ids_to_tokens(ids) for ids in sources],
            prefix,
            max_batch_size=settings.batch_size,
            beam_size=settings.beam_size,
            max_input_length=0,  # it would cut a long sentence off without a word
            max_decoding_length=settings.max_new_tokens,
            return_end_token=True,
        )
        found = (tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in results)
        return [_ended(ids, tokenizer, first) for ids in found]


class _Transformers:
    """A checkpoint by transformers' `generate`."""

    def __init__(self, settings: SequenceModelSettings, tokenizer: Any) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        from xllms.models.loading import resolve

        cuda = torch.cuda.is_available()
        if settings.device == "cuda" and not cuda:
            raise InputError(f"{settings.type}: device: cuda: no CUDA device or no CUDA build of torch")
        device = "cuda" if cuda and settings.device != "cpu" else "cpu"
        dtype = torch.float16 if device == "cuda" else torch.float32
        try:
            self.model: Any = AutoModelForSeq2SeqLM.from_pretrained(resolve(settings.name), dtype=dtype)
        except (OSError, ValueError) as error:
            raise InputError(f"{settings.type} {settings.name}: cannot be loaded: {_line(error)}") from None
        self.model.to(device).eval()
        self.settings = settings
        self.tokenizer = tokenizer

    def generate(self, sources: list[list[int]], first: int | None) -> list[list[int] | None]:
        import torch

        outputs: list[list[int] | None] = [None] * len(sources)
        # Alike lengths together, so that little is padding.
        order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
        for start in range(0, len(order), self.settings.batch_size):
            part = order[start : start + self.settings.batch_size]
            batch = self.tokenizer.pad({"input_ids": [sources[i] for i in part]}, return_tensors="pt")
            with torch.inference_mode():
                rows = self.model.generate(
                    **batch.to(self.model.device),
                    forced_bos_token_id=first,
                    num_beams=self.settings.beam_size,
                    do_sample=False,
                    max_length=None,
                    max_new_tokens=self.settings.max_new_tokens,
                )
            for index, row in zip(part, rows.tolist(), strict=True):
                outputs[index] = _ended(row[1:], self.tokenizer, first)  # after the token that starts every output
        return outputs


def converted(settings: SequenceModelSettings) -> Path:
    """Folder of the checkpoint as CTranslate2 reads it; made at the first call.

    Raises:
        InputError: there is no such checkpoint, or CTranslate2 does not know its architecture.
        XllmsError: the disk is full.
    """
    import ctranslate2

    from xllms.models.loading import resolve
    from xllms.models.shipped import cache_folder

    source = resolve(settings.name)
    quantization = None if settings.compute_type in ("default", "auto") else settings.compute_type
    kept = {"source": _identity(source), "quantization": quantization, "ctranslate2": ctranslate2.__version__}
    target = cache_folder() / f"{settings.type}-ctranslate2-{fingerprint(kept)[:16]}"
    if (target / "model.bin").exists():
        return target
    say(f"{settings.type} {settings.name}: converting once into {target}")
    work = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        ctranslate2.converters.TransformersConverter(source).convert(str(work), quantization=quantization, force=True)
        work.rename(target)
    except OSError as error:
        if error.errno is None:  # transformers' word for a file of the checkpoint that is not there
            raise InputError(f"{settings.type} {settings.name}: cannot be loaded: {_line(error)}") from None
        if not (target / "model.bin").exists():  # else another process was faster
            raise disk_error(error, target) from None
    except (ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{settings.type} {settings.name}: CTranslate2 cannot convert it: {_line(error)}; use backend: transformers"
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _identity(source: str) -> object:
    """What changes when a checkpoint does: its files' sizes and times, or the hub's name."""
    folder = Path(source)
    if not folder.is_dir():
        return source
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [str(folder.resolve()), [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]]


def _ended(ids: Sequence[int], tokenizer: Any, first: int | None) -> list[int] | None:
    """The ids up to the end, without the token that was forced; None where no end was written."""
    end = tokenizer.eos_token_id
    if end not in ids:
        return None
    kept = list(ids[: ids.index(end)])
    return kept[1:] if first is not None and kept[:1] == [first] else kept


def _joined(parts: list[tuple[str, str]], found: dict[str, str], target: Language) -> str:
    if any(_has_words(sentence) and not found[sentence] for sentence, _ in parts):
        return ""
    return join_sentences([(found.get(sentence, sentence), after) for sentence, after in parts], target)


def _has_words(sentence: str) -> bool:
    """A line of dashes or numbers is left as it is: the models make words of it."""
    return any(character.isalpha() for character in sentence)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
