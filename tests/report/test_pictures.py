"""Pictures in a report: which are shown or left out and why, and that none of them runs scripts."""

import base64
import json
import os
import re
import shutil
import subprocess
import zlib

import pytest
from html_page import CHROMIUM, Page

from hf_bat import HfBatError
from hf_bat.cli import main
from hf_bat.report import files
from hf_bat.report.page import write_report

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{}</svg>'
GREEN = '<rect width="40" height="40" fill="#00ff00"/>'


def png(color=(0, 0, 255), side=40):
    def chunk(kind, data):
        whole = kind + data
        return len(data).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")

    size = side.to_bytes(4, "big") * 2
    lines = (b"\0" + bytes(color) * side) * side
    parts = (
        (b"IHDR", size + bytes([8, 2, 0, 0, 0])),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def report(folder):
    done = write_report(folder, folder / "report.html")
    return done, (folder / "report.html").read_text()


def test_picture_is_embedded_and_named(tmp_path):
    (tmp_path / "rates.png").write_bytes(png())
    done, source = report(tmp_path)
    page = Page(source)
    assert done["files"] == ["rates.png"] and done["others"] == {}
    attributes = dict(page.attributes)
    assert attributes["alt"] == "Picture: rates.png" and "rates.png" in page.text
    assert attributes["src"] == "data:image/png;base64," + base64.b64encode(png()).decode()
    assert "default-src 'none'" in source and '; img-src data:"' in source
    assert report(tmp_path)[0] == done, "the page itself is not listed"


def test_png_is_preferred_to_an_svg_of_the_same_name(tmp_path):
    (tmp_path / "both.png").write_bytes(png())
    (tmp_path / "both.svg").write_text(SVG.format(GREEN))
    (tmp_path / "broken.png").write_bytes(png()[:60])
    (tmp_path / "broken.svg").write_text(SVG.format(GREEN))
    done, source = report(tmp_path)
    assert done["files"] == ["both.png", "broken.svg"], "an SVG replaces a PNG that is cut short"
    assert "both.png" in done["others"]["both.svg"]
    assert Page(source).tags.count("img") == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", b""),
        ("a.png", png()[:-1]),
        ("a.png", b"GIF89a"),
        ("a.svg", b""),
        ("a.svg", SVG.format(GREEN).encode()[:-3]),
        ("a.svg", b"<svg/>"),
        ("a.svg", b"<html xmlns='http://www.w3.org/1999/xhtml'/>"),
        ("a.svg", b"<?xml version='1.0' encoding='no-such'?><svg/>"),
        ("a.svg", b"\xff\xfe\x00"),
    ],
)
def test_broken_picture_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "eval_results.json").write_text('{"eval_accuracy": 0.5}')
    done, source = report(tmp_path)
    assert "no whole" in done["others"][name] and f"not shown: {name}: no whole" in source
    assert "img" not in Page(source).tags


def test_pictures_that_are_too_large_or_too_many_are_named(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(png())
    (tmp_path / "large.png").write_bytes(png() + bytes(1000))
    monkeypatch.setattr(files, "MAX_PICTURE_BYTES", len(png()) + 10)
    monkeypatch.setattr(files, "MAX_PICTURES_BYTES", 2 * len(png()))
    done, source = report(tmp_path)
    assert done["files"] == ["a.png", "b.png"]
    assert "too large" in done["others"]["large.png"] and "at most" in done["others"]["c.png"]
    assert "not shown: large.png: too large for the page" in source


def test_hostile_names_are_escaped(tmp_path, capsys):
    names = ['"onerror=alert(1) x=".png', "<b>.png", "a\nnot shown: b.svg", "<i>.txt"]
    for name in names:
        content = SVG.format(GREEN).encode() if name.endswith("svg") else png()
        (tmp_path / name).write_bytes(content)
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb") as file:
        file.write(png())
    assert main(["report", str(tmp_path), "--json", str(tmp_path.parent / "listed.json")]) == 0
    assert capsys.readouterr().out.count("\n") == 3, "shown, not shown, written"
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {"b", "i"}.isdisjoint(page.tags)
    assert not {name for name, _ in page.attributes if name in ("onerror", "x")}
    alts = [value for name, value in page.attributes if name == "alt"]
    assert f"Picture: {names[0]}" in alts and r"Picture: \udcff.png" in alts
    listed = json.loads((tmp_path.parent / "listed.json").read_text())
    assert listed["others"] == {"<i>.txt": "no kind of file that a report shows"}


def test_files_that_are_not_shown_are_named(tmp_path, capsys):
    (tmp_path / "eval_results.json").write_text('{"eval_accuracy": 0.5}')
    for name in ("model.safetensors", "tokenizer.json", "log.txt", "photo.jpg", ".hidden"):
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "folder.png").mkdir()
    assert main(["report", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "not shown: log.txt, photo.jpg: no kind of file" in out
    assert "not shown: model.safetensors, tokenizer.json: of a model" in out
    assert ".hidden" not in out and "folder" not in out


def test_unreadable_picture_is_one_reason(tmp_path):
    with pytest.raises(HfBatError, match="cannot be read"):
        files.read_picture(tmp_path / "gone.png", 100)


@pytest.mark.xdist_group("processes")
def test_browser_draws_pictures_and_runs_nothing(tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on PATH")
    image = pytest.importorskip("PIL.Image")
    out = tmp_path / "out"
    out.mkdir()
    (out / "blue.png").write_bytes(png())
    evil = "<script>document.querySelector('rect').setAttribute('fill', 'red')</script>"
    (out / "green.svg").write_text(SVG.format(GREEN + evil))
    report(out)
    picture = tmp_path / "page.png"
    words = [
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--screenshot={picture}",
        "--window-size=600,600",
    ]
    page = (out / "report.html").as_uri()
    subprocess.run([browser, *CHROMIUM, *words, page], capture_output=True, timeout=120)
    with image.open(picture) as shown:
        colors = {color[:3]: count for count, color in shown.getcolors(1 << 20)}
    assert colors[(0, 0, 255)] == 1600 and colors[(0, 255, 0)] == 1600
    assert (255, 0, 0) not in colors
    assert not re.search("<script", (out / "report.html").read_text())
