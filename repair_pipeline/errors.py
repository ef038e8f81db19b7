"""Errors that a user can act on."""


class InputError(ValueError):
    """Unusable input. The message says what is wrong, the value received and what to do next.

    It is reported on one line: the command exits with code 2, a Dagster step fails with the message as description. So
    line breaks, and other characters that are not printed, are escaped: the message may quote any file or name.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printed(message))


def printed(text: str, keep: str = "") -> str:
    """A text with the characters that are not printed escaped: a terminal would take some of them for commands.

    Args:
        text: the text.
        keep: characters that are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def one_line(error: BaseException | str) -> str:
    """The first 200 characters of an error, or of its message, on one line; its type if it has no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__
