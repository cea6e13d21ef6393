"""Settings of stage 1, instructions."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xllms.recipe.base import Settings

CldrKind = Literal["territory", "language", "currency", "month", "weekday", "date", "number", "list"]
ALL_CLDR_KINDS: tuple[CldrKind, ...] = (
    "territory", "language", "currency", "month", "weekday", "date", "number", "list",
)  # fmt: skip


class CldrSource(Settings):
    """Facts from Babel's CLDR: names, dates, numbers and lists, asked in English, answered in each language."""

    type: Literal["cldr"] = "cldr"
    kinds: tuple[CldrKind, ...] = ALL_CLDR_KINDS
    train: int = Field(40, ge=1, description="facts per language to train on")
    validation: int = Field(4, ge=0, description="facts per language to follow the loss on")
    feedback: int = Field(8, ge=0, description="facts per language kept for cross-lingual feedback")
    evaluation: int = Field(12, ge=0, description="held-out facts per language: never trained on in any language")


class AlpacaSource(Settings):
    """Your own data in Alpaca form: JSON or JSONL with `instruction`, `input`, `output`."""

    type: Literal["alpaca"] = "alpaca"
    path: Path
    language: str = Field("English", description="language of the outputs")
    instruction_language: str = Field("English", description="language of the instructions")
    validation_share: float = Field(0.02, ge=0, lt=1)
    feedback_share: float = Field(0.05, ge=0, lt=1)
    evaluation_share: float = Field(0.05, ge=0, lt=1, description="held out by prompt, and asked in the evaluation")

    @model_validator(mode="after")
    def _something_to_train_on(self) -> "AlpacaSource":
        if self.validation_share + self.feedback_share + self.evaluation_share >= 1:
            raise ValueError("the shares of validation, feedback and evaluation leave nothing to train on")
        return self


Source = Annotated[CldrSource | AlpacaSource, Field(discriminator="type")]


class InstructionsSettings(Settings):
    """Stage 1: instruction data in every language."""

    sources: tuple[Source, ...] = Field((CldrSource(),), min_length=1)
