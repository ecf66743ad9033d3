"""A whole fit: its teachers and students, and the runs that they teach."""
