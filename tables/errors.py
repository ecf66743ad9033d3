"""What is wrong with a file; the message is one line that names the remedy."""


class FileError(Exception):
    """The file, its columns or an option is wrong: nothing was sent for it."""
