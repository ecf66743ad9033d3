"""Uploads to rows and rows to files: each in a process of its own, bounded in memory and time."""
