"""Rows in and out of the files that people have."""
