"""The wheel and the source distribution: they contain all needed files and run without the repository."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from hf_bat import __version__

# Files of the package that are not needed in a distribution.
SKIPPED = {".pyc"}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory, repository):
    """Build both from a copy of the sources, so nothing is written to the repository."""
    pytest.importorskip("build", reason='needs pip install -e ".[dev]"')
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    hidden = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(repository / "hf_bat", source / "hf_bat", ignore=hidden)
    for path in repository.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_distributions_hold_the_files_of_the_package(distributions, repository):
    package = repository / "hf_bat"
    expected = {
        path.relative_to(repository).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in SKIPPED
    }
    (wheel,) = distributions.glob("*.whl")
    (archive,) = distributions.glob("*.tar.gz")
    assert f"-{__version__}-" in wheel.name
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("hf_bat/")}
        metadata = file.read(f"hf_bat-{__version__}.dist-info/METADATA").decode()
    assert held == expected
    assert "Project-URL: " in metadata and "License-File: LICENSE" in metadata
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    # Files that setup.py reads, which are needed to build a wheel from it.
    assert expected | {"setup.py", "pyproject.toml", "README.md", "LICENSE"} <= names
    assert not {name for name in names if name.startswith("tests/")}


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_wheel_runs_the_demo_in_an_empty_folder(distributions, minilm, quiet_environment, tmp_path):
    (wheel,) = distributions.glob("*.whl")
    site, folder = tmp_path / "site", tmp_path / "empty"
    folder.mkdir()
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    subprocess.run([*install, str(site), str(wheel)], check=True, timeout=300)
    environment = {**quiet_environment, "PYTHONPATH": str(site)}
    code = "import hf_bat; print(hf_bat.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder
    )
    assert Path(where.stdout.strip()).is_relative_to(site), where.stderr
    words = ["demo", "--methods", "triplet", "--train-rows", "32", "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "hf_bat.cli", *words, "--json", "demo.json"],
        capture_output=True, text=True, env=environment, cwd=folder, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "accuracy" in done.stdout and os.listdir(folder) == ["demo.json"]
