"""plot_model: a model as boxes and arrows, in SVG by own code, in PNG and PDF through matplotlib.

The layout is the usual one for layered graphs (Sugiyama et al. 1981): a row per distance from the inputs, points where
long arrows pass a row, an order in each row by the means of the neighbours, then positions near these means.
"""

import itertools
import os
from collections.abc import Iterator
from typing import Any
from unicodedata import east_asian_width

from nnfast.saving.atomic import atomic_file

_FONT, _WIDE, _LINE = 11.0, 0.602, 1.45  # points; width of a character and height of a line, as shares of it
_PAD, _GAP, _ROW_GAP, _MARGIN, _POINT = 8.0, 24.0, 30.0, 12.0, 8.0
_SWEEPS = 8  # orders of rows settle after a few
_XML = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_DIRECTIONS = ("TB", "BT", "LR", "RL")


class Box:
    """A rectangle with lines of text, or with a diagram inside; without lines, a point where an arrow passes a row."""

    def __init__(self, key: Any, lines: list[str], fill: str = "#ffffff", inside: "Diagram | None" = None):
        self.key, self.lines, self.fill, self.inside = key, lines, fill, inside
        self.row = 0
        self.x = self.y = 0.0  # the centre
        if not lines:
            self.width = self.height = _POINT
            return
        self.width = max(map(_text_width, lines)) + 2 * _PAD
        self.height = len(lines) * _FONT * _LINE + 2 * _PAD
        if inside is not None:
            self.width = max(self.width, inside.width + 2 * _PAD)
            self.height += inside.height + _PAD


def _text_width(text: str) -> float:
    return _FONT * _WIDE * sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


class Diagram:
    """Boxes and arrows with their places. A notebook shows it.

    Args:
        boxes: in the order in which their layers are called.
        arrows: pairs of keys of boxes.
        rankdir: where arrows go: "TB" down, "BT" up, "LR" right, "RL" left.
        splines: "ortho" draws arrows with right angles, everything else straight.
    """

    def __init__(self, boxes: list[Box], arrows: list[tuple[Any, Any]], rankdir: str = "TB", splines: str = "ortho"):
        self.boxes, self.rankdir, self.splines = boxes, rankdir, splines
        self.arrows = list(dict.fromkeys(arrows))
        self._place()

    # ---- layout ----
    def _place(self) -> None:
        """Rows, order, positions; then everything is turned into the direction of rankdir."""
        sideways = self.rankdir in ("LR", "RL")
        by_key = {b.key: b for b in self.boxes}
        place_of = {b.key: i for i, b in enumerate(self.boxes)}
        forward = [(a, b) for a, b in self.arrows if place_of[a] < place_of[b]]
        for box in self.boxes:
            box.row = max((by_key[a].row + 1 for a, b in forward if b == box.key), default=0)
        for box in reversed(self.boxes):  # what nothing feeds stands just before what it feeds
            fed = [by_key[b].row for a, b in forward if a == box.key]
            if fed and not any(b == box.key for _, b in forward):
                box.row = min(fed) - 1
        rows: list[list[Box]] = [[] for _ in range(max((b.row for b in self.boxes), default=0) + 1)]
        for box in self.boxes:
            rows[box.row].append(box)
        links: list[tuple[Box, Box]] = []
        self._ways: dict[tuple[Any, Any], list[Box]] = {}
        for a, b in forward:
            way = [by_key[a]]
            for number in range(by_key[a].row + 1, by_key[b].row):
                point = Box(object(), [])
                point.row = number
                rows[number].append(point)
                way.append(point)
            way.append(by_key[b])
            self._ways[a, b] = way
            links += itertools.pairwise(way)
        _order(rows, links)
        across = (lambda b: b.height) if sideways else (lambda b: b.width)
        along = (lambda b: b.width) if sideways else (lambda b: b.height)
        centres = _centres(rows, links, across)
        at = _MARGIN
        for row in rows:
            size = max(along(b) for b in row)
            for box in row:
                box.x, box.y = centres[id(box)] + _MARGIN, at + size / 2
                if not box.lines:  # an arrow that passes the row goes straight until it has left it
                    box.width, box.height = (size, _POINT) if sideways else (_POINT, size)
            at += size + _ROW_GAP
        length = at - _ROW_GAP + _MARGIN
        loops = [(a, b) for a, b in self.arrows if place_of[a] >= place_of[b]]
        breadth = max((centres[id(b)] + _MARGIN + across(b) / 2 for row in rows for b in row), default=0.0) + _MARGIN
        self._loops = {pair: breadth + i * _MARGIN for i, pair in enumerate(loops)}
        breadth += len(loops) * _MARGIN
        for box in (b for row in rows for b in row):
            if self.rankdir in ("BT", "RL"):
                box.y = length - box.y
            if sideways:
                box.x, box.y = box.y, box.x
        self.width: float = length if sideways else breadth
        self.height: float = breadth if sideways else length

    def _end(self, box: Box, leaving: bool) -> tuple[float, float]:
        """Where an arrow leaves a box, or arrives."""
        side = {"TB": (0, 1), "BT": (0, -1), "LR": (1, 0), "RL": (-1, 0)}[self.rankdir]
        sign = 0.5 if leaving else -0.5
        return box.x + sign * side[0] * box.width, box.y + sign * side[1] * box.height

    def lines(self) -> Iterator[list[tuple[float, float]]]:
        """The corners of each arrow, the tip last."""
        by_key = {b.key: b for b in self.boxes}
        sideways = self.rankdir in ("LR", "RL")
        for pair in self.arrows:
            if pair in self._loops:  # back to what was called before: around, on the far side
                (x, y), (u, v), far = (
                    self._end(by_key[pair[0]], True),
                    self._end(by_key[pair[1]], False),
                    self._loops[pair],
                )
                out = _ROW_GAP / 3 * (-1 if self.rankdir in ("BT", "RL") else 1)
                if sideways:
                    yield [(x, y), (x + out, y), (x + out, far), (u - out, far), (u - out, v), (u, v)]
                else:
                    yield [(x, y), (x, y + out), (far, y + out), (far, v - out), (u, v - out), (u, v)]
                continue
            way = self._ways[pair]
            corners = [self._end(way[0], True)]
            for box in way[1:]:
                x, y = corners[-1]
                u, v = self._end(box, False)
                if self.splines == "ortho" and abs(u - x if not sideways else v - y) > 0.5:
                    middle = (x + u) / 2 if sideways else (y + v) / 2
                    corners += [(middle, y), (middle, v)] if sideways else [(x, middle), (u, middle)]
                corners.append((u, v))
                if box is not way[-1]:
                    corners.append(self._end(box, True))
            yield corners

    def parts(self, dx: float = 0.0, dy: float = 0.0) -> Iterator[tuple[Any, ...]]:
        """What to draw: ("box", x, y, width, height, fill), ("text", x, y, text), ("line", corners)."""
        for box in self.boxes:
            left, top = box.x - box.width / 2 + dx, box.y - box.height / 2 + dy
            yield "box", left, top, box.width, box.height, box.fill
            for i, line in enumerate(box.lines):
                yield "text", box.x + dx, top + _PAD + (i + 0.5) * _FONT * _LINE, line
            if box.inside is not None:
                below = top + box.height - box.inside.height - _PAD
                yield from box.inside.parts(box.x + dx - box.inside.width / 2, below)
        for corners in self.lines():
            yield "line", [(x + dx, y + dy) for x, y in corners]

    # ---- formats ----
    def to_svg(self) -> str:
        """The picture as the text of an SVG file."""
        w, h = round(self.width, 1), round(self.height, 1)
        made = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
            f'<rect width="{w}" height="{h}" fill="white"/>',
            f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{_FONT}" text-anchor="middle">',
        ]
        for kind, *rest in self.parts():
            if kind == "box":
                x, y, width, height, fill = rest
                size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
                made.append(f'<rect {size} rx="3" fill="{fill}" stroke="black"/>')
            elif kind == "text":
                x, y, text = rest
                made.append(f'<text x="{x:.1f}" y="{y:.1f}" dominant-baseline="central">{text.translate(_XML)}</text>')
            else:
                way = " ".join(f"{x:.1f},{y:.1f}" for x, y in rest[0])
                made.append(f'<polyline points="{way}" fill="none" stroke="black" marker-end="url(#tip)"/>')
        return "\n".join([*made, "</g>", "</svg>", ""])

    _repr_svg_ = to_svg

    def to_string(self) -> str:
        """The graph in Graphviz's language, for those who have it."""
        return "\n".join(["digraph G {", f"rankdir={self.rankdir};", "node [shape=record];", *self._dot(""), "}", ""])

    def _dot(self, prefix: str) -> Iterator[str]:
        names = {b.key: f"{prefix}{i}" for i, b in enumerate(self.boxes)}
        for box in self.boxes:
            label = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in box.lines)
            if box.inside is None:
                yield f'"{names[box.key]}" [label="{label.translate(_RECORD)}"];'
            else:
                yield f'subgraph "cluster_{names[box.key]}" {{ label="{label}"; "{names[box.key]}" [style=invis];'
                yield from box.inside._dot(names[box.key] + "_")
                yield "}"
        for a, b in self.arrows:
            yield f'"{names[a]}" -> "{names[b]}";'

    def figure(self, dpi: float = 200) -> Any:
        """The picture as a matplotlib Figure (extra `plot`).

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
            from matplotlib.patches import FancyArrowPatch, Rectangle
            from matplotlib.path import Path
        except ImportError as e:
            raise ImportError(
                "[plot_model] PNG and PDF need matplotlib, which is not installed. Install the extra plot: "
                "pip install 'nnfast[plot]'; or write to a file that ends in .svg, which needs nothing"
            ) from e
        figure = Figure(figsize=(self.width / 72, self.height / 72), dpi=dpi)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.set_axis_off()
        for kind, *rest in self.parts():
            if kind == "box":
                x, y, width, height, fill = rest
                axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor="black", linewidth=1))
            elif kind == "text":
                x, y, text = rest
                style: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": _FONT, "parse_math": False}
                axes.text(x, y, text, ha="center", va="center", **style)
            else:
                axes.add_patch(
                    FancyArrowPatch(path=Path(rest[0]), arrowstyle="-|>", mutation_scale=9, color="black", linewidth=1)
                )
        return figure

    def save(self, path: str | os.PathLike[str], dpi: float = 200) -> None:
        """Writes a .svg, .png, .pdf or .dot file, by its ending."""
        kind = os.path.splitext(os.fspath(path))[1].lower()
        if kind not in (".svg", ".png", ".pdf", ".dot"):
            raise ValueError(
                f"[plot_model] the file must end in .png, .svg, .pdf or .dot. Received: to_file={os.fspath(path)!r}"
            )
        figure = self.figure(dpi) if kind in (".png", ".pdf") else None
        with atomic_file(path) as file:
            if figure is not None:
                figure.savefig(file, format=kind[1:], dpi=dpi)
            else:
                file.write((self.to_svg() if kind == ".svg" else self.to_string()).encode())


_RECORD = {ord(c): f"\\{c}" for c in "{}|<>"}  # what Graphviz's records give a meaning


def _order(rows: list[list[Box]], links: list[tuple[Box, Box]]) -> None:
    """Sorts each row by the means of the places of its neighbours, down and up in turn."""
    before: dict[int, list[Box]] = {}
    after: dict[int, list[Box]] = {}
    for a, b in links:
        before.setdefault(id(b), []).append(a)
        after.setdefault(id(a), []).append(b)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = before if down else after
        for row in rows if down else reversed(rows):
            place = {id(b): float(i) for r in rows for i, b in enumerate(r)}
            wish = {id(b): [place[id(n)] for n in near.get(id(b), ())] for b in row}
            row.sort(key=lambda b: sum(wish[id(b)]) / len(wish[id(b)]) if wish[id(b)] else place[id(b)])


def _centres(rows: list[list[Box]], links: list[tuple[Box, Box]], size: Any) -> dict[int, float]:
    """Where each box's centre is across the rows: near the mean of its neighbours, in order, without overlap."""
    near: dict[int, list[Box]] = {}
    for a, b in links:
        near.setdefault(id(b), []).append(a)
        near.setdefault(id(a), []).append(b)
    at: dict[int, float] = {}
    for row in rows:
        x = 0.0
        for box in row:
            at[id(box)] = x + size(box) / 2
            x += size(box) + _GAP
    for sweep in range(2 * _SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wish = [_mean([at[id(n)] for n in near.get(id(b), ())], at[id(b)]) for b in row]
            for b, x in zip(row, _apart(wish, [size(b) for b in row])):
                at[id(b)] = x
    least = min((at[id(b)] - size(b) / 2 for row in rows for b in row), default=0.0)
    return {key: x - least for key, x in at.items()}


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _apart(wishes: list[float], sizes: list[float]) -> list[float]:
    """Positions in this order, a gap apart, whose squared distances from the wishes are least (neighbours that touch
    move as one block to the mean of their wishes)."""
    blocks: list[tuple[float, int]] = []  # (mean of wish minus offset, how many)
    offset, offsets = 0.0, []
    for i, size in enumerate(sizes):
        offset += size / 2 if i == 0 else sizes[i - 1] / 2 + _GAP + size / 2
        offsets.append(offset)
    for wish, off in zip(wishes, offsets):
        mean, count = wish - off, 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, count = (before * n + mean * count) / (n + count), n + count
        blocks.append((mean, count))
    starts = [mean for mean, count in blocks for _ in range(count)]
    return [start + off for start, off in zip(starts, offsets)]


# ---- models ----


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Diagram:
    """The layers of a model as a `Diagram`: `to_string()` is the text for Graphviz, `to_svg()` a picture.

    Args:
        model: a Sequential or functional model; any other is one box.
        show_shapes, show_dtype: say the shapes of inputs and outputs, the dtype of outputs.
        show_layer_names: say the names of layers.
        rankdir: where arrows go: "TB" down, "BT" up, "LR" right, "RL" left.
        expand_nested: draw what is inside of models inside the model.
        dpi, subgraph: accepted for Keras's sake.
        show_layer_activations: say the activations of layers.
        show_trainable: colour layers that learn green, those that do not red.
        splines: "ortho" for arrows with right angles, else straight ones.
        **kwargs: `layer_range=(first, last)`, names of the layers to show.

    Raises:
        ValueError: the model is not built, or an argument is none of these.

    >>> import nnfast
    >>> x = nnfast.Input(shape=(4,), name="x")
    >>> diagram = nnfast.utils.model_to_dot(nnfast.Model(x, nnfast.layers.Dense(2, name="d")(x)))
    >>> [box.lines for box in diagram.boxes]
    [['x (InputLayer)'], ['d (Dense)']]
    """
    if rankdir not in _DIRECTIONS:
        raise ValueError(f"[plot_model] rankdir must be one of {_DIRECTIONS}. Received: rankdir={rankdir!r}")
    layer_range = kwargs.pop("layer_range", None)
    if kwargs:
        raise TypeError(f"[plot_model] unknown argument. Received: {', '.join(kwargs)}")
    if not model.built:
        raise ValueError(
            f"[plot_model] {model.name!r} is not built, so its shapes are not known. Received: a model that has seen "
            "no input. Give it an Input, call it, or build(input_shape), first"
        )
    shown = {
        "shapes": show_shapes,
        "dtype": show_dtype,
        "names": show_layer_names,
        "activations": show_layer_activations,
        "trainable": show_trainable,
        "nested": expand_nested,
    }
    layers, calls = _calls(model)
    if layer_range is not None:
        layers = _between(layers, layer_range)
    boxes = [_box(layer, calls, shown, rankdir, splines) for layer in layers]
    kept = {id(layer) for layer in layers}
    arrows = [(id(t.node.layer), id(n.layer)) for n in calls for t in n.inputs]
    return Diagram(boxes, [(a, b) for a, b in arrows if a in kept and b in kept], rankdir, splines)


def _calls(model: Any) -> tuple[list[Any], list[Any]]:
    """The layers of a model, in order, and their calls."""
    graph = getattr(model, "_graph", None)
    if graph is not None:
        return graph.operations, graph.nodes
    source = getattr(model, "_source", None)
    if source is None:
        return [model], []
    nodes = [source._nodes[0]]
    for t in model._tensors:
        node = (t[0] if isinstance(t, list) else t).node
        nodes.append(node)
    return [source, *model.layers], nodes


def _between(layers: list[Any], layer_range: Any) -> list[Any]:
    names = [layer.name for layer in layers]
    if len(layer_range) != 2 or any(n not in names for n in layer_range):
        raise ValueError(
            f"[plot_model] layer_range must be the names of two layers. Received: {layer_range!r}. The layers are "
            f"{', '.join(names)}"
        )
    first, last = sorted(names.index(n) for n in layer_range)
    return layers[first : last + 1]


def _box(layer: Any, calls: list[Any], shown: dict[str, bool], rankdir: str, splines: str) -> Box:
    kind = type(layer).__name__
    lines = [f"{layer.name} ({kind})" if shown["names"] else kind]
    if shown["activations"] and getattr(layer, "activation", None) is not None:
        lines.append(f"Activation: {getattr(layer.activation, '__name__', type(layer.activation).__name__)}")
    own = [n for n in calls if n.layer is layer]
    if shown["shapes"] and own:
        if own[0].inputs:
            lines.append(f"Input shape: {_joined(t.shape for t in own[0].inputs)}")
        lines.append(f"Output shape: {_joined(t.shape for t in own[0].outputs)}")
    if shown["dtype"] and own:
        lines.append(f"Output dtype: {_joined(t.dtype for t in own[0].outputs)}")
    fill = "#ffffff"
    if shown["trainable"] and layer.weights:
        learns = bool(layer.trainable)
        fill = "#d5f0d5" if learns else "#f6d5d5"
        lines.append("Trainable" if learns else "Non-trainable")
    inside = None
    if shown["nested"] and (getattr(layer, "_graph", None) is not None or getattr(layer, "_source", None) is not None):
        layers, inner = _calls(layer)
        boxes = [_box(one, inner, shown, rankdir, splines) for one in layers]
        inside = Diagram(boxes, [(id(t.node.layer), id(n.layer)) for n in inner for t in n.inputs], rankdir, splines)
    return Box(id(layer), lines, fill, inside)


def _joined(values: Any) -> str:
    return ", ".join(str(v) for v in values)


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Diagram:
    """Draws a model into a file, and returns the picture, which a notebook shows.

    SVG and .dot need nothing; PNG and PDF need matplotlib (`pip install 'nnfast[plot]'`). Graphviz is not used.

    Args:
        model: a Sequential or functional model; any other is one box.
        to_file: ends in .png, .svg, .pdf or .dot; None writes no file.
        dpi: dots per inch of a PNG.
        show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, show_layer_activations, show_trainable,
            splines, **kwargs: see `model_to_dot`.

    Raises:
        ValueError: the model is not built, or an argument is none of these.
        ImportError: matplotlib is needed and not there.

    >>> import nnfast, tempfile
    >>> model = nnfast.Sequential([nnfast.Input(shape=(784,)), nnfast.layers.Dense(10)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     picture = nnfast.utils.plot_model(model, f"{folder}/model.svg", show_shapes=True)
    >>> picture.boxes[1].lines
    ['Dense', 'Input shape: (None, 784)', 'Output shape: (None, 10)']
    """
    diagram = model_to_dot(
        model,
        show_shapes=show_shapes,
        show_dtype=show_dtype,
        show_layer_names=show_layer_names,
        rankdir=rankdir,
        expand_nested=expand_nested,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        splines=splines,
        **kwargs,
    )
    if to_file is not None:
        diagram.save(to_file, dpi)
    return diagram
