"""Stage 3: cross-lingual feedback: answers sampled, ranked and paired."""
