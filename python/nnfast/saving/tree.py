"""Where each weight of a model stands in a file: Keras's paths, `layers/dense_1/vars/0`.

A path is made of attribute names and, in lists, of class names with a number; never of layer names, which differ from
run to run. A layer that is reached twice is written where it is reached first.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from nnfast.naming import to_snake_case
from nnfast.tensor import Variable


class Place(NamedTuple):
    """A group of weights in a file."""

    path: str
    layer: Any
    weights: list[Variable]


def places(model: Any) -> list[Place]:
    """The model, then everything below it, in the order in which Keras writes them."""
    return list(_visit(model, "", set()))


def own_weights(layer: Any) -> list[Variable]:
    """The weights that belong to the layer itself, those that learn first, whether or not they are frozen now."""
    own = layer._own()[1]
    learn = [v for v in own if v.node is not None or id(v) in layer._frozen]
    return [*learn, *(v for v in own if not any(v is w for w in learn))]


def _visit(layer: Any, path: str, seen: set[int]) -> Iterator[Place]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    under = getattr(layer, "_saved_under", "")  # Keras's recurrent layers have their weights in a cell
    yield Place(_join(path, under), layer, own_weights(layer))
    for name, child in _children(layer):
        yield from _visit_value(child, _join(path, name), seen)


def _visit_value(value: Any, path: str, seen: set[int]) -> Iterator[Place]:
    if _is_layer(value):
        yield from _visit(value, path, seen)
        return
    used: dict[str, int] = {}
    for item in value.values() if isinstance(value, dict) else value:
        if _is_layer(item):
            kind = to_snake_case(type(item).__name__)
        elif isinstance(item, (list, tuple, dict)):
            kind = "container"
        else:
            continue
        number = used.get(kind, 0)
        used[kind] = number + 1
        yield from _visit_value(item, _join(path, f"{kind}_{number}" if number else kind), seen)


def _children(layer: Any) -> Iterator[tuple[str, Any]]:
    if "Sequential" in {c.__name__ for c in type(layer).__mro__} or getattr(layer, "_graph", None) is not None:
        yield "layers", layer.layers
    for name in sorted(vars(layer), key=lambda n: f"~{n}" if n.startswith("_") else n):
        value = vars(layer)[name]
        if name not in layer._untracked and (_is_layer(value) or isinstance(value, (list, tuple, dict))):
            yield name, value


def _is_layer(value: Any) -> bool:
    return hasattr(value, "_own") and hasattr(value, "_frozen")


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path and name else path or name


def keys(model: Any) -> dict[str, Variable]:
    """Every weight by a readable name that is the same in each run, `dense_1/kernel`: its path and its own name."""
    found: dict[str, Variable] = {}
    for path, _, weights in places(model):
        for v in weights:
            found.setdefault(unique(_join(path.removeprefix("layers/"), v.name), found), v)
    return found


def unique(name: str, taken: Any) -> str:
    """The name, with a number if it is taken."""
    new, n = name, 0
    while new in taken:
        n += 1
        new = f"{name}_{n}"
    return new
