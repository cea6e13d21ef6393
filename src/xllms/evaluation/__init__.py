"""Stage 5: what each model answers in each language, and what is made of it."""
