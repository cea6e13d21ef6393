"""Stage 1: instruction data in every language, from sources to four splits."""
