"""The work of a piece in tests. Worker processes import this module, so it imports nothing heavy."""

from pathlib import Path


def touched(path: Path, fails: bool) -> list[str]:
    """Write one line to the piece's file."""
    if fails:
        raise ValueError("no luck")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.read_text() + "again\n" if path.exists() else "once\n")
    return [] if path.name != "grumbling" else ["grumbled"]
