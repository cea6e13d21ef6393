"""Settings of the gates: what a translated record must hold to be kept, with exceptions by language."""

from typing import Any

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from xllms.languages import UnknownLanguage, get
from xllms.recipe.base import Settings


class GateSettings(Settings):
    """Gates of translated records; each is off where its threshold is none or false.

    The defaults refuse at most 2 % of Tatoeba's human translations in most languages.
    """

    language: bool = Field(True, description="refuse an instruction or output that is surely in another language")
    max_wrong_lines: float | None = Field(0.3, ge=0, le=1, description="share of letters in lines of another language")
    max_foreign: float | None = Field(
        0.4, ge=0, le=1, description="share of letters in words of another script, names of the source apart"
    )
    max_english_words: float | None = Field(0.2, ge=0, le=1, description="share of words that only English has")
    max_lost: float | None = Field(0, ge=0, le=1, description="share of code, addresses, markup and placeholders lost")
    length: tuple[float, float] | None = Field(
        None, description="characters for each of the source at least and at most; none: by script, from FLORES"
    )
    length_slack: float | None = Field(1.0, ge=1, description="factor by which these bounds are widened; none: off")
    length_margin: int = Field(20, ge=0, description="characters by which they are widened besides: short texts vary")
    max_repetition: float | None = Field(0.4, ge=0, le=1, description="share of the text in one repeated phrase")
    min_compression: float | None = Field(0.25, ge=0, description="bytes left of 100 by zlib, over 100: loops are low")
    max_evenness: float | None = Field(
        0.965, ge=0, le=1, description="how evenly a text may use its characters: noise does so, languages do not"
    )
    max_residue: float | None = Field(0.25, ge=0, le=1, description="share of the source's word triples kept")
    min_round_trip: float | None = Field(
        None, ge=0, le=100, description="chrF++ of the translation translated back, against the source"
    )
    min_similarity: float | None = Field(None, ge=-1, le=1, description="cosine of the sentence embeddings")
    min_quality: float | None = Field(
        None, ge=0, le=1, description="COMET-Kiwi's estimate of the instruction's translation; asked last, costs most"
    )
    quality_model: str = Field(
        "Unbabel/wmt22-cometkiwi-da", min_length=1, description="of COMET, one that reads no references; or a .ckpt"
    )
    quality_command: str = Field("comet-score", min_length=1, description="unbabel-comet's, as a shell would call it")
    quality_gpus: int = Field(0, ge=0, description="that COMET may use")
    overrides: dict[str, dict[str, Any]] = Field({}, description="other thresholds for a language, by code or name")
    _by_code: dict[str, "GateSettings"] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _known_overrides(self) -> "GateSettings":
        for name, values in self.overrides.items():
            if "overrides" in values:
                raise ValueError(f"overrides.{name}: overrides inside overrides")
            common = self.model_dump(exclude={"overrides"})
            try:
                self._by_code[get(name).code] = GateSettings(**{**common, **values})
            except UnknownLanguage as error:
                raise ValueError(f"overrides: {error}") from None
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, first["loc"]))
                raise ValueError(f"overrides.{name}.{key}: {first['msg']}") from None
        if self.length is not None and not 0 <= self.length[0] < self.length[1]:
            raise ValueError(f"length: the first of {self.length} must be below the second, neither below 0")
        return self

    @property
    def of_all_languages(self) -> tuple["GateSettings", ...]:
        """These settings and those of each language that has its own."""
        return self, *self._by_code.values()

    def for_language(self, code: str) -> "GateSettings":
        """The settings that hold for the language of that FLORES code."""
        return self._by_code.get(code, self)
