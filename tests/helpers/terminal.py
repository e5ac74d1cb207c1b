"""A terminal for a process of its own."""

import fcntl
import os
import pty
import struct
import subprocess
import termios


def run_on_terminal(words, **options):
    """Run a command whose stdout and stderr are a terminal; return its status and what is seen there."""
    reader, writer = pty.openpty()
    # Bars are as wide as the terminal, and a new one has no width.
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(words, stdout=writer, stderr=writer, **options)
    os.close(writer)
    seen = b""
    try:
        while chunk := os.read(reader, 10_000):
            seen += chunk
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(reader)
    return process.wait(timeout=60), seen.decode()
