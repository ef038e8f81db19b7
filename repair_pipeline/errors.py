"""Errors that a user can act on."""


class InputError(ValueError):
    """Unusable input. The message says what is wrong, the value received and what to do next.

    It is reported on one line: the command exits with code 2, a Dagster step fails with the message as description.
    """


def one_line(error: Exception) -> str:
    """The first 200 characters of an error's message, on one line."""
    return " ".join(str(error).split())[:200]
