"""From a stranger's table to a recipe: its label set, what the machine can do, what is trained."""
