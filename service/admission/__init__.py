"""Who may use the engine, and when."""
