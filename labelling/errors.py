"""What stops the labelling of a file; the message is one line that names the remedy."""


class ServiceFailure(Exception):
    """The service could not go on; what it answered before is kept."""
