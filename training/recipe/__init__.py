"""What a run is asked to do: the recipe, its parts, and presets."""
