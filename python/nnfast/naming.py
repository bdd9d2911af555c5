"""Names of layers, and how strings name things: `relu`, `GlorotUniform` and `glorot_uniform` mean what Keras means."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

_counters: dict[str, Any] = {}


def to_snake_case(name: str) -> str:
    """`Conv2D` -> `conv2d`, `MaxPooling2D` -> `max_pooling2d`, `ReLU` -> `re_lu`: Keras's rule for automatic names.

    >>> to_snake_case("GlobalMaxPooling2D")
    'global_max_pooling2d'
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix: str) -> str:
    """prefix, prefix_1, prefix_2, ...: a new one on each call, from one counter per prefix."""
    number = next(_counters.setdefault(prefix, itertools.count()))
    return f"{prefix}_{number}" if number else prefix


def clear_session(free_memory: bool = True) -> None:
    """Starts the automatic names anew (`dense`, `dense_1`, ...).

    Args:
        free_memory: also give the memory that no array uses back to the system.

    >>> import nnfast
    >>> nnfast.utils.clear_session()
    >>> nnfast.layers.Dense(1).name
    'dense'
    """
    _counters.clear()
    if free_memory:
        from nnfast.device import empty_cache

        empty_cache()


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def find(kind: str, identifier: str, table: Mapping[str, Any]) -> Any:
    """The entry that a string names, whatever its case and underscores. An unknown one is a ValueError with a guess."""
    if identifier in table:
        return table[identifier]
    if identifier in table:
        return table[identifier]
    wanted = _plain(identifier)
    for name, value in table.items():
        if _plain(name) == wanted:
            return value
    import difflib

    close = difflib.get_close_matches(identifier, table, 2, 0.6)
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known: {', '.join(table)}."
    raise ValueError(f"[{kind}] unknown {kind}. Received: {identifier!r}. {hint}")
