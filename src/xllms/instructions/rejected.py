"""What a source did not take, and why: kept beside what it took."""

from pydantic import Field

from xllms.records import Record


class Rejected(Record):
    """A record that was not made."""

    id: str = Field(min_length=1, description="the id that the record would have had, without its language")
    language: str
    source: str
    kind: str = ""
    reason: str
    text: str = Field(default="", description="what was refused, where there is a text")
