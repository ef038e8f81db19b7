"""Ports of loopback for the servers that tests start."""

import socket

from repair_pipeline.cli.server import HOST


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
