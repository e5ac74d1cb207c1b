"""A disk that runs full."""

import resource
from contextlib import contextmanager


@contextmanager
def limit_files(size):
    """Limit the size of all files, as on a disk that runs full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
