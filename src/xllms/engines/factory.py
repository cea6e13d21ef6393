"""From a recipe's settings to engines and translators, each made when it is first needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from xllms.engines.cache import AnswerCache
from xllms.engines.protocol import Engine, Sampling, Translator, Usage, Written
from xllms.errors import InputError
from xllms.manifest import fingerprint, output_fingerprint, sha256_file
from xllms.recipe import (
    ApertiumSettings,
    ChatTranslatorSettings,
    EngineSettings,
    GoogleSettings,
    OpenAISettings,
    Settings,
    TranslatorSettings,
    VllmSettings,
)

Known = TypeVar("Known")
CACHE = "answers.sqlite"


class LazyEngine:
    """An engine that is made when it is first asked; those of equal settings are one, as long as somebody holds it."""

    def __init__(self, settings: EngineSettings, cache: Path | None = None) -> None:
        self.name = engine_name(settings)
        self.usage = Usage()
        self._settings, self._cache = settings, cache
        self._engine: Engine | None = None

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        """See `protocol.Engine`."""
        if self._engine is None:
            key = (self._settings.model_dump_json(), str(self._cache))
            self._engine = _living.get(key) or make_engine(self._settings, self._cache)
            _living[key] = self._engine
        before = replace(self._engine.usage)
        try:
            return self._engine.write(prompts, max_new_tokens, sampling, schema=schema)
        finally:
            for one in fields(Usage):
                spent = getattr(self._engine.usage, one.name) - getattr(before, one.name)
                setattr(self.usage, one.name, getattr(self.usage, one.name) + spent)


_living: WeakValueDictionary[tuple[str, str], Engine] = WeakValueDictionary()


def engine_name(settings: EngineSettings) -> str:
    """Kind and model, and the stage that tuned it: what records keep of who wrote them."""
    if isinstance(settings, OpenAISettings):
        return f"{settings.type}:{settings.model}"
    tuned = settings.adapter if isinstance(settings, VllmSettings) else settings.tuned
    return f"{settings.type}:{settings.name}" + (f"+{tuned.parent.name}/{tuned.name}" if tuned else "")


def make_engine(settings: EngineSettings, cache: Path | None = None) -> Engine:
    """An engine, ready to write.

    Args:
        settings: which.
        cache: file that keeps the answers of servers; None keeps none.

    Raises:
        EngineError: a package or the model is not there.
    """
    if isinstance(settings, OpenAISettings):
        from xllms.engines.openai import OpenAIEngine

        return OpenAIEngine(settings, AnswerCache(cache) if cache else None)
    if isinstance(settings, VllmSettings):
        from xllms.engines.vllm import VllmEngine

        return VllmEngine(settings)
    from xllms.engines.local import LocalEngine
    from xllms.models import load

    loaded = load(settings, settings.template, settings.tuned)
    memory = None if settings.memory is None else int(settings.memory * 2**30)
    return LocalEngine(loaded, settings.batch_size, engine_name(settings), memory)


def make_translator(
    settings: TranslatorSettings, engines: Mapping[str, EngineSettings], cache: Path | None = None
) -> Translator:
    """A translator, ready to translate.

    Args:
        settings: which.
        engines: of the recipe, for one that asks an engine.
        cache: as in `make_engine`.

    Raises:
        EngineError: a command, package or model is not there.
        InputError: it asks an engine that the recipe does not have.
    """
    if isinstance(settings, ApertiumSettings):
        from xllms.engines.apertium import ApertiumTranslator

        return ApertiumTranslator(settings)
    if isinstance(settings, GoogleSettings):
        from xllms.engines.google import GoogleTranslator

        return GoogleTranslator(settings)
    if isinstance(settings, ChatTranslatorSettings):
        from xllms.engines.chat_translator import ChatTranslator

        return ChatTranslator(settings, LazyEngine(known(engines, settings.engine, "engines"), cache))
    from xllms.engines.sequence_model import SequenceModelTranslator

    return SequenceModelTranslator(settings)


def engine_makers(engines: Mapping[str, EngineSettings], cache: Path | None) -> dict[str, Callable[[], Engine]]:
    """A maker for each engine of a recipe, by its name there."""
    return {name: partial(LazyEngine, settings, cache) for name, settings in engines.items()}


def translator_makers(
    translators: Mapping[str, TranslatorSettings], engines: Mapping[str, EngineSettings], cache: Path | None
) -> dict[str, Callable[[], Translator]]:
    """A maker for each translator of a recipe, by its name there."""
    return {name: partial(make_translator, settings, engines, cache) for name, settings in translators.items()}


def local_content(settings: Settings) -> dict[str, str]:
    """Digests of the folders on this machine that an engine or translator reads, by the key that names them.

    A model or adapter that was trained again is another one under the same path. Files are read whole: about a second
    for each gigabyte; hidden ones, and those in hidden folders such as .git and .cache, belong to other tools.

    Raises:
        InputError: `tuned` is no finished stage.
    """
    found: dict[str, str] = {}
    for key in ("name", "adapter", "tuned"):
        value = getattr(settings, key, None)
        if value is None:
            continue
        folder = Path(value).expanduser()
        if key == "tuned":
            found[key] = output_fingerprint(folder)
        elif folder.is_dir():
            files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
            shown = {name: path for name, path in files.items() if not any(part[0] == "." for part in name.parts)}
            found[key] = fingerprint({str(name): sha256_file(path) for name, path in shown.items()})
    return found


def known(named: Mapping[str, Known], name: str, kind: str) -> Known:
    """The entry of that name.

    Raises:
        InputError: there is none; names those there are.
    """
    if name not in named:
        raise InputError(f"`{name}` is not one of the recipe's `{kind}` ({', '.join(named) or 'none'}); add it there")
    return named[name]
