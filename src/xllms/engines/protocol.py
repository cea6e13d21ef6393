"""What engines and translators have in common: who writes text, and who says it in another language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from xllms.errors import InputError, XllmsError
from xllms.languages import Language


@dataclass(frozen=True)
class Sampling:
    """How an answer is written.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: nucleus to draw from above temperature 0.
        seed: of the draws.
        one_line: an answer is its first line that is not blank.
        stop: texts before which an answer ends; servers of OpenAI take four at most.

    Raises:
        InputError: a stop is empty.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    one_line: bool = False
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "" in self.stop:
            raise InputError("stop: an empty text would end every answer before its first letter; leave it out")


def before_stop(text: str, stops: tuple[str, ...]) -> str:
    """What stands before the first of `stops`; the whole text where it has none."""
    return text[: min((at for at in map(text.find, stops) if at >= 0), default=len(text))]


@dataclass(frozen=True)
class Written:
    """One answer.

    Attributes:
        text: what was written.
        ended: False where it was cut off at the limit of tokens.
        error: why there is no answer, where the engine refused this one request (too long, filtered); else empty.
    """

    text: str
    ended: bool
    error: str = ""


@dataclass
class Usage:
    """What an engine or translator has cost so far; a remote one counts tokens or characters, and money.

    Attributes:
        requests: answered, from the cache or not.
        cached: of these, from the cache.
        retries: tries that failed and were made again.
        input_tokens: read (0 where the engine does not tell).
        output_tokens: written.
        characters: sent to a translator that bills these.
        money: in the currency of the prices that were set.
    """

    requests: int = 0
    cached: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0
    money: float = 0.0


class EngineError(XllmsError):
    """An engine cannot go on: not there, its key refused, or failed after all tries. One line, with the way out."""


class Engine(Protocol):
    """Who writes text."""

    name: str  # kind and model, such as openai:gemma-3-27b-it; kept with what it wrote
    usage: Usage

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        """One answer per (instruction, input), in order.

        Args:
            prompts: instruction and input (may be empty) of each request.
            max_new_tokens: limit of one answer.
            sampling: how each is drawn. Prompts that are equal get draws of their own.
            schema: JSON schema that the answer should follow; an engine does what it can, the caller checks.

        Raises:
            EngineError: the engine cannot go on; what it had answered is in its cache, where it has one.
        """
        ...


class Translator(Protocol):
    """Who says a text in another language."""

    name: str
    usage: Usage

    def supports(self, source: Language, target: Language) -> bool:
        """Whether it has the pair."""
        ...

    def translate(self, texts: Sequence[str], source: Language, target: Language) -> list[str]:
        """Each text in `target`, in order; line breaks inside a text are kept.

        Raises:
            EngineError: the translator cannot go on.
        """
        ...
