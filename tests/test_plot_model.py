"""plot_model: which boxes and arrows, that nothing overlaps, and the files."""

import itertools
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import nnfast
from nnfast import Input, Model, layers
from nnfast.utils import model_to_dot, plot_model

SVG = "{http://www.w3.org/2000/svg}"


def residual():
    """A way around two layers, a model inside that is called twice, and two outputs."""
    i = Input((4,), name="i")
    inner = Model(i, layers.Dense(4, "relu", name="inside")(i), name="inner")
    x = Input((4,), name="x")
    h = layers.Dense(4, name="h")(x)
    k = layers.Dense(4, "tanh", name="k")(h)
    total = layers.Add(name="sum")([inner(inner(k)), x, h])
    return Model(x, [total, layers.Dense(1, name="side")(h)], name="residual")


def names(diagram):
    return {box.key: box.lines[0].split()[0] for box in diagram.boxes}


def overlaps(a, b):
    return abs(a.x - b.x) < (a.width + b.width) / 2 - 1e-6 and abs(a.y - b.y) < (a.height + b.height) / 2 - 1e-6


def check_layout(diagram):
    """Boxes are apart and inside the picture; arrows end at borders and cross no box."""
    for i, a in enumerate(diagram.boxes):
        assert a.width / 2 <= a.x <= diagram.width - a.width / 2
        assert a.height / 2 <= a.y <= diagram.height - a.height / 2
        assert not any(overlaps(a, b) for b in diagram.boxes[:i])
        if a.inside is not None:
            assert a.inside.width <= a.width and a.inside.height <= a.height
            check_layout(a.inside)
    for corners in diagram.lines():
        for (x, y), (u, v) in itertools.pairwise(corners):
            assert all(0 <= n <= diagram.width for n in (x, u)) and all(0 <= n <= diagram.height for n in (y, v))
            for t in np.linspace(0, 1, 50):
                p, q = x + t * (u - x), y + t * (v - y)
                for box in diagram.boxes:
                    assert abs(p - box.x) >= box.width / 2 - 0.1 or abs(q - box.y) >= box.height / 2 - 0.1, box.lines


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
@pytest.mark.parametrize("nested", [False, True])
def test_layout(rankdir, nested):
    diagram = model_to_dot(residual(), show_shapes=True, rankdir=rankdir, expand_nested=nested)
    check_layout(diagram)
    by_name = {n: b for b in diagram.boxes for n in [names(diagram)[b.key]]}
    x, h = by_name["x"], by_name["h"]
    assert {"TB": x.y < h.y, "BT": x.y > h.y, "LR": x.x < h.x, "RL": x.x > h.x}[rankdir]


def test_boxes_and_arrows():
    diagram = model_to_dot(residual())
    name = names(diagram)
    assert set(name.values()) == {"x", "h", "k", "inner", "sum", "side"}
    wanted = "x h, x sum, h k, h sum, h side, k inner, inner inner, inner sum"
    assert {(name[a], name[b]) for a, b in diagram.arrows} == {tuple(w.split()) for w in wanted.split(", ")}
    inside = model_to_dot(residual(), expand_nested=True)
    (inner,) = (b.inside for b in inside.boxes if b.inside is not None)
    assert [b.lines[0] for b in inner.boxes] == ["i (InputLayer)", "inside (Dense)"]


def test_what_a_box_says():
    model = residual()
    model.get_layer("k").trainable = False
    options = {"show_shapes": True, "show_dtype": True, "show_layer_activations": True, "show_trainable": True}
    boxes = {b.lines[0]: b for b in model_to_dot(model, **options).boxes}
    assert boxes["k (Dense)"].lines[1:] == [
        "Activation: tanh",
        "Input shape: (None, 4)",
        "Output shape: (None, 4)",
        "Output dtype: float32",
        "Non-trainable",
    ]
    assert "Trainable" in boxes["h (Dense)"].lines and boxes["h (Dense)"].fill != boxes["k (Dense)"].fill
    assert "Input shape: (None, 4), (None, 4), (None, 4)" in boxes["sum (Add)"].lines
    plain = plot_model(model, None)
    assert sorted(b.lines[0] for b in plain.boxes)[:2] == ["Add", "Dense"]


def test_arithmetic_and_shared_layers():
    x = Input((4,), name="x")
    d = layers.Dense(4, name="d")
    diagram = model_to_dot(Model(x, d(d(x) * 2.0)))
    name = names(diagram)
    assert {(name[a].rstrip("_0123456789"), name[b].rstrip("_0123456789")) for a, b in diagram.arrows} == {
        ("x", "d"),
        ("d", "multiply"),
        ("multiply", "d"),
    }
    check_layout(diagram)


def test_the_course_s_model():  # 002-34
    parts = [Input((n,), name=name) for name, n in (("title", 10000), ("text_body", 10000), ("tags", 100))]
    features = layers.Dense(64, "relu")(layers.Concatenate()(parts))
    outputs = [layers.Dense(1, "sigmoid", name="priority")(features), layers.Dense(4, name="department")(features)]
    diagram = model_to_dot(Model(parts, outputs), show_shapes=True)
    check_layout(diagram)
    assert [sorted(names(diagram)[b.key] for b in diagram.boxes if b.row == r)[0] for r in (0, 3)] == [
        "tags",
        "department",
    ]
    assert len({round(b.y) for b in diagram.boxes if b.row == 0}) == 1


def test_sequential_and_subclass():
    model = nnfast.Sequential([Input((4,), name="in"), layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    diagram = model_to_dot(model)
    assert [b.lines[0].split()[0] for b in diagram.boxes] == ["in", "a", "b"] and len(diagram.arrows) == 2
    assert len(model_to_dot(model, layer_range=("a", "b")).boxes) == 2

    class Mine(Model):
        def __init__(self):
            super().__init__(name="mine")
            self.d = layers.Dense(1)

        def call(self, x):
            return self.d(x)

    mine = Mine()
    with pytest.raises(ValueError, match="not built"):
        model_to_dot(mine)
    mine.build((None, 2))
    assert [b.lines for b in model_to_dot(mine).boxes] == [["mine (Mine)"]]


def test_svg(tmp_path):
    model = residual()
    model.get_layer("h").name = "a<b&c>"
    plot_model(model, tmp_path / "m.svg", show_layer_names=True, expand_nested=True)
    root = ElementTree.parse(tmp_path / "m.svg").getroot()
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert "a<b&c> (Dense)" in texts and "inside (Dense)" in texts
    assert len(list(root.iter(f"{SVG}polyline"))) == 9  # eight arrows outside, one inside
    assert len(list(root.iter(f"{SVG}rect"))) == 1 + len(texts)  # the ground, and a box for each name


def test_png(tmp_path):
    pytest.importorskip("matplotlib")
    before = set(sys.modules)
    diagram = plot_model(residual(), tmp_path / "m.png", dpi=100)
    assert "matplotlib.pyplot" not in set(sys.modules) - before
    data = (tmp_path / "m.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    assert abs(width - diagram.width * 100 / 72) <= 1 and abs(height - diagram.height * 100 / 72) <= 1
    figure = diagram.figure()
    axes = figure.axes[0]
    assert sorted(t.get_text() for t in axes.texts) == sorted(b.lines[0] for b in diagram.boxes)
    assert len(axes.patches) == len(diagram.boxes) + len(diagram.arrows)


def test_dot(tmp_path):
    plot_model(residual(), tmp_path / "m.dot", rankdir="LR", expand_nested=True, show_layer_names=True)
    text = (tmp_path / "m.dot").read_text()
    assert text.startswith("digraph G {") and "rankdir=LR;" in text and text.count("->") == 9 and "cluster" in text


def test_mistakes(tmp_path, monkeypatch):
    model = residual()
    with pytest.raises(ValueError, match="must end in"):
        plot_model(model, tmp_path / "m.gif")
    with pytest.raises(ValueError, match="rankdir"):
        plot_model(model, None, rankdir="up")
    with pytest.raises(ValueError, match="layer_range"):
        plot_model(model, None, layer_range=("x", "nobody"))
    with pytest.raises(TypeError, match="colour"):
        plot_model(model, None, colour="red")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"nnfast\[plot\]"):
        plot_model(model, tmp_path / "m.png")
    assert not list(tmp_path.iterdir())
