"""`import hf_bat` is fast, silent and offline; its public names exist and are sorted."""

import json
import subprocess
import sys

import pytest

import hf_bat

PROBE = """
import json, logging, socket, sys, time
def refuse(*args, **kwargs):
    raise OSError("the network was touched")
socket.socket.connect = refuse
socket.create_connection = refuse
socket.getaddrinfo = refuse
def logging_state():
    root = logging.getLogger()
    return [root.level, len(root.handlers), logging.root.manager.disable,
            sorted(logging.root.manager.loggerDict)]
before = logging_state()
start = time.perf_counter()
import hf_bat
seconds = time.perf_counter() - start
libraries = ("torch", "transformers", "datasets", "nltk", "numpy")
heavy = [name for name in libraries if name in sys.modules]
print(json.dumps({"seconds": seconds, "heavy": heavy, "same_logging": before == logging_state()}))
"""

# Imports everything twice: first to check the effect on logging, then as on a system without POSIX.
EVERYTHING = """
import importlib, importlib.util, json, logging, os, pkgutil, signal, sys
import datasets
from transformers.utils import logging as transformers_logging
def logging_state():
    root = logging.getLogger()
    return [transformers_logging.get_verbosity(), datasets.logging.get_verbosity(), root.level,
            list(map(repr, root.handlers))]
def import_all():
    import hf_bat
    for found in pkgutil.walk_packages(hf_bat.__path__, "hf_bat."):
        if "hf_bat.plots" not in found.name or importlib.util.find_spec("matplotlib"):
            importlib.import_module(found.name)
before = logging_state()
import hf_bat
for name in hf_bat.__all__:
    getattr(hf_bat, name)
import_all()
same_logging = before == logging_state()
# The libraries stay imported, because some look at the system themselves.
for name in [name for name in sys.modules if name.split(".")[0] == "hf_bat"]:
    del sys.modules[name]
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for name in ("fork", "getpgid", "getuid", "killpg", "setsid"):
    delattr(os, name)
del signal.SIGKILL
import_all()
print(json.dumps({"same_logging": same_logging}))
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_fast_light_and_leaves_network_and_logging_alone():
    probes = [json.loads(run(PROBE)) for _ in range(3)]
    assert all(probe["heavy"] == [] and probe["same_logging"] for probe in probes)
    assert min(probe["seconds"] for probe in probes) < 0.3


def test_every_module_leaves_verbosity_alone_and_needs_no_posix():
    assert json.loads(run(EVERYTHING)) == {"same_logging": True}


def test_public_names_are_sorted_and_exist():
    assert sorted(hf_bat.__all__) == hf_bat.__all__
    assert set(hf_bat.__all__) == set().union(*hf_bat._HOMES.values()) <= set(dir(hf_bat))
    for name in hf_bat.__all__:
        assert getattr(hf_bat, name).__name__ == name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'BalancedTrianer'"):
        _ = hf_bat.BalancedTrianer
