"""Run a process on a terminal."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import termios


class Terminal(io.StringIO):
    """A stream that pretends to be a terminal."""

    def isatty(self):
        return True


def run_on_terminal(words, **options):
    """Run a command with a terminal as stdout and stderr, and return its status and output."""
    reader, writer = pty.openpty()
    # A new terminal has no width, but bars are as wide as the terminal.
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(words, stdout=writer, stderr=writer, **options)
    os.close(writer)
    seen = b""
    try:
        while chunk := os.read(reader, 10_000):
            seen += chunk
    except OSError:  # On Linux, after the process has closed it.
        pass
    os.close(reader)
    return process.wait(timeout=60), seen.decode()
