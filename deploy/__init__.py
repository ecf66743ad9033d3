"""What runs the service; `python -m deploy` writes those files that are made from others."""
