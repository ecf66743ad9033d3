"""What is measured. Systems take turns, so that a slow minute of the machine hits all."""
