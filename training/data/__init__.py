"""Labelled files become examples, and examples become batches."""
