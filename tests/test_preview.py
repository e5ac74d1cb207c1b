"""A preview in a notebook: short as text, with marked words and escaped as HTML."""

from hf_bat.perturbations import AntonymPerturbation, PerturbationSampler
from hf_bat.preview import Preview


def test_preview_is_short_in_notebooks_and_escapes_rows():
    rows = [{"text": "A hot <script> day.", "idx": i} for i in range(50)]
    sampler = PerturbationSampler(("text",), obstinate=AntonymPerturbation({"hot": ("cold",)}))
    preview = Preview(rows, sampler, n=50)
    assert repr(preview) == "Preview(50 of 50 rows; with a version: obstinate 100.0 %)"
    html = preview._repr_html_()
    assert html.count("<del>hot</del> <ins>cold</ins>") == 50
    assert "<script>" not in html and html.count("&lt;script&gt;") == 100
