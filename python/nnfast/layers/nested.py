"""Lists, tuples and dicts of tensors: their leaves, and the same structure with other leaves.

Keras's order: the leaves of a dict follow its sorted keys.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_CONTAINERS = (list, tuple, dict)


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order.

    >>> flatten({"b": 1, "a": [2, (3,)]})
    [2, 3, 1]
    """
    if not isinstance(structure, _CONTAINERS):
        return [structure]
    return [leaf for value in _values(structure) for leaf in flatten(value)]


def map_structure(f: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """f of each leaf (and of the leaves at its place in others), in the same structure.

    >>> map_structure(lambda x: x + 1, {"a": [1, 2]})
    {'a': [2, 3]}
    """
    if isinstance(structure, dict):
        return {k: map_structure(f, v, *(o[k] for o in others)) for k, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)([map_structure(f, *parts) for parts in zip(structure, *others)])
    return f(structure, *others)


def pack(structure: Any, leaves: Iterable[Any]) -> Any:
    """The same structure with these leaves, given in the order of `flatten`.

    >>> pack({"b": 0, "a": (0, 0)}, [1, 2, 3])
    {'b': 3, 'a': (1, 2)}
    """
    return _pack(structure, iter(leaves))


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        made = {k: _pack(structure[k], leaves) for k in _keys(structure)}
        return {k: made[k] for k in structure}
    if isinstance(structure, (list, tuple)):
        return type(structure)([_pack(v, leaves) for v in structure])
    return next(leaves)


def _keys(structure: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(structure)
    except TypeError:  # keys of several types
        return list(structure)


def _values(structure: Any) -> Iterable[Any]:
    return [structure[k] for k in _keys(structure)] if isinstance(structure, dict) else structure
