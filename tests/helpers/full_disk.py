"""A disk that gets full."""

import resource
from contextlib import contextmanager


@contextmanager
def limit_files(size):
    """Let no file grow beyond a number of bytes, as on a disk that gets full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
