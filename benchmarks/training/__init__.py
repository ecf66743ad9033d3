"""The trainer beside the reference method, on shapes of published models."""
