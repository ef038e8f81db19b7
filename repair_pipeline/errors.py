"""The error a user can act on."""


class InputError(ValueError):
    """What was given cannot be used. The message says what, the value received and the next move.

    Both doors turn it into one line: the shell exits with code 2, a Dagster step fails with it as description.
    """


def one_line(error: Exception) -> str:
    """The start of what somebody else's error says, on one line."""
    return " ".join(str(error).split())[:200]
