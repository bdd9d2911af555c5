"""The table of a model's layers, as Keras prints it."""

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unicodedata import east_asian_width

from nnfast.layers.symbolic import shapes_of

_HEADER = ("Layer (type)", "Output Shape", "Param #", "Connected to", "Trainable")
_ALIGN = ("<", "<", ">", "<", "^")
# head top, head line, head bottom, line, row line, bottom: left end, filling, crossing, right end
_BOX = tuple(map(tuple, ("┏━┳┓", "┃ ┃┃", "┡━╇┩", "│ ││", "├─┼┤", "└─┴┘")))
_ASCII = tuple(map(tuple, ("+-++", "| ||", "+=++", "| ||", "+-++", "+-++")))


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Prints the table.

    Args:
        model: a model.
        line_length: width of the table; by default 88, or what the terminal has.
        positions: where the columns end, as shares of the line length or, if beyond 1, as characters.
        print_fn: is given the whole text instead of printing it.
        expand_nested: show the layers of models inside the model.
        show_trainable: add a column: Y, N, or - without weights.
        layer_range: (first, last): names, or regular expressions, of the layers to show.

    Raises:
        ValueError: the columns are too narrow, or layer_range names no layer.
    """
    graph = getattr(model, "_graph", None)
    branched = graph is not None and _branched(graph)
    shown = [0, 1, 2, *([3] if branched else ()), *([4] if show_trainable else ())]
    widths = _widths(line_length, positions, branched, show_trainable)
    rows = []
    for layer in _select(model.layers if graph is None else graph.operations, layer_range):
        rows += list(_rows(layer, expand_nested, graph, graph, 0))
    box = _BOX if print_fn or _can_print("┏│└…") else _ASCII
    lines = [f'Model: "{model.name}"', *_table(rows, shown, widths, box)]
    text = "\n".join([*lines, *_totals(model)]) + "\n"
    if print_fn is not None:
        print_fn(text)
    elif _can_print(text):
        print(text, end="")
    else:
        encoding = _encoding()
        text = text.replace("…", "~").replace("└", "+")
        print(text.encode(encoding, "replace").decode(encoding), end="")


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "ascii"


def _can_print(text: str) -> bool:
    try:
        text.encode(_encoding())
    except UnicodeError:
        return False
    return True


def _width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two."""
    return len(text) + sum(east_asian_width(c) in "WF" for c in text)


def _pad(text: str, width: int, align: str) -> str:
    free = max(width - _width(text), 0)
    before = {"<": 0, ">": free, "^": free // 2}[align]
    return " " * before + text + " " * (free - before)


def _branched(graph: Any) -> bool:
    """Is it more than one layer after another?"""
    if any(len(nodes) > 1 or len(nodes[0].inputs) > 1 for nodes in graph.depths.values()):
        return True
    return any(len(graph.nodes_of(layer)) > 1 for layer in graph.layers)


def _widths(
    line_length: int | None, positions: Sequence[float] | None, branched: bool, show_trainable: bool
) -> list[int]:
    """Characters between the bars of each column, one blank at either side included."""
    columns = 3 + branched + show_trainable
    positions = list(positions or ((0.3, 0.56, 0.74, 1.0) if branched else (0.45, 0.8, 1.0)))
    if show_trainable and len(positions) == columns - 1:
        positions = [p * 0.9 for p in positions] + [positions[-1]]
    if len(positions) != columns:
        raise ValueError(f"[summary] {columns} positions are needed, one per column. Received: {positions}")
    import shutil  # it brings lzma and more: not at import

    terminal = shutil.get_terminal_size().columns - 4
    length = line_length or min((108 if branched else 88) + 12 * show_trainable, terminal)
    scale = length if positions[-1] <= 1 else 1
    ends = [int(p * scale) for p in positions]
    inner = [end - start for start, end in zip([0, *ends], ends)]
    if min(inner) < 4:
        raise ValueError(f"[summary] the columns are too narrow. Received: line_length={length}, positions={positions}")
    return _fit([w + 2 for w in inner], length - columns - 1)


def _fit(widths: list[int], total: int) -> list[int]:
    """Widths that add up to total: what is too much is taken in equal parts, what is missing added in proportion."""
    excess, left, out = sum(widths) - total, len(widths), []
    weight, missing = sum(widths), -excess
    for w in widths:
        if excess > 0:
            change = -min(w, round(excess / left))
            excess, left = excess + change, left - 1
        else:
            change = math.ceil(w * missing / weight) if missing > 0 else 0
            missing, weight = missing - change, weight - w
        out.append(w + change)
    return out


def _select(layers: list[Any], layer_range: Sequence[str] | None) -> list[Any]:
    if layer_range is None:
        return layers
    if len(layer_range) != 2 or not all(isinstance(n, str) for n in layer_range):
        raise ValueError(f"[summary] layer_range must be two names. Received: layer_range={layer_range!r}")
    first, last = ([i for i, layer in enumerate(layers) if re.match(name, layer.name)] for name in layer_range)
    if not first or not last:
        known = ", ".join(layer.name for layer in layers)
        raise ValueError(f"[summary] layer_range names no layer. Received: {layer_range!r}. The layers are {known}")
    if min(first) > max(last):
        first, last = last, first
    return layers[min(first) : max(last) + 1]


def _rows(layer: Any, expand_nested: bool, graph: Any, inside: Any, level: int) -> Iterator[list[str]]:
    """All five cells of a layer, and of the layers inside.

    Args:
        graph: of the model whose summary it is.
        inside: of the model that the layer is in.
        level: how deep that is nested.
    """
    prefix = "   " * level + "└ " if level else ""
    yield [
        f"{prefix}{layer.name} ({type(layer).__name__})",
        _shape(layer, inside),
        f"{layer.count_params():,}" if layer.built else "0 (unbuilt)",
        _connections(layer, graph),
        "-" if not layer.weights else "Y" if layer.trainable else "N",
    ]
    if expand_nested:
        for inner in getattr(layer, "layers", ()):
            yield from _rows(inner, expand_nested, graph, getattr(layer, "_graph", None), level + 1)


def _connections(layer: Any, graph: Any) -> str:
    """The tensors that a layer is called on: layer[which of its calls][which of its outputs]."""
    if graph is None:
        return "-"
    found = []
    for node in graph.nodes_of(layer):
        for t in node.inputs:
            giver, at, index = t._keras_history
            found.append(f"{giver.name}[{at}][{index}]")
    return ", ".join(found) or "-"


def _shape(layer: Any, graph: Any) -> str:
    """The shape of the output: of the last call in the model, else by the layer itself."""
    if not layer.built:
        return "?"
    nodes = [] if graph is None else graph.nodes_of(layer)
    try:
        shape = shapes_of(nodes[-1].structure) if nodes else layer.output_shape
    except (AttributeError, NotImplementedError):
        return "?"
    if isinstance(shape, list) and len(shape) == 1:
        shape = shape[0]
    return f"({', '.join(map(str, shape))})" if isinstance(shape, tuple) else str(shape)


def _table(rows: list[list[str]], shown: list[int], widths: list[int], box: Sequence[Sequence[str]]) -> Iterator[str]:
    def rule(kind: int) -> str:
        left, fill, cross, right = tuple(box[kind])
        return left + cross.join(fill * w for w in widths) + right

    def lines(kind: int, cells: Sequence[str]) -> Iterator[str]:
        left, _, bar, right = tuple(box[kind])
        wrapped = [_wrap(cell, w - 2) for cell, w in zip(cells, widths)]
        for i in range(max(map(len, wrapped))):
            parts = [(c[i] if i < len(c) else "") for c in wrapped]
            yield left + bar.join(f" {_pad(p, w - 2, a)} " for p, a, w in zip(parts, align, widths)) + right

    align = [_ALIGN[i] for i in shown]
    yield rule(0)
    yield from lines(1, [_HEADER[i] for i in shown])
    yield rule(2)
    for i, row in enumerate(rows):
        if i:
            yield rule(4)
        yield from lines(3, [row[i] for i in shown])
    yield rule(5)


def _wrap(cell: str, width: int) -> list[str]:
    """The words of a cell on lines of at most width characters; a longer word ends in an ellipsis."""
    lines: list[str] = []
    indent = cell[: len(cell) - len(cell.lstrip())]
    for word in cell.split():
        if lines and _width(lines[-1]) + 1 + _width(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(indent + word if not lines else word)
    return [_cut(line, width) for line in lines] or [""]


def _cut(line: str, width: int) -> str:
    if _width(line) <= width:
        return line
    while _width(line) > width - 1:
        line = line[:-1]
    return line + "…"


def _totals(model: Any) -> list[str]:
    learning, other = model.trainable_weights, model.non_trainable_weights
    optimizer = getattr(model, "optimizer", None)
    state = list(optimizer.variables) if optimizer is not None and getattr(optimizer, "built", False) else []
    lines = [
        f" Total params: {_amount([*learning, *other, *state])}",
        f" Trainable params: {_amount(learning)}",
        f" Non-trainable params: {_amount(other)}",
    ]
    return [*lines, f" Optimizer params: {_amount(state)}"] if state else lines


def _amount(weights: list[Any]) -> str:
    """How many numbers, and how much memory."""
    size = float(sum(w.size * w.dtype.itemsize for w in weights))
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024 or unit == "TB":
            break
        size /= 1024
    return f"{sum(w.size for w in weights):,} ({size:.2f} {unit})"
