"""Stages 2 and 4: supervised fine-tuning and preference training, on one trainer and the packing core."""
