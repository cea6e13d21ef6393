"""Settings of stage 1, instructions."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xllms.recipe.base import Settings
from xllms.recipe.cleaning import ContaminationSettings, DuplicateSettings
from xllms.recipe.gates import GateSettings

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


class Shares(Settings):
    """How a source's records are split."""

    validation_share: float = Field(0.02, ge=0, lt=1)
    feedback_share: float = Field(0.05, ge=0, lt=1)
    evaluation_share: float = Field(0.05, ge=0, lt=1, description="held out by prompt, and asked in the evaluation")
    licence: str = Field("unknown", description="for the data card: the hub's name of it, such as cc-by-nc-4.0")

    @model_validator(mode="after")
    def _something_to_train_on(self) -> "Shares":
        if self.validation_share + self.feedback_share + self.evaluation_share >= 1:
            raise ValueError("the shares of validation, feedback and evaluation leave nothing to train on")
        return self


class AlpacaSource(Shares):
    """Your own data in Alpaca form: JSON or JSONL with `instruction`, `input`, `output`."""

    type: Literal["alpaca"] = "alpaca"
    path: Path
    language: str = Field("English", description="language of the outputs")
    instruction_language: str = Field("English", description="language of the instructions")


class FileSource(Shares):
    """Your own data in another form: JSON, JSONL or Parquet."""

    type: Literal["file"] = "file"
    path: Path
    form: Literal["auto", "alpaca", "self-instruct", "sharegpt", "trl", "messages", "xllms"] = "auto"
    language: str = Field("", description="of the outputs; empty: each row has a field `language`")
    instruction_language: str = Field("", description="of the instructions; empty: the row's, or that of the output")
    skip_bad: bool = Field(False, description="leave broken rows out and count them, instead of stopping there")


_PromptField = Literal[
    "instruction", "input", "output", "id", "parallel_id", "language", "instruction_language", "kind"
]  # fmt: skip


class DataFile(Settings):
    """A file for one stage alone: JSON, JSONL or Parquet."""

    path: Path
    language: str = Field("", description="of the answers; empty: each row has a field `language`")
    instruction_language: str = Field("", description="of the instructions; empty: the row's, or that of the answers")
    skip_bad: bool = Field(False, description="leave broken rows out and count them, instead of stopping there")


class PromptFile(DataFile):
    """Prompts: rows with `instruction`, perhaps `input`, `id` and `parallel_id`, and an `output` where one is known."""

    columns: dict[_PromptField, str] = Field({}, description="our field -> the file's, where they differ")


class PreferenceFile(DataFile):
    """Preference pairs."""

    form: Literal["auto", "authors", "sharegpt", "alpaca", "trl", "messages", "xllms"] = "auto"


class HubSource(Shares):
    """A data set of the hub, through `datasets`."""

    type: Literal["hub"] = "hub"
    dataset: str = Field(min_length=1, description="such as owner/name, or a folder that `datasets` loads")
    split: str = "train"
    columns: dict[str, str] = Field({}, description="our field -> the data set's column, where they differ")
    language: str = Field("", description="of the outputs; empty: each row has a field `language`")
    instruction_language: str = Field("", description="of the instructions; empty: the row's, or that of the output")
    skip_bad: bool = Field(False, description="leave broken rows out and count them, instead of stopping there")


Source = Annotated[CldrSource | AlpacaSource | FileSource | HubSource, Field(discriminator="type")]
Response = Literal["translated", "written", "better"]


class TranslationSettings(Settings):
    """From the sources' own language to all of the recipe's, but for CLDR's facts, which have their answers already."""

    translators: tuple[str, ...] = Field(
        min_length=1, description="some of `translators`; into each language the first one translates that has it"
    )
    teacher: str | None = Field(None, description="one of `engines`: writes answers in the language itself")
    responses: dict[Literal["high", "medium", "low", "very-low"], Response] = Field(
        {"high": "written", "medium": "better", "low": "translated", "very-low": "translated"},
        description="by the language's resource class: written by the teacher, translated, or the better of both; "
        "without a teacher all are translated",
    )
    max_new_tokens: int = Field(512, ge=1, description="of an answer that the teacher writes")
    shard: int = Field(1000, ge=1, description="records in one unit of work")
    gates: GateSettings = GateSettings()


class InstructionsSettings(Settings):
    """Stage 1: instruction data in every language."""

    sources: tuple[Source, ...] = Field((CldrSource(),), min_length=1)
    translation: TranslationSettings | None = None
    duplicates: DuplicateSettings | None = Field(
        DuplicateSettings(), description="none: repeats are kept; CLDR's facts are alike by nature and always kept"
    )
    contamination: ContaminationSettings = ContaminationSettings()
    executor: Literal["here", "processes", "ray"] = Field("here", description="who runs the units of translation")
    workers: int = Field(2, ge=1, description="processes, or actors of Ray")
