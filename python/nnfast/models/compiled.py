"""What `compile` was told about several outputs: which loss, weight and metrics each of them has."""

from collections.abc import Iterable
from typing import Any

from nnfast import losses, ops
from nnfast import metrics as metric_room
from nnfast.layers.nested import flatten
from nnfast.tensor import Tensor


def output_names(y_pred: Any, known: list[str] | None) -> list[str | None]:
    """The name of each output, in the order of `flatten`: a dict's keys, else those that the model knows."""
    if isinstance(y_pred, dict) and not any(isinstance(v, (dict, list, tuple)) for v in y_pred.values()):
        return flatten({k: k for k in y_pred})
    n = len(flatten(y_pred))
    return list(known) if known is not None and len(known) == n else [None] * n


def per_output(what: str, given: Any, names: list[str | None], aliases: list[str] | None, lists: bool = False) -> list:
    """One entry of a compile argument per output.

    Args:
        what: "loss", ...: for errors.
        given: a list in the order of the outputs, a dict by name, or one value for all.
        names: of the outputs.
        aliases: other names of them, in the same order.
        lists: is each entry a list of its own (of metrics)?

    Raises:
        ValueError: a name is not that of an output, or there are too few or too many entries.
    """
    n = len(names)
    if isinstance(given, dict):
        known = {name: i for table in (aliases or [], names) for i, name in enumerate(table) if name is not None}
        found: list[Any] = [None] * n
        for key, value in given.items():
            if key not in known:
                raise ValueError(
                    f"[compile] {what} names an output that the model does not have. Received: {key!r}. The outputs "
                    f"are {', '.join(map(repr, dict.fromkeys(known)))}"
                )
            found[known[key]] = value
        return found
    if isinstance(given, (list, tuple)):
        if len(given) == n:
            return list(given)
        what_for = "a list of metrics per output" if lists else f"one {what} per output"
        raise ValueError(
            f"[compile] the model has {n} outputs: {what} must be {what_for}, or a dict by the outputs' names "
            f"{[name for name in names if name is not None]}. Received: {len(given)} entries, {given!r}"
        )
    return [given] * n


class CompiledLoss:
    """The loss of all outputs: the sum of each output's loss times its weight.

    Args:
        loss, loss_weights: as `compile` takes them.
        names: the outputs' names, where the model knows them.

    Attributes:
        trackers: with more than one loss, the mean of each, named `<output>_loss`.
    """

    def __init__(self, loss: Any, loss_weights: Any, names: list[str] | None):
        self._given, self._weights, self._known = loss, loss_weights, names
        self._entries: list[tuple[int, losses.Loss, float | None]] | None = None
        self.trackers: list[metric_room.Mean] = []
        if names is not None:
            self.resolve(list(names))
        elif not isinstance(loss, (list, tuple, dict)):
            self._check_weight(loss_weights)
            losses.get(loss)  # a bad name is found now

    def resolve(self, names: list[str | None]) -> None:
        """Finds each output's loss; names are those of the outputs."""
        self._names = names
        n = len(names)
        if n == 1 and not isinstance(self._given, dict):
            given = self._given
            while isinstance(given, (list, tuple)) and len(given) == 1:
                given = given[0]
            if isinstance(given, (list, tuple)):
                raise ValueError(f"[compile] the model has one output, and one loss. Received: loss={given!r}")
            chosen = [given]
        else:
            chosen = per_output("loss", self._given, names, self._known)
        weights = self._weights
        if isinstance(weights, (int, float)) and n > 1:
            raise ValueError(f"[compile] loss_weights must be a list or dict for {n} outputs. Received: {weights!r}")
        weights = per_output("loss_weights", weights, names, self._known)
        for w in weights:
            self._check_weight(w)
        made = [(i, losses.get(one), w) for i, (one, w) in enumerate(zip(chosen, weights)) if one is not None]
        self._entries = [(i, one, w) for i, one, w in made if one is not None]
        labels = unique(f"{names[i] if names[i] is not None else loss.name}_loss" for i, loss, _ in self._entries)
        self.trackers = [metric_room.Mean(name=label) for label in labels] if len(self._entries) > 1 else []

    @property
    def losses(self) -> list[Any]:
        """The Loss objects that are known so far, or what was given."""
        return flatten(self._given) if self._entries is None else [loss for _, loss, _ in self._entries]

    @property
    def binary(self) -> bool:
        """Is there one loss, a binary cross-entropy?"""
        given = self._given if self._entries is None else [loss for _, loss, _ in self._entries]
        while isinstance(given, (list, tuple)) and len(given) == 1:
            given = given[0]
        if isinstance(given, (list, tuple, dict)) or given is None:
            return False
        return getattr(losses.get(given), "fn", None) is losses.binary_crossentropy

    @staticmethod
    def _check_weight(w: Any) -> None:
        if w is not None and (isinstance(w, (bool, str)) or not hasattr(w, "__float__")):
            raise ValueError(f"[compile] loss_weights must be numbers. Received: {w!r}")

    def __call__(self, y: Any, y_pred: Any, sample_weight: Any = None) -> Tensor | None:
        """The total, without regularization; None if no output has a loss."""
        if self._entries is None or len(self._names) != len(flatten(y_pred)):
            self.resolve(output_names(y_pred, self._known))
        assert self._entries is not None
        if not self._entries:
            return None
        predictions = flatten(y_pred)
        targets = aligned("y", y, y_pred, self._names, self._known, [i for i, _, _ in self._entries])
        weights = spread(sample_weight, y_pred, self._names, self._known)
        total = None
        for at, (i, loss, weight) in enumerate(self._entries):
            if targets[i] is None:
                raise ValueError(
                    f"[fit] the loss of the output {self._names[i]!r} needs targets. Received: y without it"
                )
            value = loss(targets[i], predictions[i], weights[i])
            if value.ndim:
                value = ops.mean(value)
            if self.trackers:
                rows = predictions[i].shape[0] if predictions[i].ndim else 1
                self.trackers[at].update_state(value.detach(), scale=float(rows))
            if weight is not None:
                value = value * float(weight)
            total = value if total is None else total + value
        return total


class CompiledMetrics:
    """The metrics of all outputs.

    Args:
        metrics, weighted_metrics: as `compile` takes them.
        names: the outputs' names, where the model knows them.
    """

    def __init__(self, metrics: Any, weighted_metrics: Any, names: list[str] | None):
        self._given, self._known = {"metrics": metrics, "weighted_metrics": weighted_metrics}, names
        self._sets: dict[str, list[list[metric_room.Metric]]] | None = None
        self._names: list[str | None] = []
        if names is not None:
            self.resolve(list(names))
        elif not any(isinstance(v, dict) or any(map(_is_list, _as_list(v))) for v in self._given.values()):
            self.resolve([None])  # a subclass, which has one output until we see more

    @property
    def metrics(self) -> list[metric_room.Metric]:
        """All of them, the weighted ones last."""
        return [m for group in (self._sets or {}).values() for own in group for m in own]

    def resolve(self, names: list[str | None]) -> None:
        """Makes each output's metrics; names are those of the outputs."""
        self._names = names
        n = len(names)
        self._sets = {}
        taken: set[str] = set()
        for what, given in self._given.items():
            if given is not None and not isinstance(given, (list, tuple, dict)):
                given = [given]
            if not given:
                groups: list[Any] = [None] * n
            elif n == 1:
                groups = [[m for v in (given.values() if isinstance(given, dict) else given) for m in _as_list(v)]]
                if isinstance(given, dict):
                    per_output(what, given, names, self._known, lists=True)
            else:
                groups = per_output(what, given, names, self._known, lists=True)
            self._sets[what] = [
                _made(group, names[i] if n > 1 else None, taken, what) for i, group in enumerate(groups)
            ]

    def update(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch to all metrics."""
        names = output_names(y_pred, self._known)
        if self._sets is None or len(names) != len(self._names):
            self.resolve(names)
        assert self._sets is not None
        if not self.metrics:
            return
        wanted = [i for group in self._sets.values() for i, own in enumerate(group) if own]
        predictions = flatten(y_pred)
        targets = aligned("y", y, y_pred, names, self._known, wanted)
        weights = spread(sample_weight, y_pred, names, self._known)
        for i, p in enumerate(predictions):
            for m in self._sets["metrics"][i]:
                m.update_state(targets[i], p)
            for m in self._sets["weighted_metrics"][i]:
                m.update_state(targets[i], p, weights[i])


def _is_list(v: Any) -> bool:
    return isinstance(v, (list, tuple))


def _as_list(v: Any) -> list[Any]:
    return list(v) if isinstance(v, (list, tuple)) else [] if v is None else [v]


def _made(group: Any, prefix: str | None, taken: set[str], what: str) -> list[metric_room.Metric]:
    """The Metric objects of one output, named `<output>_<metric>`; a name that is taken gets weighted_, or a number."""
    found = []
    for identifier in _as_list(group):
        m = metric_room.get(identifier)
        plain = getattr(m, "_plain_name", m.name)  # a metric that is compiled twice is not named twice
        m._plain_name = plain
        name = f"{prefix}_{plain}" if prefix is not None else plain
        if name in taken and what == "weighted_metrics":
            name = f"{prefix}_weighted_{plain}" if prefix is not None else f"weighted_{plain}"
        base, count = name, 0
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        m.name = name
        found.append(m)
    return found


def unique(names: Iterable[str]) -> list[str]:
    """The names, a number behind those that come again."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        made.append(f"{name}_{count}" if count else name)
    return made


def aligned(
    what: str, y: Any, y_pred: Any, names: list[str | None], aliases: list[str] | None, wanted: list[int]
) -> list[Any]:
    """The leaf of y for each output, None where it has none.

    Args:
        wanted: which outputs need one; where only these are given, they are put in their places.

    Raises:
        ValueError: y names an output that the model does not have, or has too few or too many arrays.
    """
    n = len(names)
    if isinstance(y, dict):
        known = {name: i for table in (aliases or [], names) for i, name in enumerate(table) if name is not None}
        found: list[Any] = [None] * n
        for key, value in y.items():
            if key not in known:
                raise ValueError(
                    f"[fit] {what} is given for an output that the model does not have. Received: {key!r}. The outputs "
                    f"are {', '.join(map(repr, dict.fromkeys(known))) or 'without names: give a list'}"
                )
            found[known[key]] = value
        return found
    leaves = flatten(y)
    if len(leaves) == n:
        return leaves
    needed = sorted(set(wanted))
    if len(leaves) == len(needed):
        found = [None] * n
        for i, leaf in zip(needed, leaves):
            found[i] = leaf
        return found
    raise ValueError(
        f"[fit] the model has {n} output{'s' if n > 1 else ''}"
        f"{': ' + ', '.join(map(str, names)) if None not in names else ''}. Received: {len(leaves)} "
        f"array{'s' if len(leaves) != 1 else ''} in {what}. Give a list in this order, or a dict by name"
    )


def spread(sample_weight: Any, y_pred: Any, names: list[str | None], aliases: list[str] | None) -> list[Any]:
    """The sample weights of each output; one array is for all of them."""
    if sample_weight is None or not isinstance(sample_weight, (list, tuple, dict)):
        return [sample_weight] * len(names)
    return aligned("sample_weight", sample_weight, y_pred, names, aliases, list(range(len(names))))
