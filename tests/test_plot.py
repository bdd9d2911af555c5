"""nnfast.plot: what is in the figures (lines, pictures, levels, titles), without pyplot and without a screen."""

import subprocess
import sys
import types

import numpy as np
import pytest

import nnfast
from nnfast import datasets, layers, ops, optimizers

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.colors import to_rgba  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from nnfast import plot  # noqa: E402


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def pictures(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def labels_of(axes):
    return [line.get_label() for line in axes.lines]


def data(line):
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


@pytest.fixture
def small_cnn(rng):
    nnfast.utils.set_random_seed(0)
    model = nnfast.Sequential(
        [
            nnfast.Input((8, 8, 1)),
            layers.Conv2D(5, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(3, "softmax", name="scores"),
        ]
    )
    return model, rng.random((7, 8, 8, 1), "float32")


def test_history():
    model = nnfast.Sequential([nnfast.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = datasets.moons()
    h = model.fit(x, y, epochs=5, initial_epoch=2, validation_data=(x, y), verbose=0)
    figure = plot.history(h)
    assert isinstance(figure, Figure) and titles(figure) == ["loss", "mae"]
    for axes, metric in zip(figure.axes, ("loss", "mae")):
        assert labels_of(axes) == ["training", "validation"] and axes.get_xlabel() == "epoch"
        training, validation = axes.lines
        assert data(training) == ([3, 4, 5], h.history[metric])
        assert all(tick == int(tick) for tick in axes.get_xticks())
        assert data(validation) == ([3, 4, 5], h.history[f"val_{metric}"])
        assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
        assert training.get_color() == validation.get_color()


def test_history_of_several_trainings():
    figure = plot.history({"a": {"loss": [3.0, 2.0], "val_loss": [4.0, 5.0]}, "b": {"loss": [1.0]}})
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a, training", "a, validation", "b, training"]
    assert [data(line) for line in axes.lines] == [([1, 2], [3.0, 2.0]), ([1, 2], [4.0, 5.0]), ([1], [1.0])]
    assert axes.lines[0].get_color() == axes.lines[1].get_color() != axes.lines[2].get_color()
    with pytest.raises(ValueError, match=r"\[plot.history\].*Received.*fit"):
        plot.history({})


def region(figure, x, y):
    """The number of the class whose region a point is in: its colour is that of the class's points."""
    points, *regions = figure.axes[0].collections
    assert all(r.levels.tolist() == [0.5, 1.5] and r.get_alpha() == 0.3 for r in regions)
    (color,) = [r.get_facecolor()[0] for r in regions if any(p.contains_point((x, y)) for p in r.get_paths())]
    (number,) = [k for k in range(10) if (points.to_rgba(k, alpha=0.3) == color).all() and k <= points.get_clim()[1]]
    return number


def test_decision_boundary_of_a_function():
    """004-10: mesh, levels between classes, and the data on top, whatever numbers the labels are."""
    x = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    figure = plot.decision_boundary(lambda p: np.where(p[:, 0] < 0.3, 5, np.where(p[:, 1] > 0.6, 9, 7)), x, [5, 9, 7])
    (axes,) = figure.axes
    points = axes.collections[0]
    assert points.get_cmap().name == "Spectral" and len(axes.collections) == 4
    assert [region(figure, *p) for p in ((-0.2, 0.9), (0.9, 0.9), (0.9, 0.1), (0.31, 0.0))] == [0, 2, 1, 1]
    np.testing.assert_array_equal(points.get_offsets(), x)
    assert points.get_array().tolist() == [0, 2, 1]
    assert points.get_clim() == (0, 2)
    assert axes.get_xlim() == pytest.approx((-0.5, 1.48)) and axes.get_ylim() == pytest.approx((-0.5, 1.48))


def test_decision_boundary_of_scores_and_models():
    x = np.array([[-1.0, 0.0], [1.0, 0.0]], "float32")
    asked = []

    def scores(p):
        asked.append(p)
        return nnfast.tensor(np.c_[-p[:, 0], p[:, 0], np.full(len(p), -9, p.dtype)])

    figure = plot.decision_boundary(scores, x, [[1, 0], [0, 1]], h=0.5, margin=1)
    assert asked[0].dtype == "float32" and asked[0].shape == (8 * 4, 2)
    np.testing.assert_allclose(np.unique(asked[0][:, 0]), np.arange(-2, 2, 0.5))
    assert [region(figure, s, -0.1) for s in (-1.2, 1.2)] == [0, 1]

    model = nnfast.Sequential([nnfast.Input((2,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1.0], [0.0]])])
    for labels, border in (([0, 1], 0.5), ([-1, 1], 0.0)):  # one score: the border is midway between the labels
        figure = plot.decision_boundary(model, x, labels)
        assert [region(figure, border + d, 0.1) for d in (-0.05, 0.05)] == [0, 1]


def test_decision_boundary_refuses():
    x, y = datasets.blobs()
    with pytest.raises(ValueError, match=r"points \[N, 2\].*\(300, 3\)"):
        plot.decision_boundary(len, np.zeros((300, 3)), y)
    with pytest.raises(ValueError, match=r"4,000,000 points.*larger h"):
        plot.decision_boundary(len, x * 1000, y)
    with pytest.raises(ValueError, match="4,000,000"):
        plot.decision_boundary(len, x, y, h=float("nan"))
    with pytest.raises(ValueError, match=r"two kinds.*\[0, 1, 2\]"):
        plot.decision_boundary(lambda p: p[:, :1], x, y, h=1)
    with pytest.raises(ValueError, match=r"each of the .* points .*\(3,\)"):
        plot.decision_boundary(lambda p: np.arange(3), x, y, h=1)


def test_digits(rng):
    images = rng.integers(0, 256, (5, 4, 4, 1))
    scores = np.eye(10)[[7, 1, 2, 3, 4]]
    figure = plot.digits(images, [7, 1, 0, 3, 4], scores, columns=3)
    assert titles(figure) == ["7", "1", "2, label 0", "3", "4"]
    assert [to_rgba(axes.title.get_color()) == to_rgba("red") for axes in figure.axes] == [False, False, True] + 2 * [
        False
    ]
    np.testing.assert_array_equal(pictures(figure), images[..., 0])
    assert {axes.images[0].get_cmap().name for axes in figure.axes} == {"Greys"}
    assert figure.axes[3].get_position().y1 < figure.axes[0].get_position().y0  # a second row
    for shape in ((5, 4, 4), (5, 16)):
        same = plot.digits(images.reshape(shape), np.eye(10)[[7, 1, 0, 3, 4]])
        assert titles(same) == ["7", "1", "0", "3", "4"]
        np.testing.assert_array_equal(pictures(same), images[..., 0])
    assert titles(plot.digits(images[:2])) == ["", ""]
    assert pictures(plot.digits(rng.random((2, 4, 5, 3))))[0].shape == (4, 5, 3)


def test_digits_refuses():
    for shape in ((28, 28), (3, 15), (2, 4, 4, 2)):
        with pytest.raises(ValueError, match=r"\[plot.digits\] .*Received"):
            plot.digits(np.zeros(shape)[..., :15] if shape == (28, 28) else np.zeros(shape))
    with pytest.raises(ValueError, match="1 to 400"):
        plot.digits(np.zeros((401, 2, 2)))
    with pytest.raises(ValueError, match=r"predictions .*each of the 3 images.*\(2,\)"):
        plot.digits(np.zeros((3, 2, 2)), [1, 2, 3], [1, 2])


def test_filters(small_cnn):
    model, _ = small_cnn
    kernel = model.layers[0].kernel.numpy()
    figure = plot.filters(model.layers[0])
    assert titles(figure) == [f"filter {i}" for i in range(5)]
    np.testing.assert_array_equal(pictures(figure), np.moveaxis(kernel[:, :, 0], -1, 0))
    most = np.abs(kernel).max()
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(-most, most)}  # one scale, white at 0
    two = np.arange(2.0 * 3 * 2 * 4).reshape(2, 3, 2, 4)
    np.testing.assert_array_equal(pictures(plot.filters(two, channel=1))[3], two[:, :, 1, 3])
    with pytest.raises(ValueError, match=r"channel=2"):
        plot.filters(two, channel=2)
    for layer in (model.layers[-1], layers.Conv2D(3, 3)):
        with pytest.raises(ValueError, match="a built Conv2D"):
            plot.filters(layer)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (1, 8, 8, 1)])
def test_feature_maps(small_cnn, shape):
    model, images = small_cnn
    expected = model.layers[0](images[:1]).numpy()[0]
    for layer in ("conv", 0, model.layers[0]):
        figure = plot.feature_maps(model, images[0].reshape(shape), layer, columns=3)
        assert titles(figure) == [f"map {i}" for i in range(5)] and figure.get_suptitle() == "conv"
        np.testing.assert_array_equal(pictures(figure), np.moveaxis(expected, -1, 0))
    pooled = pictures(plot.feature_maps(model, images[0].reshape(shape), "pool"))
    np.testing.assert_array_equal(pooled[4], expected[:6, :6, 4].reshape(3, 2, 3, 2).max((1, 3)))


def test_feature_maps_of_other_models(small_cnn, rng):
    """Functional, channels first, and a Sequential that has seen nothing."""
    _, images = small_cnn
    x = nnfast.Input((2, 8, 8))
    first = layers.Conv2D(3, 3, data_format="channels_first", name="first")
    model = nnfast.Model(x, layers.Flatten()(first(x)))
    image = rng.random((2, 8, 8), "float32")
    np.testing.assert_array_equal(pictures(plot.feature_maps(model, image, first)), first(image[None]).numpy()[0])
    new = nnfast.Sequential([layers.Conv2D(2, 3), layers.ReLU(), layers.Flatten()])
    shown = pictures(plot.feature_maps(new, images[0], 1))
    np.testing.assert_array_equal(shown, np.moveaxis(new.layers[1](new.layers[0](images[:1])).numpy()[0], -1, 0))


def test_feature_maps_refuses(small_cnn):
    model, images = small_cnn
    with pytest.raises(ValueError, match=r"'flat' must be an image.*\(45,\).*conv, pool, flat"):
        plot.feature_maps(model, images[0], "flat")
    with pytest.raises(ValueError, match="nobody"):
        plot.feature_maps(model, images[0], "nobody")
    with pytest.raises(ValueError, match=r"\(None, 8, 8, 1\).*\(1, 9, 9, 1\)"):
        plot.feature_maps(model, np.zeros((9, 9, 1), "float32"), "conv")


def test_optimizer_race():
    """002-27: each line is the way of its optimizer: by hand for SGD and momentum, by the tape for any surface."""

    def surface(x, y):
        return x**2 + 10.0 * y**2 + ops.tanh(x)

    racers = {"SGD": optimizers.SGD(0.02), "momentum": optimizers.SGD(0.02, momentum=0.9)}
    figure = plot.optimizer_race(surface, racers, (2.0, 1.0), steps=4, x=(-2, 3), levels=7)
    (axes,) = figure.axes
    assert labels_of(axes) == ["SGD", "momentum", "start"] and data(axes.lines[2]) == ([2.0], [1.0])
    for line, momentum in zip(axes.lines, (0.0, 0.9)):
        at, speed, path = np.array([2.0, 1.0]), np.zeros(2), []
        for _ in range(5):
            path.append(at)
            speed = momentum * speed - 0.02 * np.array([2 * at[0] + 1 - np.tanh(at[0]) ** 2, 20 * at[1]])
            at = at + speed
        np.testing.assert_allclose(line.get_xydata(), path, rtol=1e-6)
    (contours,) = axes.collections
    levels = contours.levels
    assert 3 <= len(levels) <= 10 and np.diff(levels).min() > 0
    assert (axes.get_xlim(), axes.get_ylim()) == ((-2, 3), (-2, 2))
    contour = contours.get_paths()[2].vertices  # every point of a contour lies on its level
    height = contour[:, 0] ** 2 + 10 * contour[:, 1] ** 2 + np.tanh(contour[:, 0])
    np.testing.assert_allclose(height, levels[2], atol=0.05)


def test_activations():
    """000-18, 002-11: values and derivatives against formulas."""
    x = np.linspace(-3, 3, 8)
    s = 1 / (1 + np.exp(-x))
    expected = {
        "sigmoid": (s, s * (1 - s)),
        "tanh": (np.tanh(x), 1 - np.tanh(x) ** 2),
        "relu": (np.maximum(x, 0), x > 0),
        "elu": (np.where(x > 0, x, np.expm1(x)), np.where(x > 0, 1, np.exp(x))),
    }
    figure = plot.activations(list(expected), x)
    assert titles(figure) == list(expected)
    for axes, (value, slope) in zip(figure.axes, expected.values()):
        assert labels_of(axes) == ["value", "derivative"]
        for line, y in zip(axes.lines, (value, slope)):
            np.testing.assert_allclose(line.get_xydata(), np.c_[x, y], rtol=1e-12, atol=1e-15)
    assert len(figure.axes[0].get_legend().get_texts()) == 2
    maxout = plot.activations({"Maxout": lambda v: ops.maximum(0.5 * v + 1.0, -0.8 * v)}, x)
    assert titles(maxout) == ["Maxout"]
    right = 0.5 * x + 1 > -0.8 * x
    np.testing.assert_allclose(maxout.axes[0].lines[1].get_ydata(), np.where(right, 0.5, -0.8))
    assert len(plot.activations().axes) == 5 and len(plot.activations().axes[0].lines[0].get_xdata()) == 401
    with pytest.raises(ValueError, match=r"'pairs' must keep the shape.*\(401,\).*\(2,\)"):
        plot.activations({"pairs": lambda v: v[:2]})
    with pytest.raises(ValueError, match="relux"):
        plot.activations(["relux"])
    with pytest.raises(ValueError, match=r"\[plot.activations\].*0"):
        plot.activations([])


def trained(callback):
    nnfast.utils.set_random_seed(0)
    x, y = datasets.moons()
    model = nnfast.Sequential([nnfast.Input((2,)), layers.Dense(4, "tanh", name="first"), layers.Dense(1, name="last")])
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=4, batch_size=20, verbose=0, callbacks=[callback])
    return callback


def test_lr_finder():
    finder = trained(nnfast.callbacks.LRFinder(1e-4, 5.0))
    (axes,) = plot.lr_finder(finder).axes
    assert data(axes.lines[0]) == (finder.rates, finder.losses) and len(finder.rates) > 20
    assert axes.lines[1].get_xdata()[0] == finder.suggestion() and axes.get_xscale() == "log"
    assert axes.get_legend().get_texts()[0].get_text() == f"suggestion: {finder.suggestion():.2g}"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "loss")
    finder.rates, finder.losses = finder.rates[:2], finder.losses[:2]
    (axes,) = plot.lr_finder(finder).axes
    assert len(axes.lines) == 1 and axes.get_legend() is None


def test_gradient_norms():
    watch = trained(nnfast.callbacks.GradientNorms(every=3))
    (axes,) = plot.gradient_norms(watch).axes
    assert labels_of(axes) == ["first", "last"] and axes.get_yscale() == "log"
    for line in axes.lines:
        assert data(line) == (watch.steps, watch.norms[line.get_label()]) and len(watch.steps) == 14
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["first", "last"]


def test_confusion_matrix():
    y, guessed = [0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 2, 2]
    counts = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    for a, b, names in (
        (y, guessed, None),
        (np.eye(3)[y], np.eye(3)[guessed] * 0.7, None),
        (y, nnfast.tensor(np.eye(3, dtype="float32")[guessed]), ["zero", "one", "two"]),
    ):
        (axes,) = plot.confusion_matrix(a, b, names).axes
        assert axes.images[0].get_array().tolist() == counts
        assert [(*t.get_position(), int(t.get_text())) for t in axes.texts] == [
            (column, row, counts[row][column]) for row in range(3) for column in range(3)
        ]
        for axis in (axes.get_xticklabels(), axes.get_yticklabels()):
            assert [t.get_text() for t in axis] == (names or ["0", "1", "2"])
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("prediction", "label", "accuracy 0.6667")
    (axes,) = plot.confusion_matrix([4, 9, 9], [4, 4, 9]).axes  # only what occurs
    assert axes.images[0].get_array().tolist() == [[1, 0], [1, 1]]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["4", "9"]
    (axes,) = plot.confusion_matrix([1], [[0.1, 0.2, 0.3, 0.1]]).axes  # or as many as there are scores
    assert axes.images[0].get_array()[1, 2] == 1 and len(axes.get_xticklabels()) == 4
    with pytest.raises(ValueError, match="as many predictions as labels"):
        plot.confusion_matrix([1, 2], [1])
    with pytest.raises(ValueError, match=r"needs a name.*2 for classes \[0, 1, 2\]"):
        plot.confusion_matrix(y, guessed, ["zero", "one"])


def check_viewer(widget, shown, capsys, model, images):
    figure = widget.f(4)
    says = model.predict(images[4:5], verbose=0).argmax()
    assert capsys.readouterr().out.startswith(f"the network says: {says}; the label is 2\n")
    assert isinstance(figure, Figure) and titles(figure) == [str(says) if says == 2 else f"{says}, label 2"]
    np.testing.assert_array_equal(pictures(figure)[0], images[4, :, :, 0])
    if shown is not None:
        assert len(shown) == 1 and shown[0][:8] == b"\x89PNG\r\n\x1a\n"


def test_digit_viewer(small_cnn, capsys, monkeypatch):
    """003-15, with stand-ins for the notebook: a slider over all images, a button, and what a click shows."""
    model, images = small_cnn
    shown, asked = [], []

    def interactive(f, options, **ranges):
        asked.append((options, ranges))
        return types.SimpleNamespace(f=f)

    display = types.SimpleNamespace(Image=lambda png: png, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(version_info=(9, 0)))  # matplotlib reads it
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setitem(sys.modules, "ipywidgets", types.SimpleNamespace(interactive=interactive))
    widget = plot.digit_viewer(model, images, [0, 1, 2, 0, 2, 2, 0])
    assert asked == [({"manual": True}, {"index": (0, 6)})] and shown == []
    check_viewer(widget, shown, capsys, model, images)
    plot.digit_viewer(model, images).f(0)
    assert capsys.readouterr().out == f"the network says: {model.predict(images[:1], verbose=0).argmax()}\n"


@pytest.mark.filterwarnings("default")
def test_digit_viewer_in_ipywidgets(small_cnn, capsys):
    pytest.importorskip("ipywidgets", reason="the viewer needs ipywidgets")
    model, images = small_cnn
    widget = plot.digit_viewer(model, images, [0, 1, 2, 0, 2, 2, 0])
    slider, button = widget.children[:2]
    assert (slider.min, slider.max) == (0, 6) and type(button).__name__ == "Button"
    check_viewer(widget, None, capsys, model, images)


def test_without_the_extras(small_cnn, monkeypatch):
    model, images = small_cnn
    for missing in ("ipywidgets", "IPython.display"):
        with monkeypatch.context() as m:
            m.setitem(sys.modules, missing, None)
            with pytest.raises(ImportError, match=r"\[plot.digit_viewer\].*pip install 'nnfast\[plot,notebook\]'"):
                plot.digit_viewer(model, images)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for call in (
        lambda: plot.digits(images),
        lambda: plot.confusion_matrix([1], [1]),
        lambda: plot.lr_finder(nnfast.callbacks.LRFinder()),
    ):
        with pytest.raises(ImportError, match=r"\[plot\.\w+\] .*pip install 'nnfast\[plot\]'"):
            call()


def test_no_pyplot_and_no_screen(tmp_path):
    """Importing the room loads no matplotlib; drawing and saving load no pyplot."""
    code = (
        "import sys, nnfast\n"
        "assert nnfast.plot.__name__ == 'nnfast.plot' and 'matplotlib' not in sys.modules\n"
        "nnfast.plot.confusion_matrix([0, 1], [0, 1]).savefig(sys.argv[1])\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    path = tmp_path / "picture.png"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False" and path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
