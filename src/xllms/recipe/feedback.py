"""Settings of stage 3, feedback: which prompts, whose answers, what they are rejected for, who ranks, which pairs."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xllms.recipe.base import Settings
from xllms.recipe.data import PromptFile

Plan = Literal["same", "uniform", "english", "matrix"]
RejectKind = Literal["wrong_language", "code_mixed", "untranslated", "truncated", "other_question"]
OWN_ENGINES = ("sft", "base")


class CandidateSettings(Settings):
    """Whose answers are ranked, and how they are drawn."""

    engine: str = Field("sft", min_length=1, description="sft, base, or one of `engines`")
    samples: int = Field(4, ge=1, description="answers sampled per prompt")
    temperature: float = Field(0.9, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)


class LanguageRankerSettings(Settings):
    """By the answer's language. A wrong one is never chosen, whatever the weight."""

    type: Literal["language"] = "language"
    weight: float = Field(0, ge=0, description="of the line and word pass rates; 0: the language only says who may win")


class ReferenceRankerSettings(Settings):
    """By chrF++ to the reference, and by how near it is in meaning."""

    type: Literal["reference"] = "reference"
    weight: float = Field(1, ge=0)
    similarity: float = Field(
        0, ge=0, le=1, description="share of the score that is nearness in meaning, in languages that the encoder knows"
    )


class JudgeRankerSettings(Settings):
    """By an engine that is asked how correct, coherent and natural an answer is."""

    type: Literal["judge"] = "judge"
    weight: float = Field(1, ge=0)
    engine: str = Field(min_length=1, description="sft, base, or one of `engines`")
    compare: Literal["pairwise", "pointwise"] = Field("pairwise", description="pairwise: each two, in both orders")
    max_new_tokens: int = Field(256, ge=1)


class ImplicitRankerSettings(Settings):
    """By what preference training has raised: log-ratio of its model and the one it started from, asked in English."""

    type: Literal["implicit"] = "implicit"
    weight: float = Field(1, ge=0)
    tuned: Path = Field(description="folder of a finished dpo stage")
    reference: Path = Field(description="folder of the sft stage that it started from")
    beta: float = Field(0.1, gt=0, description="as the dpo stage was trained")
    per_token: bool = Field(
        False, description="mean instead of sum, so that length does not count; beta wants 2 or more"
    )


class TranslationRankerSettings(Settings):
    """By how likely the answer's English translation is after the English prompt."""

    type: Literal["translation"] = "translation"
    weight: float = Field(1, ge=0)
    translator: str = Field(min_length=1, description="one of `translators`")
    model: Literal["sft", "base"] = Field("sft", description="whose likelihood")


RankerSettings = Annotated[
    LanguageRankerSettings
    | ReferenceRankerSettings
    | JudgeRankerSettings
    | ImplicitRankerSettings
    | TranslationRankerSettings,
    Field(discriminator="type"),
]


class PairingSettings(Settings):
    """Which of the ranked answers become preferences."""

    mode: Literal["best_worst", "all", "ranking"] = Field(
        "best_worst", description="all: each two that differ enough; ranking: best_worst, and all answers in rankings/"
    )
    min_margin: float = Field(15, ge=0, description="points of 100 that the chosen answer leads by")
    max_length_ratio: float | None = Field(None, gt=1, description="of the longer answer to the shorter, in characters")
    max_pairs: int | None = Field(None, ge=1, description="of one prompt; those that differ most")


class FeedbackSettings(Settings):
    """Stage 3: answers of the tuned model, ranked, with a constructed wrong-language one."""

    languages: tuple[str, ...] = Field(("thirty",), min_length=1)
    prompts: int = Field(8, ge=1, description="prompts per language, from the feedback split; with a plan, on average")
    prompts_from: tuple[PromptFile, ...] = Field(
        (), description="your own prompts in place of the feedback split; with or without answers"
    )
    samples: int = Field(4, ge=1, description="answers sampled per prompt")
    temperature: float = Field(0.9, gt=0)
    top_p: float = Field(0.95, gt=0, le=1, description="nucleus to draw from, of the 256 likeliest tokens")
    max_new_tokens: int = Field(32, ge=1, description="an answer that is cut off here is not ranked")
    batch_languages: int = Field(8, ge=1, description="languages whose prompts are answered side by side")
    plan: Plan = Field(
        "same",
        description="who is asked in which language; same: as the records are; uniform: any two languages; english: "
        "English on one side; matrix: by weights",
    )
    matrix: Path | None = Field(None, description="plan: matrix: CSV, instruction languages down, responses across")
    wordings: Path | None = Field(None, description="your own `code,wording,note` instead of the shipped wordings.csv")
    candidates: tuple[CandidateSettings, ...] = Field(
        (), description="whose answers; none: the SFT model's, by samples, temperature and top_p above"
    )
    rejects: tuple[RejectKind, ...] = Field(
        ("wrong_language",),
        description="constructed: wrong_language, code_mixed, untranslated, truncated, other_question",
    )
    rankers: tuple[RankerSettings, ...] = Field(
        (LanguageRankerSettings(), ReferenceRankerSettings()),
        min_length=1,
        description="language, reference, judge, implicit, translation; scores of 0 to 100, averaged by weight",
    )
    pairing: PairingSettings = PairingSettings()

    @property
    def sampled(self) -> tuple[CandidateSettings, ...]:
        """Whose answers are ranked, the default spelt out."""
        own = CandidateSettings(samples=self.samples, temperature=self.temperature, top_p=self.top_p)
        return self.candidates or (own,)

    @property
    def engines_used(self) -> tuple[str, ...]:
        """Names of the recipe's `engines` that this stage asks."""
        names = [source.engine for source in self.sampled]
        names += [ranker.engine for ranker in self.rankers if isinstance(ranker, JudgeRankerSettings)]
        return tuple(name for name in dict.fromkeys(names) if name not in OWN_ENGINES)

    @property
    def translators_used(self) -> tuple[str, ...]:
        """Names of the recipe's `translators` that this stage asks."""
        names = [ranker.translator for ranker in self.rankers if isinstance(ranker, TranslationRankerSettings)]
        return tuple(dict.fromkeys(names))

    @model_validator(mode="after")
    def _matrix_has_its_file(self) -> "FeedbackSettings":
        if (self.plan == "matrix") != (self.matrix is not None):
            raise ValueError("plan: matrix and matrix: FILE.csv go together; set both or neither")
        return self

    @model_validator(mode="after")
    def _something_weighs(self) -> "FeedbackSettings":
        if not any(ranker.weight for ranker in self.rankers):
            raise ValueError("rankers: all weights are 0, nothing would rank the answers; give one a weight above 0")
        return self

    @model_validator(mode="after")
    def _nothing_twice(self) -> "FeedbackSettings":
        drawn = {(source.engine, source.temperature, source.top_p) for source in self.candidates}
        if len(drawn) < len(self.candidates):
            raise ValueError(
                "candidates: an engine stands twice with one temperature and top_p; name it once, with more samples"
            )
        return self
