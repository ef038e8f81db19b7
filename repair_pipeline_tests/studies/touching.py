"""What a piece of a study under test does. Processes import it, so it imports nothing heavy."""

from pathlib import Path


def touched(path: Path, fails: bool) -> list[str]:
    """One line in the piece's file, whoever ran it."""
    if fails:
        raise ValueError("no luck")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.read_text() + "again\n" if path.exists() else "once\n")
    return [] if path.name != "grumbling" else ["grumbled"]
