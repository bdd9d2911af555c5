"""The tape: how gradients find their way back.

A tensor that depends on something differentiable carries its `Node`: the op that made it, the inputs, what the op
saved. Nodes are numbered as they are made, so walking them by falling number visits every consumer before its producer.
Nothing global holds a node: drop the result and its history is gone.
"""

import itertools
import operator
import threading
import weakref
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nnfast import device

if TYPE_CHECKING:
    from nnfast.tensor import Tensor

_numbers = itertools.count()
_number = operator.attrgetter("number")


class Node:
    """How a tensor was made: the op, the nodes of its inputs (None: a constant), what the op saved.

    Nodes, not tensors: what counts is what an input was when it was used, not what became of it later. A leaf (a
    trainable Variable, a watched tensor) has no op, and a weak reference to its tensor as `saved`.
    """

    __slots__ = ("inputs", "number", "op", "saved", "versions")

    def __init__(
        self,
        op: Any = None,
        inputs: "Sequence[Node | None]" = (),
        saved: Any = None,
        versions: Sequence[Any] = (),
    ):
        self.op, self.saved, self.versions = op, saved, versions
        self.inputs: Sequence[Node | None] | None = inputs  # None once a backward pass has used them up
        self.number = next(_numbers)


def leaf(tensor: "Tensor") -> Node:
    """A new node of something to differentiate by."""
    return Node(saved=weakref.ref(tensor))


class _SecondDerivative:
    """Stands where the gradient of a gradient would begin."""

    name = "gradient"
    takes_deferred = False

    def gradient(self, dy: Any, saved: Any, needs: Any) -> Any:
        raise NotImplementedError(
            "[gradient] second derivatives are not supported: this value depends on a gradient that was itself taken "
            "inside an open GradientTape. Take the first gradient outside, or under nnfast.no_grad()."
        )


_second_derivative = _SecondDerivative()


class Deferred:
    """A gradient that is not computed yet. An op whose class says `takes_deferred` may know a shorter way to what it
    wants; everywhere else `value()` is taken in its place."""

    def value(self) -> Any:
        """The gradient as an array."""
        raise NotImplementedError

    def through(self, activation: int, slope: float, needs_db: bool) -> tuple[Any, Any]:
        """The gradient by z and by b of activation(z + b), and None if nobody needs that by b."""
        raise NotImplementedError


def _value(gradient: Any) -> Any:
    return gradient.value() if isinstance(gradient, Deferred) else gradient


class _Local(threading.local):
    def __init__(self) -> None:
        self.recording = True
        self.tapes: list[GradientTape] = []  # the open ones of this thread


local = _Local()


@contextmanager
def no_grad():
    """Inside, results carry no history, so nothing can be differentiated and nothing is kept.

    >>> import nnfast
    >>> w = nnfast.Variable([2.0])
    >>> with nnfast.no_grad():
    ...     y = w * w
    >>> y.node is None
    True
    """
    before, local.recording = local.recording, False
    try:
        yield
    finally:
        local.recording = before


def walk(
    target: "Tensor", seed: Any, wanted: Sequence[Node] | None, keep: bool, first: int = -1, last: int | None = None
) -> dict[Node, Any]:
    """Gradients of sum(seed * target) for the nodes in `wanted` (None: all leaves), by node; absent where target does
    not depend on it.

    Nodes numbered outside [first, last) count as constants. Only what lies between target and `wanted` is visited;
    unless `keep`, what those nodes saved is dropped on the way.
    """
    root = target.node
    if root is None:
        return {}
    want = None if wanted is None else set(wanted)
    if want:
        first = max(first, 1 + min(n.number for n in want))  # what is older depends on none of them
    last = root.number + 1 if last is None else last
    ways = _ways(root, want, first, last)
    between = set(ways)
    found: dict[Node, Any] = {}
    pending: dict[Node, Any] = {root: seed}
    k = device.kernels
    for node in ways:
        dy = pending.pop(node)
        if node.op is None if want is None else node in want:
            found[node] = dy = _value(dy)
        if node.op is None or not first <= node.number < last:
            continue
        if node.inputs is None:
            raise RuntimeError(
                f"[gradient] the history of '{node.op.name}' was used up by an earlier backward pass. "
                "Use GradientTape(persistent=True), backward(persistent=True), or with nnfast.nn "
                "backward(retain_graph=True), to go back more than once."
            )
        needs = [x in between for x in node.inputs]
        if node.inputs and True not in needs:
            continue  # it is wanted itself
        for variable, version in node.versions:
            if k.version(variable.data) != version:
                raise RuntimeError(
                    f"[gradient] the Variable {variable.name!r} was changed between the forward and the backward pass "
                    f"of '{node.op.name}', so its gradient would be wrong. Take the gradient before changing it."
                )
        if dy.__class__ is not np.ndarray and not node.op.takes_deferred:
            dy = _value(dy)
        grads = node.op.gradient(dy, node.saved, needs)
        for i, (x, need, g) in enumerate(zip(node.inputs, needs, grads)):
            if x is None or not need:
                continue
            if g is None:
                raise NotImplementedError(
                    f"[gradient] '{node.op.name}' takes its operand {i} as a constant: it has no gradient by it. "
                    "Received: an operand that depends on what is differentiated by. Give it as x.detach()"
                )
            pending[x] = k.add(_value(pending[x]), _value(g)) if x in pending else g
        if not keep:
            node.inputs = node.saved = None
        del grads, dy
    return found


def _ways(root: Node, want: set[Node] | None, first: int, last: int) -> list[Node]:
    """The nodes through which root depends on the wanted ones (None: on any), by falling number: consumers first."""
    seen, todo, ends = {root}, [root], []
    for node in todo:
        if node.op is None or not first <= node.number < last:
            ends.append(node)
            continue
        for x in node.inputs or ():
            if x is not None and x not in seen:
                seen.add(x)
                todo.append(x)
    todo.sort(key=_number)
    if want is not None and not want.issuperset(ends):
        useful: set[Node] = set()
        blind = set(ends)
        for node in todo:
            # Of a used-up node (None), and of a gradient (), nobody knows what they depend on.
            if node in want or (node not in blind and (not node.inputs or not useful.isdisjoint(node.inputs))):
                useful.add(node)
        todo = [node for node in todo if node in useful]
    todo.reverse()
    return todo


def backward(target: "Tensor", gradient: Any = None, persistent: bool = False) -> None:
    """Adds d target / d v to `v.grad` of every trainable Variable (and watched tensor) that target depends on."""
    if target.node is None:
        raise RuntimeError(
            "[backward] this tensor depends on no trainable Variable, so there is nothing to differentiate. "
            "Was it computed under no_grad(), or from Variables with trainable=False?"
        )
    if gradient is None and target.size != 1:
        raise ValueError(
            f"[backward] without gradient= the tensor must be a scalar. Received: shape {target.shape}. "
            "Reduce it first, e.g. loss.mean().backward()"
        )
    for node, grad in walk(target, _seed(target, gradient), None, persistent).items():
        owner = node.saved()
        if owner is not None:
            owner._accumulate_grad(grad)
            if local.tapes and local.recording:
                owner.grad.node = Node(_second_derivative)


_units: dict[Any, Any] = {}
device.after_a_move.append(_units.clear)


def unit(dtype: Any) -> Any:
    """The gradient of a scalar by itself: one constant 1 for each dtype."""
    if dtype not in _units:
        one = np.ones((), dtype)
        one.flags.writeable = False
        _units[dtype] = device.put(one)
    return _units[dtype]


def is_unit(dy: Any) -> bool:
    """Is dy the tape's own constant 1? Then an op that saved its gradient need not multiply it."""
    return dy is _units.get(dy.dtype)


def _seed(target: "Tensor", gradient: Any) -> Any:
    if gradient is None and target.data.ndim == 0:
        return unit(target.dtype)
    if gradient is None:
        return device.put(np.ones(target.shape, target.dtype))
    from nnfast.tensor import Tensor

    if isinstance(gradient, Tensor) or device.foreign(gradient):  # copied where it lies
        data = device.kernels.cast(Tensor(gradient).data, target.dtype)
    else:
        data = device.put(np.array(gradient, target.dtype))  # a copy: it may be a result
    if data.shape != target.shape:
        raise ValueError(
            "[gradient] the output gradient must have the shape of the target. "
            f"Received: {data.shape}, target {target.shape}"
        )
    return data


class GradientTape:
    """Records what is computed inside `with`, and differentiates it (the interface of TensorFlow's tape).

    Args:
        persistent: may `gradient` be called more than once?
        watch_accessed_variables: if False, only what `watch` names can be differentiated.

    >>> import nnfast
    >>> w = nnfast.Variable(3.0)
    >>> with nnfast.GradientTape() as tape:
    ...     y = w * w
    >>> tape.gradient(y, w).item()
    6.0
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True):
        self.persistent, self.watch_accessed_variables = persistent, watch_accessed_variables
        self._watched: set[Node] = set()
        self._first, self._last, self._used, self._open = 0, 0, False, False
        self._frozen: list[Any] = []  # Variables that are not trainable, and watched
        self._others: list[weakref.ref[GradientTape]] = []  # that recorded some of the same nodes

    def __enter__(self) -> "GradientTape":
        if self._open:
            raise RuntimeError("[GradientTape] this tape is already open")
        self._first, self._used, self._open = next(_numbers), False, True
        for other in local.tapes:
            other._others = [r for r in other._others if r() is not None] + [weakref.ref(self)]
        self._others = [weakref.ref(other) for other in local.tapes]
        local.tapes.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._last, self._open = next(_numbers), False
        local.tapes.remove(self)
        for variable in self._frozen:
            variable.trainable = False
        self._frozen.clear()

    def watch(self, tensor: Any) -> None:
        """Makes a tensor (or a list of them) something to differentiate by."""
        for x in tensor if isinstance(tensor, (list, tuple)) else (tensor,):
            if not hasattr(x, "node"):
                raise TypeError(
                    f"[GradientTape.watch] only Tensors can be watched. Received: {type(x).__name__}. "
                    "Wrap it: nnfast.Tensor(x)"
                )
            if x.dtype.kind != "f":
                raise TypeError(
                    f"[GradientTape.watch] only float tensors can be differentiated by. Received: {x.dtype}"
                )
            if x.node is None:
                if hasattr(x, "leaf"):  # a Variable: it is trainable again only until the tape closes
                    self._frozen.append(x)
                x.make_leaf()
            if hasattr(x, "logits"):
                del x.logits  # a loss would compute from them, past x
            self._watched.add(x.node)

    @contextmanager
    def stop_recording(self):
        """Inside, nothing is recorded."""
        with no_grad():
            yield

    def reset(self) -> None:
        """Forgets what was recorded so far."""
        self._first, self._used = next(_numbers), False
        self._watched.clear()

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None) -> Any:
        """d sum(target) / d source for each source: a Tensor, or None where target does not depend on it.

        Args:
            target: a Tensor, or a list of Tensors whose gradients are added.
            sources: a Tensor or Variable, or a list, tuple or dict of them; the result has the same structure.
            output_gradients: weights of the target's elements, of its shape. Default: ones.
        """
        from nnfast.tensor import Tensor, Variable

        if self._used and not self.persistent:
            raise RuntimeError(
                "[GradientTape.gradient] a tape that is not persistent gives its gradients once. "
                "Use GradientTape(persistent=True) to ask again."
            )
        flat = (
            list(sources.values())
            if isinstance(sources, dict)
            else list(sources)
            if isinstance(sources, (list, tuple))
            else [sources]
        )
        for s in flat:
            if not isinstance(s, Tensor):
                raise TypeError(
                    f"[GradientTape.gradient] sources must be Tensors or Variables. Received: {type(s).__name__}"
                )
        nodes = [s.leaf if isinstance(s, Variable) else s.node for s in flat]
        usable = [
            n is not None and (self.watch_accessed_variables or not isinstance(s, Variable) or n in self._watched)
            for s, n in zip(flat, nodes)
        ]
        wanted = [n for n, ok in zip(nodes, usable) if ok and n is not None]
        targets = target if isinstance(target, (list, tuple)) else [target]
        for t in targets:
            if not isinstance(t, Tensor):
                raise TypeError(
                    "[GradientTape.gradient] target must be a Tensor that was computed inside the tape, or a list of "
                    f"them. Received: {type(t).__name__}"
                )
        seeds = output_gradients if isinstance(output_gradients, (list, tuple)) else [output_gradients] * len(targets)
        if len(seeds) != len(targets):
            raise ValueError(
                "[GradientTape.gradient] output_gradients must have one entry per target. "
                f"Received: {len(seeds)} for {len(targets)}"
            )
        weights = [_seed(t, g) for t, g in zip(targets, seeds)]
        self._used = True
        keep = self.persistent or any(tape is not None and tape._waits() for tape in (r() for r in self._others))
        last = None if self._open else self._last
        total: dict[Node, Any] = {}
        for i, (t, seed) in enumerate(zip(targets, weights)):
            for node, grad in walk(t, seed, wanted, keep or i + 1 < len(targets), self._first, last).items():
                total[node] = device.kernels.add(total[node], grad) if node in total else grad
        grads = [self._result(total.get(n)) if ok and n is not None else None for n, ok in zip(nodes, usable)]
        if isinstance(sources, dict):
            return dict(zip(sources, grads))
        return grads if isinstance(sources, (list, tuple)) else grads[0]

    def _waits(self) -> bool:
        """May `gradient` still be called?"""
        return self.persistent or not self._used

    def _result(self, grad: Any) -> Any:
        from nnfast.tensor import wrap

        if grad is None:
            return None
        return wrap(grad, Node(_second_derivative) if local.tapes and local.recording else None)
