"""The one way in which an image fails: a reason, for whoever lists the files that could not be read."""


class DecodeError(Exception):
    """A file that is not a readable image, or not the one that its truth is for; the message is the reason."""
