"""Plots: their contents, their size and reproducibility."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason='needs pip install "hf_bat[plots]"')

from matplotlib.text import Text  # noqa: E402

from hf_bat import HfBatError, plots  # noqa: E402
from hf_bat.evaluation.representations import separation  # noqa: E402
from hf_bat.stats import t_interval  # noqa: E402

EPOCHS = {
    "BERT": {
        "antonym ASR": {"x": [1, 2, 3], "values": [[0.5, 0.6, 0.7], [0.52, 0.62, 0.66]], "baseline": 0.57},
        "synonym ASR": {"x": [1, 2, 3], "values": [[0.3, 0.2, 0.1], [0.32, None, 0.1]], "baseline": 0.37},
    },
    "RoBERTa": {"antonym ASR": {"x": [1, 2, 3], "values": [[0.4, 0.5, 0.6]]}},
}  # fmt: skip
VALUES = {
    "accuracy (%)": {"triplet": {"x": [8, 16, 32], "values": [[0.8, 0.81, 0.82], [0.82, 0.8, 0.8]]}},
    "antonym ASR (%)": {"triplet": {"x": [8, 16, 32], "values": [[0.4, 0.3, 0.2], [0.42, 0.3, 0.22]]}},
}  # fmt: skip
RATES = {
    "accuracy": {"normal": [0.8, 0.7], "triplet": [0.78], "mine": [0.9, 0.6, 0.75]},
    "synonym": {"normal": [0.5, 0.5], "triplet": []},
}
POINTS = [
    {"name": "normal", "fickle": [0.37, 0.36], "obstinate": [0.57, 0.58]},
    {"name": "alpha=1", "group": "pairwise", "fickle": [0.26, 0.27], "obstinate": [0.35, 0.36]},
    {"name": "alpha=2", "group": "pairwise", "fickle": [0.25, 0.26], "obstinate": [0.36, 0.38]},
]


def made_vectors(rows=40, apart=2.0):
    rng = np.random.default_rng(0)
    anchor = rng.normal(size=(rows, 8))
    noise = rng.normal(size=(2, rows, 8)) * 0.05
    return {"anchor": anchor, "fickle": anchor + noise[0], "obstinate": anchor * -apart + noise[1]}


def make(name):
    if name == "trade_off":
        return plots.trade_off_by_epoch(EPOCHS)
    if name == "bars":
        return plots.epoch_bars(EPOCHS, "negation ASR (%)")
    if name == "values":
        return plots.value_panels(VALUES, "batch size")
    if name == "frontier":
        return plots.frontier(POINTS)
    if name == "methods":
        return plots.method_panels(RATES, dict.fromkeys(RATES, "lower is better"), plots.HALF)
    if name == "tsne":
        vectors = made_vectors()
        return plots.tsne({"triplet": vectors}, {"triplet": separation(vectors)})
    rng = np.random.default_rng(1)
    distances = {"fickle": list(rng.random(50) * 0.1), "obstinate": list(rng.random(50))}
    return plots.distance_histograms({"normal": distances, "triplet": distances})


# Words that each plot must contain.
WORDS = {
    "trade_off": ["BERT", "RoBERTa", "antonym ASR", "synonym ASR", "normal training", "epoch"],
    "bars": ["BERT", "negation ASR (%)", "normal training"],
    "values": ["accuracy (%)", "antonym ASR (%)", "batch size", "triplet", "16"],
    "frontier": ["normal", "pairwise", "alpha=2", "fickle: synonym ASR (%)"],
    "methods": ["accuracy", "synonym", "normal", "mine", "lower is better"],
    "tsne": ["anchor", "fickle", "obstinate", "silhouette 0.", "d_o 2.00"],
    "histograms": ["normal", "triplet", "cosine distance to the anchor"],
}


@pytest.mark.parametrize("name", WORDS)
def test_a_picture_is_readable_small_and_the_same_each_time(name, tmp_path):
    figure = make(name)
    first = plots.save(figure, tmp_path / "a" / name)
    again = plots.save(make(name), tmp_path / "b" / name)
    assert [path.suffix for path in first] == [".png", ".svg"]
    for path, same in zip(first, again, strict=True):
        assert 2_000 < path.stat().st_size < 200_000
        assert path.read_bytes() == same.read_bytes()
    assert {path.name for path in (tmp_path / "a").iterdir()} == {p.name for p in first}
    text = first[1].read_text("utf-8")
    words = " ".join(
        "".join(node.itertext()) for node in ET.fromstring(text).iter() if "text" in node.tag
    )
    for word in WORDS[name]:
        assert word in words, (word, words)
    # At half width, no text is smaller than 7 points.
    assert abs(float(re.search(r'width="([\d.]+)pt"', text)[1]) / 72 - plots.HALF) < 0.01
    sizes = {shown.get_fontsize() for shown in figure.findobj(Text) if shown.get_text()}
    assert sizes and min(sizes) >= 7
    assert "<dc:date>" not in text


def test_lines_show_means_bands_and_dashed_baselines():
    first, second = plots.trade_off_by_epoch(EPOCHS).axes[:2]
    antonym = next(line for line in first.lines if line.get_label() == "antonym ASR")
    assert list(antonym.get_ydata()) == pytest.approx([51, 61, 68])
    dashed = [line for line in first.lines if len(line.get_ydata()) == 2 and line.is_dashed()]
    assert [line.get_ydata()[0] for line in dashed] == pytest.approx([57, 37])
    assert len(first.collections) == 2  # the bands of the two lines
    synonym = next(line for line in first.lines if line.get_label() == "synonym ASR")
    assert synonym.get_marker() != antonym.get_marker()
    assert synonym.get_color() != antonym.get_color()
    assert len(second.lines) == 1


def test_a_seed_without_a_rate_counts_for_nothing():
    (axis,) = plots.trade_off_by_epoch(
        {"BERT": {"a": {"x": [1, 2], "values": [[0.2, None], [0.4, 0.5]]}}}
    ).axes
    assert list(axis.lines[0].get_ydata()) == pytest.approx([30, 50])


def test_lines_of_another_length_are_refused():
    with pytest.raises(HfBatError, match="'a'"):
        plots.value_panels({"accuracy": {"a": {"x": [1, 2], "values": [[0.5]]}}}, "margin")
    with pytest.raises(HfBatError, match="panel"):
        plots.value_panels({}, "margin")


def test_methods_are_dots_with_the_range_of_the_seeds():
    figure = make("methods")
    accuracy, synonym = figure.axes
    dots = [container.lines[0] for container in accuracy.containers]
    assert [line.get_xdata()[0] for line in dots] == pytest.approx([75, 78, 75])
    assert [line.get_ydata()[0] for line in dots] == [0, 1, 2]  # in the given order, from the top
    assert accuracy.yaxis_inverted()
    [bar] = accuracy.containers[2].lines[2]
    assert bar.get_segments()[0][:, 0] == pytest.approx([60, 90])
    [baseline] = [line for line in accuracy.lines if line.is_dashed()]
    assert baseline.get_xdata() == pytest.approx([75, 75])
    assert len(synonym.containers) == 1  # no dot for a method without a rate


def test_the_frontier_joins_unbeaten_points_and_has_intervals():
    (axis,) = plots.frontier(POINTS).axes
    joined = next(line for line in axis.lines if line.get_linestyle() == "-")
    assert [list(map(float, xy)) for xy in joined.get_xydata()] == pytest.approx(
        [pytest.approx([25.5, 37]), pytest.approx([26.5, 35.5])]
    )
    low, high = t_interval([0.37, 0.36])
    ends = [seg for c in axis.collections for seg in c.get_segments()]
    assert any(
        seg[0][0] == pytest.approx(100 * low) and seg[1][0] == pytest.approx(100 * high)
        for seg in ends
    )


def test_a_method_looks_the_same_in_all_pictures():
    def looks(*names):
        points = [{"name": name, "fickle": [0.3], "obstinate": [0.5]} for name in names]
        (axis,) = plots.frontier(points).axes
        return {
            container.get_label(): (container[0].get_color(), container[0].get_marker())
            for container in axis.containers
        }

    all_of_them = looks("normal", "safer", "a2t", "pairwise", "triplet", "likelihood", "mine")
    assert len(set(all_of_them.values())) == 7
    assert len({colour for colour, _ in list(all_of_them.values())[:6]}) == 6
    for name, look in looks("triplet", "mine", "normal").items():
        assert look == all_of_them[name]


def test_names_beside_points_do_not_overlap():
    points = [
        {"name": f"alpha={i}", "group": "p", "fickle": [0.3 + i / 1000], "obstinate": [0.3]}
        for i in range(9)
    ]
    figure = plots.frontier(points)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert 1 < len(boxes) < 9  # names are omitted if there is no room for them
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_settings_of_matplotlib_are_unchanged():
    import matplotlib

    before = dict(matplotlib.rcParams)
    make("values")
    assert dict(matplotlib.rcParams) == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HfBatError, match="picture"):
        plots.save(make("frontier"), tmp_path / "file" / "picture")


def test_separation_is_larger_for_distant_versions():
    near, far = separation(made_vectors(apart=-1.0)), separation(made_vectors(apart=1.0))
    assert near["obstinate_distance"] < 0.05 and far["obstinate_distance"] > 1.9
    assert near["fickle_distance"] == pytest.approx(far["fickle_distance"])
    assert near["silhouette"] < 0.05 and near["rows"] == 40
    assert far["ordered"] == 1.0


def test_no_two_of_many_lines_look_alike():
    from hf_bat.plots import _get_look

    assert len({tuple(_get_look(number).values()) for number in range(42)}) == 42
