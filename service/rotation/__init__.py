"""Checkpoints that come and go while the service runs, and what is looked at before."""
