"""Says at the end how much of the documentation was run, and what was not and why."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A count of what was run, and a line for each block that was not."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    found = [value for report in reports for key, value in report.user_properties if key == "block"]
    skipped = [(place, why) for place, why in found if why]
    if found:
        terminalreporter.write_line(f"documentation: {len(found) - len(skipped)} blocks run, {len(skipped)} not")
    for place, why in skipped:
        terminalreporter.write_line(f"  {place}: {why}")
