"""Fixtures for tests of sweeps."""

import os

import pytest
from sweep_helpers import WORKER

from hf_bat.sweep import schedule


@pytest.fixture
def fake_worker(tmp_path, monkeypatch):
    """Replace the worker with a script that does not train."""
    (tmp_path / "fake_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(schedule, "_WORKER", "fake_worker")
    monkeypatch.setattr(schedule, "_POLL_SECONDS", 0.02)
