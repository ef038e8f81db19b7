"""Messages to the user."""

import pickle

import pytest

from repair_pipeline.errors import InputError, one_line


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("the file\nx\x1b[2J\x07 is\r not there", r"the file\nx\x1b[2J\x07 is\r not there"),
        ("é, 名, – and 'quotes' stay\\", "é, 名, – and 'quotes' stay\\"),
        ("a\u2028b\x85c\ud800", r"a\u2028b\x85c\ud800"),
    ],
)
def test_an_input_error_is_one_line_that_a_terminal_takes_for_no_command(message, shown):
    error = InputError(message)
    assert str(error) == shown
    assert str(pickle.loads(pickle.dumps(error))) == shown
    str(error).encode()


def test_an_error_without_a_message_is_named_by_its_type():
    assert one_line(ValueError(" a\n b ")) == "a b"
    assert one_line(EOFError()) == "EOFError"
