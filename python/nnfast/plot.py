"""Pictures of data, training and what networks see. Extra `plot`: `pip install 'nnfast[plot]'`.

Each function gives a matplotlib Figure: a notebook shows it as the last value of a cell, `figure.savefig(path)` writes
it. No screen is needed, and pyplot's current figure stays as it is. What is drawn can be changed: `figure.axes`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nnfast import activations as named_activations
from nnfast import ops
from nnfast.layers import Conv2D, Layer
from nnfast.models import Model
from nnfast.tape import GradientTape
from nnfast.tensor import Tensor, Variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "activations",
    "confusion_matrix",
    "decision_boundary",
    "digit_viewer",
    "digits",
    "feature_maps",
    "filters",
    "gradient_norms",
    "history",
    "lr_finder",
    "optimizer_race",
]

_MOST_PICTURES = 400  # in one grid; matplotlib takes about 10 ms for each
_MOST_POINTS = 4_000_000  # of a mesh
_BATCH = 4096  # points or pictures per call of a model


def history(h: Any) -> Figure:
    """Losses and metrics over the epochs, with those of the validation data dashed.

    Args:
        h: what `fit` returns, or its `.history`; or {name: such a history}, to compare several trainings.

    Returns:
        A Figure with axes for each metric.

    Raises:
        ValueError: there is no epoch in it.

    >>> figure = history({"loss": [0.9, 0.5], "val_loss": [1.0, 0.8]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation']
    """
    runs = {"": h}
    if isinstance(h, Mapping) and all(isinstance(v, Mapping) or hasattr(v, "history") for v in h.values()):
        runs = dict(h)
    logs = {name: getattr(run, "history", run) for name, run in runs.items()}
    metrics = list(dict.fromkeys(key.removeprefix("val_") for log in logs.values() for key in log))
    if not metrics:
        raise ValueError(f"[plot.history] there must be an epoch in the history. Received: {h!r}. Call fit first")
    figure, all_axes = _figures("history", len(metrics), len(metrics), (5, 4))
    for metric, axes in zip(metrics, all_axes):
        for name, run in runs.items():
            color = None
            for key, part, style in ((metric, "training", "-"), (f"val_{metric}", "validation", "--")):
                if key in logs[name]:
                    values = logs[name][key]
                    epochs = [e + 1 for e in getattr(run, "epoch", range(len(values)))][-len(values) :]
                    label = f"{name}, {part}" if name else part
                    color = axes.plot(epochs, values, style, color=color, label=label)[0].get_color()
        axes.set(title=metric, xlabel="epoch")
        axes.locator_params(axis="x", integer=True)
        axes.legend()
    return figure


def decision_boundary(
    model_or_function: Model | Callable[[np.ndarray], Any], X: Any, y: Any, h: float = 0.02, margin: float = 0.5
) -> Figure:
    """Which class a classifier gives to each point of the plane, and the data on top.

    Args:
        model_or_function: a model, or a function of points [P, 2]. Either gives scores [P, C], of which the largest
            decides; or one score [P, 1], which is compared with the number midway between the two labels (0.5 for
            labels 0 and 1, 0 for -1 and 1); or a function gives the classes themselves, [P].
        X: points, [N, 2].
        y: their labels, [N], or one-hot rows [N, C].
        h: step of the mesh, in units of X.
        margin: how far the mesh goes beyond the points, in units of X.

    Raises:
        ValueError: a shape is not one of these, or the mesh would have more than 4 million points.

    >>> X, y = np.array([[0.0, 0.0], [1.0, 1.0]]), [0, 1]
    >>> figure = decision_boundary(lambda p: p[:, 0] > 0.5, X, y)
    >>> figure.axes[0].collections[0].get_offsets().shape
    (2, 2)
    """
    X, labels = np.asarray(X), _classes(y)
    if X.ndim != 2 or X.shape[1] != 2 or len(X) != len(labels) or not len(X):
        raise ValueError(
            f"[plot.decision_boundary] X must be points [N, 2] and y their N labels. Received: X of shape {X.shape}, y "
            f"of shape {np.shape(y)}. Of more features choose two, and let a function fill in the others"
        )
    low, high = X.min(0) - margin, X.max(0) + margin
    if not np.prod((high - low) / h) <= _MOST_POINTS:
        raise ValueError(
            f"[plot.decision_boundary] the mesh may have up to {_MOST_POINTS:,} points. Received: h={h} for X from "
            f"{X.min(0).tolist()} to {X.max(0).tolist()}. Give a larger h"
        )
    xx, yy = np.meshgrid(np.arange(low[0], high[0], h), np.arange(low[1], high[1], h))
    mesh = np.c_[xx.ravel(), yy.ravel()].astype(X.dtype if X.dtype.kind == "f" else float)
    if isinstance(model_or_function, Model):
        predicted = model_or_function.predict(mesh, batch_size=_BATCH, verbose=0)
    else:
        predicted = _array(model_or_function(mesh))
    known = np.unique(labels)
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        if len(known) != 2:
            raise ValueError(
                f"[plot.decision_boundary] one score per point needs labels of two kinds. Received: {known.tolist()}"
            )
        predicted = known[(predicted[:, 0] > known.mean()).astype(int)]
    predicted = _classes(predicted)
    if predicted.shape != (len(mesh),):
        raise ValueError(
            f"[plot.decision_boundary] each of the {len(mesh)} points must get a class or a row of scores. "
            f"Received: shape {predicted.shape}"
        )
    classes = np.union1d(known, predicted)
    figure, axes = _figure("decision_boundary", (6, 5))
    numbers = np.searchsorted(classes, labels)
    points = axes.scatter(X[:, 0], X[:, 1], c=numbers, s=30, cmap="Spectral", edgecolors="k", linewidths=0.5, zorder=2)
    points.set_clim(0, max(len(classes) - 1, 1))
    for number in np.unique(np.searchsorted(classes, predicted)):  # each by itself: between 0 and 2 there is no 1
        inside = (predicted == classes[number]).astype(float).reshape(xx.shape)
        axes.contourf(xx, yy, inside, levels=[0.5, 1.5], colors=[points.to_rgba(number)], alpha=0.3)
    axes.set(xlim=(xx.min(), xx.max()), ylim=(yy.min(), yy.max()))
    return figure


def digits(images: Any, labels: Any = None, predictions: Any = None, columns: int = 10) -> Figure:
    """Pictures in a grid, with what they are and what a model takes them for; wrong predictions are red.

    Args:
        images: [N, H, W], [N, H, W, 1 or 3], or flat, [N, 784], if they are square. At most 400.
        labels: [N], or one-hot rows [N, C].
        predictions: [N], or rows of scores [N, C], as `model.predict` gives them.
        columns: of the grid.

    Raises:
        ValueError: a shape is not one of these.

    >>> figure = digits(np.zeros((2, 28, 28)), [3, 5], [3, 6])
    >>> [axes.get_title() for axes in figure.axes]
    ['3', '6, label 5']
    """
    pictures = _pictures("digits", images)
    known = None if labels is None else _classes(labels)
    guessed = None if predictions is None else _classes(predictions)
    for name, values in (("labels", known), ("predictions", guessed)):
        if values is not None and values.shape != (len(pictures),):
            raise ValueError(
                f"[plot.digits] {name} must have an entry for each of the {len(pictures)} images. Received: "
                f"{name} for {values.shape}"
            )
    titles, colors = [""] * len(pictures), ["black"] * len(pictures)
    for i in range(len(pictures)):
        if guessed is not None:
            titles[i] = str(guessed[i])
            if known is not None and known[i] != guessed[i]:
                titles[i], colors[i] = f"{guessed[i]}, label {known[i]}", "red"
        elif known is not None:
            titles[i] = str(known[i])
    figure = _grid("digits", pictures, titles, columns, cmap="Greys")
    for axes, color in zip(figure.axes, colors):
        axes.title.set_color(color)
    return figure


def filters(layer: Any, channel: int = 0, columns: int = 8) -> Figure:
    """The kernels of a convolution as pictures: blue below 0, red above, white at 0, on one scale.

    Args:
        layer: a built Conv2D, or an array of kernels [KH, KW, C, F].
        channel: of the input, 0 to C - 1: which slice of each kernel is shown.
        columns: of the grid.

    Raises:
        ValueError: the layer has no kernels of this shape, or no such channel.

    >>> figure = filters(np.ones((3, 3, 1, 4)))
    >>> len(figure.axes), figure.axes[3].images[0].get_array().shape
    (4, (3, 3))
    """
    if isinstance(layer, Layer):
        if not isinstance(layer, Conv2D) or not layer.built:
            raise ValueError(
                f"[plot.filters] the layer must be a built Conv2D. Received: {layer!r}. Choose another, or call the "
                "model on data first"
            )
        layer = layer.kernel
    kernel = _array(layer)
    if kernel.ndim != 4 or not -kernel.shape[2] <= channel < kernel.shape[2]:
        raise ValueError(
            f"[plot.filters] kernels must be [KH, KW, C, F], and channel one of the C. Received: shape {kernel.shape}, "
            f"channel={channel}"
        )
    pictures = np.moveaxis(kernel[:, :, channel], -1, 0)
    most = float(np.abs(pictures).max(initial=0.0)) or 1.0
    names = [f"filter {i}" for i in range(len(pictures))]
    return _grid("filters", pictures, names, columns, cmap="RdBu_r", vmin=-most, vmax=most)


def feature_maps(model: Model, image: Any, layer: Any, columns: int = 8) -> Figure:
    """What comes out of a layer for one image: a picture per channel, each on its own scale.

    Args:
        model: a Sequential or functional model.
        image: [H, W], [H, W, C], or a batch of one.
        layer: one of the model's layers whose output is [H, W, channels]; or its name, or its index.
        columns: of the grid.

    Raises:
        ValueError: there is no such layer, or its output is no image.

    >>> import nnfast
    >>> conv = nnfast.layers.Conv2D(4, 3)
    >>> model = nnfast.Sequential([nnfast.Input((28, 28, 1)), conv])
    >>> figure = feature_maps(model, np.zeros((28, 28)), conv)
    >>> figure.axes[0].images[0].get_array().shape
    (26, 26)
    """
    if isinstance(layer, str):
        layer = model.get_layer(layer)
    elif isinstance(layer, (int, np.integer)):
        layer = model.get_layer(index=int(layer))
    x = _array(image)
    wanted = model.input_shape[1:] if model.built else x.shape
    if x.shape == (1, *wanted):
        x = x[0]
    if None not in wanted and x.size == np.prod(wanted, dtype=int):
        x = x.reshape(wanted)  # a channel axis of 1 may be missing
    if not model.built:
        model(x[None])
    maps = Model(model.inputs, layer.output, name="feature_maps")(x[None]).numpy()
    if maps.ndim != 4:
        raise ValueError(
            f"[plot.feature_maps] the output of {layer.name!r} must be an image [H, W, channels]. Received: "
            f"{maps.shape[1:]}. The layers of this model are {', '.join(one.name for one in model.layers)}"
        )
    first = getattr(layer, "data_format", None) == "channels_first"
    pictures = maps[0] if first else np.moveaxis(maps[0], -1, 0)
    figure = _grid("feature_maps", pictures, [f"map {i}" for i in range(len(pictures))], columns, cmap="Greys")
    figure.suptitle(layer.name, y=1 - 0.05 / figure.get_figheight(), fontsize=10)
    return figure


def optimizer_race(
    surface: Callable[[Any, Any], Any],
    optimizers: Mapping[str, Any],
    start: tuple[float, float],
    steps: int = 100,
    x: tuple[float, float] = (-3.0, 3.0),
    y: tuple[float, float] = (-2.0, 2.0),
    levels: int = 40,
) -> Figure:
    """The ways of optimizers down a surface, from one start, over its contours.

    Args:
        surface: f(x, y), written with operators or with functions of `nnfast.ops`; its gradient is the tape's.
        optimizers: {name: optimizer}, each fresh.
        start: where all begin.
        steps: of each.
        x, y: what is shown, from where to where.
        levels: how many contours.

    Returns:
        A Figure with a line of steps + 1 points for each optimizer: `figure.axes[0].lines`.

    >>> import nnfast
    >>> racers = {"SGD": nnfast.optimizers.SGD(0.25)}
    >>> figure = optimizer_race(lambda x, y: x**2 + y**2, racers, (2, 0), steps=2)
    >>> figure.axes[0].lines[0].get_xdata().tolist()
    [2.0, 1.0, 0.5]
    """
    figure, axes = _figure("optimizer_race", (8, 6))
    xx, yy = np.meshgrid(np.linspace(*x, 120), np.linspace(*y, 120))
    axes.contour(xx, yy, _array(surface(xx, yy)), levels, cmap="Greys")
    for name, optimizer in optimizers.items():
        at = Variable(np.array(start, "float64"))
        path = [at.numpy()]
        for _ in range(steps):
            with GradientTape() as tape:
                height = surface(at[0], at[1])
            optimizer.apply([tape.gradient(height, at)], [at])
            path.append(at.numpy())
        axes.plot(*np.array(path).T, label=name)
    axes.plot(*start, "ko", label="start")
    axes.set(xlim=x, ylim=y, xlabel="x", ylabel="y")
    axes.legend()
    return figure


def activations(
    names: Mapping[str, Callable[[Any], Any]] | Iterable[str] = ("sigmoid", "tanh", "relu", "leaky_relu", "elu"),
    x: Any = None,
    columns: int = 3,
) -> Figure:
    """Activation functions and their derivatives, which the tape computes.

    Args:
        names: of `nnfast.activations`; or {title: function of a tensor}, which works on each element by itself.
        x: where, [N]; default: 401 points from -5 to 5.
        columns: of the grid.

    Raises:
        ValueError: there is no activation of that name, or a function's values have not the shape of x.

    >>> figure = activations(["relu"], x=[-1.0, 2.0])
    >>> [line.get_ydata().tolist() for line in figure.axes[0].lines]
    [[0.0, 2.0], [0.0, 1.0]]
    """
    functions = dict(names) if isinstance(names, Mapping) else {n: named_activations.get(n) for n in names}
    at = Variable(np.linspace(-5, 5, 401) if x is None else np.asarray(x, "float64"))
    figure, all_axes = _figures("activations", len(functions), columns, (3.3, 2.7))
    for axes, (name, function) in zip(all_axes, functions.items()):
        with GradientTape() as tape:
            value = function(at)
            total = ops.sum(value)
        if value.shape != at.shape:
            raise ValueError(
                f"[plot.activations] {name!r} must keep the shape of x, {at.shape}. Received: values of shape "
                f"{value.shape}"
            )
        axes.plot(at.numpy(), value.numpy(), label="value")
        axes.plot(at.numpy(), tape.gradient(total, at).numpy(), "--", label="derivative")
        axes.set_title(name)
    all_axes[0].legend()
    return figure


def lr_finder(result: Any) -> Figure:
    """The loss over the learning rate, with the suggestion marked.

    Args:
        result: an `nnfast.callbacks.LRFinder` after `fit`.

    >>> import nnfast
    >>> finder = nnfast.callbacks.LRFinder()
    >>> finder.rates, finder.losses = [0.01, 0.1, 1.0, 10.0], [1.0, 0.9, 0.2, 0.5]
    >>> lr_finder(finder).axes[0].lines[0].get_xdata().tolist()
    [0.01, 0.1, 1.0, 10.0]
    """
    figure, axes = _figure("lr_finder", (6, 4))
    axes.plot(result.rates, result.losses)
    best = result.suggestion()
    if best == best:  # NaN after fewer than three steps
        axes.axvline(best, color="tab:red", linestyle="--", label=f"suggestion: {best:.2g}")
        axes.legend()
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    return figure


def confusion_matrix(y: Any, predictions: Any, classes: Any = None) -> Figure:
    """How many samples of each class are taken for which: a row per label, a column per prediction.

    Args:
        y: labels, [N], or one-hot rows [N, C].
        predictions: classes, [N], or rows of scores [N, C].
        classes: names of the classes 0, 1, ...; default: the numbers that occur (or 0 to C - 1).

    Raises:
        ValueError: y and predictions are not of the same length, or there is a class without a name.

    >>> figure = confusion_matrix([0, 0, 1], [0, 1, 1])
    >>> figure.axes[0].images[0].get_array().tolist()
    [[1, 1], [0, 1]]
    """
    known, guessed = _classes(y), _classes(predictions)
    if known.shape != guessed.shape or not known.size:
        raise ValueError(
            f"[plot.confusion_matrix] there must be as many predictions as labels. Received: y of shape {np.shape(y)}, "
            f"predictions of shape {np.shape(predictions)}"
        )
    kinds = np.union1d(known, guessed)
    rows = next((np.shape(v)[1] for v in (predictions, y) if np.ndim(v) == 2), 0)
    if rows or classes is not None:
        every = np.arange(rows if classes is None else len(classes))
        if not np.isin(kinds, every).all():
            raise ValueError(
                f"[plot.confusion_matrix] each class needs a name. Received: {len(every)} for classes {kinds.tolist()}"
            )
        kinds = every
    names = [str(k) for k in (kinds if classes is None else classes)]
    counts = np.zeros((len(kinds), len(kinds)), "int64")
    np.add.at(counts, (np.searchsorted(kinds, known), np.searchsorted(kinds, guessed)), 1)
    side = max(4.0, 0.55 * len(kinds) + 1)
    figure, axes = _figure("confusion_matrix", (side, side))
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if count > counts.max() / 2 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="prediction", ylabel="label", title=f"accuracy {(known == guessed).mean():.4f}")
    return figure


def gradient_norms(watch: Any) -> Figure:
    """The length of each layer's gradient over the steps: where the curves of the first layers fall, gradients vanish.

    Args:
        watch: an `nnfast.callbacks.GradientNorms` after `fit`.

    >>> import nnfast
    >>> watch = nnfast.callbacks.GradientNorms()
    >>> watch.steps, watch.norms = [0, 1], {"first": [0.1, 0.01], "last": [1.0, 0.5]}
    >>> [line.get_label() for line in gradient_norms(watch).axes[0].lines]
    ['first', 'last']
    """
    figure, axes = _figure("gradient_norms", (6, 4))
    for layer, norms in watch.norms.items():
        axes.plot(watch.steps[: len(norms)], norms, label=layer)
    axes.set(yscale="log", xlabel="step", ylabel="gradient norm")
    axes.legend()
    return figure


def digit_viewer(model: Model, images: Any, labels: Any = None) -> Any:
    """A slider over the images and a button, for a notebook: the picture, and what the model takes it for.

    Args:
        model: takes the images as they are given.
        images: as in `digits`, any number.
        labels: [N], or one-hot rows [N, C].

    Returns:
        A widget of ipywidgets; what it calls with an index is its `.f`, which prints, shows and returns the Figure.

    Raises:
        ImportError: ipywidgets or matplotlib is not there: `pip install 'nnfast[plot,notebook]'`.

    >>> digit_viewer(model, x_test, y_test)  # doctest: +SKIP
    """
    try:
        import matplotlib.figure  # noqa: F401  (what is missing is said here, not at the first click)
        from IPython.display import Image, display
        from ipywidgets import interactive
    except ImportError as e:
        raise ImportError(
            f"[plot.digit_viewer] {e.name or 'ipywidgets'} is not installed. Run: pip install 'nnfast[plot,notebook]'"
        ) from e
    images = _array(images)
    predictions = _classes(model.predict(images, batch_size=_BATCH, verbose=0))
    known = None if labels is None else _classes(labels)

    def show(index: int) -> Figure:
        one = slice(index, index + 1)
        figure = digits(images[one], None if known is None else known[one], predictions[one], columns=1)
        print(f"the network says: {predictions[index]}" + ("" if known is None else f"; the label is {known[index]}"))
        png = io.BytesIO()
        figure.savefig(png, format="png")
        display(Image(png.getvalue()))
        return figure

    return interactive(show, {"manual": True}, index=(0, len(images) - 1))


# ---- what they share ----


def _figure(name: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A Figure of a size in inches with one pair of axes."""
    figure, (axes,) = _figures(name, 1, 1, size)
    return figure, axes


def _figures(name: str, count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A Figure with so many axes, row by row, each of a size in inches. Its layout keeps labels apart."""
    if not 1 <= count <= _MOST_PICTURES or columns < 1:
        raise ValueError(
            f"[plot.{name}] a grid has 1 to {_MOST_PICTURES} pictures in at least 1 column. Received: {count} "
            f"pictures, columns={columns}. Of many give some: [:100]"
        )
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise ImportError(f"[plot.{name}] matplotlib is not installed. Run: pip install 'nnfast[plot]'") from e
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _grid(name: str, pictures: np.ndarray, titles: list[str], columns: int, **style: Any) -> Figure:
    """Pictures [N, H, W] or [N, H, W, 3] row by row, without ticks."""
    width = max(1.2, 3 / max(min(columns, len(pictures)), 1))  # inches; a few are large
    figure, all_axes = _figures(name, len(pictures), columns, (width, width + 0.2))
    figure.set_layout_engine(None)  # that of labels takes 50 ms for each axes, and pictures have only a title
    height = figure.get_figheight()
    figure.subplots_adjust(0.01, 0.1 / height, 0.99, 1 - 0.6 / height, wspace=0.1, hspace=0.25)
    for axes, picture, title in zip(all_axes, pictures, titles):
        axes.imshow(picture, **style)
        axes.set_title(title, fontsize=8)
        axes.axis("off")
    return figure


def _pictures(name: str, images: Any) -> np.ndarray:
    """[N, H, W] or [N, H, W, 3], of images that may be flat or have a channel axis of 1."""
    images = _array(images)
    side = math.isqrt(images.shape[1]) if images.ndim == 2 else 0
    if images.ndim == 2 and side * side == images.shape[1]:
        return images.reshape(-1, side, side)
    if images.ndim == 4 and images.shape[3] == 1:
        return images[..., 0]
    if images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3):
        return images
    raise ValueError(
        f"[plot.{name}] images must be [N, H, W], [N, H, W, 1 or 3] or square ones as rows. Received: shape "
        f"{images.shape}. For one image: image[None]"
    )


def _classes(values: Any) -> np.ndarray:
    """Classes [N] of labels [N] or [N, 1], or of one-hot rows or scores [N, C]."""
    values = _array(values)
    if values.ndim == 2 and values.shape[1] > 1:
        return values.argmax(1)
    return values[:, 0] if values.ndim == 2 else values


def _array(values: Any) -> np.ndarray:
    return values.numpy() if isinstance(values, (Tensor, Variable)) else np.asarray(values)
