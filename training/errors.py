"""What a person can mend: the command line prints the message and exits with code 2."""


class BadInput(Exception):
    """Wrong data, recipe or place; the message names the file, the line and the remedy."""
