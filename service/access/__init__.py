"""Who is calling, and how much of it they may do."""
