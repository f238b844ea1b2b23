"""Telling systemd how a service is: `sd_notify`, where the service manager asks for it (`Type=notify`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send these assignments; whether somebody was there to be told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        told.connect(address)
        told.sendall("\n".join(lines).encode())
        return True
    return False


def status(text: str) -> str:
    """The assignment that shows a text in `systemctl status`."""
    return "STATUS=" + text.replace("\n", " ")
