"""The one exception that hf_bat raises for what its user can mend."""


class HfBatError(ValueError):
    """Bad input, said in one line: what was wrong, where, and what to do.

    The command line prints it and exits with status 2; anything else that is raised is a bug.

    Example:
        >>> raise HfBatError("unknown task 'snlii'; known: mnli, snli")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: unknown task 'snlii'; known: mnli, snli
    """
