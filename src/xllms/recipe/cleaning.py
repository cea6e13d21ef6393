"""Settings of what cleans instruction data: repeated records, and records that hold a benchmark's text."""

from pathlib import Path

from pydantic import Field, model_validator

from xllms.recipe.base import Settings


class DuplicateSettings(Settings):
    """Repeats within one language; the first record stays."""

    threshold: float = Field(0.8, gt=0, le=1, description="share of common shingles from which two records repeat")
    words: int = Field(3, ge=1, description="words in a shingle")
    characters: int = Field(5, ge=1, description="characters in a shingle, in scripts without spaces")
    output: bool = Field(True, description="compare outputs too; false: one answer to a prompt is enough")


class ContaminationSettings(Settings):
    """Text of the benchmarks in the training data."""

    data: Path | None = Field(None, description="folder of benchmark files; none: nothing is compared")
    ngram: int = Field(13, ge=2, description="words in a row that a benchmark's text is known by")
    whole: int = Field(5, ge=2, description="a shorter benchmark text counts from this many words, as a whole sentence")
    ngram_characters: int = Field(25, ge=2, description="the same as `ngram`, in scripts without spaces")
    whole_characters: int = Field(10, ge=2, description="the same as `whole`, in scripts without spaces")
    share: float = Field(0.0, ge=0, le=1, description="of a field's words that must be a benchmark's; 0: any n-gram")

    @model_validator(mode="after")
    def _whole_texts_are_shorter(self) -> "ContaminationSettings":
        if self.whole > self.ngram or self.whole_characters > self.ngram_characters:
            raise ValueError(
                "`whole` is for texts shorter than an n-gram: set it to at most `ngram` (characters alike)"
            )
        return self
