"""Import and export: instruction data and preference pairs in the forms that other tools write and read."""

from xllms.formats.json_file import BadRecord
from xllms.formats.reading import Reading, read_instructions, read_preferences
from xllms.formats.writing import write_instructions, write_preferences

__all__ = [
    "BadRecord",
    "Reading",
    "read_instructions",
    "read_preferences",
    "write_instructions",
    "write_preferences",
]
