"""What is said stays on its one line, whatever a data file or a model put into it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.errors import one_line, visible

BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@given(st.text(st.one_of(st.sampled_from(BREAKS), st.characters())))
def test_a_message_is_one_line_by_any_reading_and_loses_nothing(text: str) -> None:
    said = one_line(text)
    assert len(said.splitlines()) <= 1
    if "⟦" not in text:
        assert re.sub("⟦U\\+([0-9A-F]{4})⟧", lambda found: chr(int(found[1], 16)), said) == text
    assert one_line(said) == said


@pytest.mark.parametrize("character", BREAKS)
def test_a_break_is_spelled_out(character: str) -> None:
    assert one_line(f"a{character}b") == f"a⟦U+{ord(character):04X}⟧b"


def test_what_is_shown_on_several_lines_keeps_them() -> None:
    assert visible("a\tb\nc\u2028d") == "a\tb\nc\u2028d"
    assert visible("a\u202eb\x1bc") == "a⟦U+202E⟧b⟦U+001B⟧c"
