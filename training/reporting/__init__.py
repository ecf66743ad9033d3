"""Reports, figures and model cards for people."""
