"""How a model's steps run: in Python at first, and from the second batch of one shape on by replaying a plan.

The first batch of a shape runs eagerly: it builds what is not built yet. The second one is captured (`nnfast.graph`),
which runs it as well. All later ones are replays: one call of C++ for as many steps as nobody wants to see one by one.
Eager steps and replays give the same bits.

Only code of nnfast is captured by default, since what Python decides is frozen in a plan; a model with code of its
user (a subclass, a Lambda, a loss function, ...) stays eager unless it is compiled with `jit_compile=True`.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nnfast import device, graph, ops
from nnfast.layers.nested import flatten, map_structure, pack
from nnfast.models.data import Batch, Pending, pack_x_y_sample_weight, structured, tagged
from nnfast.tensor import wrap

_SECONDS = 0.05  # of one call of C++: how long a Ctrl-C or the progress bar may have to wait
_KEPT = 8  # plans of one model


class StepPlan:
    """The plan of a step for batches of one shape, and the slots through which it is fed and gives its outputs."""

    def __init__(self, source: "Source", weights: Any):
        self.rows, self.weights = source.rows, weights
        self.slots: list[Any] = []  # of the order, of each array, of each output
        self.outputs: Any = None  # of `predict`: their structure, and the dtype and shape of the rows of each
        self.status = ops.new_status()
        self.cursor = ops.counter(source.start)
        self.first = device.put(np.arange(source.rows))  # the order of an array that is one batch
        self.setting = _setting()
        self.plan: Any = None
        self.places: list[Any] = []  # on a GPU: of the order and arrays of a batch that came alone
        self.placing = threading.Lock()

    def slot(self, array: Any) -> Any:
        """A new slot, with this array in it."""
        self.slots.append(ops.slot(array))
        return self.slots[-1]

    def placed(self, arrays: list[Any]) -> list[Any]:
        """The arrays of a batch that came alone, where those before lay: a graph holds addresses."""
        if not self.places:
            self.places = [self.first, *(device.empty(a.shape, a.dtype) for a in arrays[1:])]
        for place, a in zip(self.places[1:], arrays[1:]):
            device.write(place, a)
        return self.places

    def gather(self, source: "Source") -> Batch:
        """A batch, its arrays reached through slots: what a capture begins with."""
        rows = ops.next_rows(self.slot(source.order), self.cursor, self.rows)
        parts = []
        for structure, leaves, dtypes in zip(source.parts, source.arrays, source.dtypes):
            made = [None if a is None else ops.rows_of(self.slot(a), rows, d) for a, d in zip(leaves, dtypes)]
            parts.append(pack(structure, made))
        return parts[0], parts[1], parts[2]


class Source:
    """Where the rows of a batch are: arrays, an order, and where to begin in it."""

    def __init__(self, batch: Any):
        self.parts: list[Any]
        self.arrays: list[list[Any]]
        if isinstance(batch, Pending):
            data = batch.data
            self.parts, self.arrays, self.dtypes = data.parts, data.there, data.dtypes
            self.order, self.start, self.rows, self.alike = data.order_there, batch.start, batch.rows, batch.alike
            alone = batch.alone
        else:  # what a generator gave
            found = [structured("fit", "batch", part) for part in batch]
            self.parts, self.arrays = [structure for structure, _ in found], [leaves for _, leaves in found]
            self.dtypes = [[None] * len(leaves) for leaves in self.arrays]
            self.rows = len(self.arrays[0][0])
            self.order, self.start, self.alike = np.arange(self.rows), 0, 1
            alone = True
        self.alone = alone and device.get_device() == "cuda"

    @property
    def regular(self) -> bool:
        """Do all arrays have as many rows? What is wrong with others, an eager step says."""
        n = len(self.arrays[0][0])
        return all(len(a) == n for leaves in self.arrays for a in leaves if a is not None)

    def key(self) -> Any:
        """What a plan depends on."""
        kinds = tuple(
            tuple(None if a is None else (a.dtype, a.shape[1:], d) for a, d in zip(leaves, dtypes))
            for leaves, dtypes in zip(self.arrays, self.dtypes)
        )
        return self.rows, kinds, repr(self.parts) if any(p is not None for p in self.parts) else ""

    def fed(self) -> list[Any]:
        """The arrays, in the order of a plan's slots."""
        return [self.order, *(a for leaves in self.arrays for a in leaves if a is not None)]


class Steps:
    """Runs the steps of one call of `fit` or `evaluate`.

    Args:
        model: its model.
        kind: "train", "test" or "predict".
        name: of the method that the user has called, for errors.
        step: `model.train_step` or its like.
        weights: class weights, or None.
    """

    def __init__(self, model: Any, kind: str, name: str, step: Callable[[Any], Any], weights: Any = None):
        self.model, self.kind, self.name, self.step, self.weights = model, kind, name, step, weights
        self.eager = eager_reason(model, kind) is not None

    def run(
        self, batch: Any, epoch: int | None = None, number: int = 0, stream: Any = None, most: int = sys.maxsize
    ) -> tuple[Any, int]:
        """Runs the step of this batch and, if nobody listens, of at most `most` that follow and are alike.

        Args:
            batch: a `Pending` batch, or tensors x, y and sample_weight.
            epoch, number, stream: where we are, for errors.

        Returns:
            What the last step returned, and how many there were.
        """
        model = self.model
        if self.eager:
            return self._eagerly(batch, epoch, number, stream), 1
        source = Source(batch)
        if not source.regular:
            return self._eagerly(batch, epoch, number, stream), 1
        key = (self.kind, _setting(), id(self.weights), source.key())
        known = model._plans.get(key)
        if known is not None and known.plan.current:
            done, found = self._replayed(known, source, min(most, source.alike))
            if found is not None:
                self._stopped(found, batch, done, epoch, number, stream)
            if done > 0:
                return self._result(known, source, done), done
        elif model._seen.get(key) == graph.generation():
            return self._captured(source, key, batch, epoch, number, stream), 1
        result = self._eagerly(batch, epoch, number, stream)
        if len(model._seen) > 64:
            model._seen.clear()
        model._seen[key] = graph.generation()
        return result, 1

    def _gathered(self, batch: Any) -> Batch:
        made = batch.gather() if isinstance(batch, Pending) else batch
        return made if self.weights is None else self.weights.apply(made)

    def _eagerly(self, batch: Any, epoch: int | None, number: int, stream: Any) -> Any:
        return self.model._guarded(self.step, self._gathered(batch), self.name, epoch, number, stream)

    def _captured(self, source: Source, key: Any, batch: Any, epoch: int | None, number: int, stream: Any) -> Any:
        """Runs the step, and keeps its plan."""
        model = self.model
        made = StepPlan(source, self.weights)
        constant = self.kind != "train"
        with graph.capture(made.status, made.cursor.data, strict=False, constant=constant) as plan:
            with ops.use_status(made.status), tagged(self.name):
                x = made.gather(source)
                if self.weights is not None:
                    x = self.weights.apply(x)
                result = self._finish(made, source, self.step(pack_x_y_sample_weight(*x)))
            del x
            model.clear_losses()  # a replay would write to what activity regularizers have left there
            ops.advance(made.cursor, source.rows, status=made.status)
        for slot in made.slots:
            slot.unbind()
        found = device.host(made.status)
        if found[0]:
            self._stopped(found, batch, 0, epoch, number, stream)
        if plan.reason:
            self._refused(plan.reason)
        else:
            made.plan = plan
            self._keep(key, made)
        return result

    def _keep(self, key: Any, made: StepPlan) -> None:
        plans = self.model._plans
        plans[key] = made
        while len(plans) > _KEPT:
            plans.pop(list(plans)[0], None)  # noqa: RUF015 (several threads may be here)

    def _finish(self, made: StepPlan, source: Source, result: Any) -> Any:
        """What a captured step returns."""
        return result

    def _result(self, known: StepPlan, source: Source, done: int) -> Any:
        """What a replay returns."""
        return self.model._results()

    def _bindings(self, known: StepPlan, source: Source) -> list[Any]:
        return known.placed(source.fed()) if source.alone else source.fed()

    def _refused(self, reason: str) -> None:
        """There is no plan: says why, once."""
        model = self.model
        self.eager = True
        if model.jit_compile is True:
            raise graph.CaptureError(f"[{self.name}] jit_compile=True, but the step cannot be captured: {reason}")
        if model._eager is None:
            model._eager = reason
            warnings.warn(f"[{self.name}] steps run one by one in Python: {reason}", UserWarning, stacklevel=6)

    def _replayed(self, known: StepPlan, source: Source, most: int) -> tuple[int, Any]:
        if not source.alone:
            return self._started(known, source, most)
        if not known.placing.acquire(blocking=False):  # another thread's batch lies there
            return -1, None
        try:
            return self._started(known, source, most)
        finally:
            known.placing.release()

    def _started(self, known: StepPlan, source: Source, most: int) -> tuple[int, Any]:
        bindings = list(zip(known.slots, self._bindings(known, source)))
        return known.plan.replay(most, seconds=_SECONDS, bindings=bindings, start=source.start, wait=False)

    def _stopped(self, found: Any, batch: Any, done: int, epoch: int | None, number: int, stream: Any) -> None:
        """Raises what the eager step would have raised. With the status set, the step leaves nothing behind."""
        if isinstance(batch, Pending):
            batch = batch.later(done)
            if stream is not None:
                stream.at += done
        self.model._raise(np.array(found), self._gathered(batch), self.name, epoch, number + done, stream)


class Predictions(Steps):
    """Runs the steps of one call of `predict`, and collects what they give.

    Args:
        rows: of the data, where that is known: the results are then written where they belong.
    """

    def __init__(self, model: Any, rows: int | None, name: str = "predict"):
        super().__init__(model, "predict", name, model.predict_step)
        self.rows = rows
        self._status = ops.new_status()  # of its own: several threads may predict
        self._structure: Any = None
        self._parts: list[list[Any]] = []  # one for all batches where rows is known, else one for each

    @staticmethod
    def at_once(model: Any, x: Any, most: Any = sys.maxsize) -> np.ndarray | None:
        """The output for an array of one batch (of at most so many rows), if a plan for it is at hand: in microseconds.
        None: there is none."""
        known = model._at_once.get((x.shape, x.dtype)) if x.__class__ is np.ndarray else None
        if known is None or not known.plan.current or known.setting != _setting():
            return None
        if most.__class__ is not int or known.rows > most:
            return None
        dtype, shape = known.outputs[1][0]
        y = device.empty((known.rows, *shape), dtype)
        bindings = list(zip(known.slots, (known.first, x, y)))
        done, _ = known.plan.replay(1, bindings=bindings, start=0, wait=False)
        return device.host(y) if done == 1 else None

    def _keep(self, key: Any, made: StepPlan) -> None:
        super()._keep(key, made)
        (dtype, features, _), *others = key[3][1][0]
        if made.outputs[0] is None and not others:
            if len(self.model._at_once) >= _KEPT:
                self.model._at_once.clear()
            self.model._at_once[(made.rows, *features), dtype] = made

    def _eagerly(self, batch: Any, epoch: int | None, number: int, stream: Any) -> Any:
        gathered = self._gathered(batch)
        with ops.use_status(self._status):
            outputs = self.step(pack_x_y_sample_weight(*gathered))
        found = device.host(self._status)
        if found[0]:
            self.model._raise(found, gathered, self.name, epoch, number, stream)
        leaves, start = flatten(outputs), batch.start if isinstance(batch, Pending) else 0
        n = batch.rows if isinstance(batch, Pending) else len(flatten(batch)[0])
        self._structure = map_structure(lambda t: None, outputs)
        if any(t.ndim == 0 or t.shape[0] != n for t in leaves):
            self._parts.append([t.numpy() for t in leaves])
            self.rows = None
            return outputs
        for t, a in zip(leaves, self._room(n, [(t.dtype, t.shape[1:]) for t in leaves])):
            device.write(a[start : start + n], t.data)
        return outputs

    def _room(self, n: int, kinds: Any) -> list[Any]:
        """The arrays for the outputs of a batch of n rows."""
        if self.rows is None or not self._parts:
            self._parts.append([device.empty((self.rows or n, *shape), dtype) for dtype, shape in kinds])
        return self._parts[-1]

    def _finish(self, made: StepPlan, source: Source, result: Any) -> Any:
        leaves = flatten(result)
        if any(t.ndim == 0 or t.shape[0] != source.rows for t in leaves):
            graph.reading("an output without a row per sample")
            return map_structure(lambda t: t.detach(), result)
        self._structure = map_structure(lambda t: None, result)
        made.outputs = self._structure, [(t.dtype, t.shape[1:]) for t in leaves]
        arrays = self._room(source.rows, made.outputs[1])
        for t, a in zip(leaves, arrays):
            ops.put_rows(t, made.slot(a), made.cursor)
        return self._rows(source)

    def _bindings(self, known: StepPlan, source: Source) -> list[Any]:
        self._structure, kinds = known.outputs
        return [*super()._bindings(known, source), *self._room(source.rows, kinds)]

    def _result(self, known: StepPlan, source: Source, done: int) -> Any:
        return self._rows(source)

    def _rows(self, source: Source) -> Any:
        """The outputs of a batch, for callbacks."""
        rows = slice(source.start, source.start + source.rows)
        return pack(self._structure, [wrap(a[rows]) for a in self._parts[-1]])

    def result(self) -> Any:
        """All outputs, in their structure."""
        if not self._parts:
            raise ValueError("[predict] the data gave no batch")
        parts = [[device.host(a) for a in part] for part in self._parts]
        joined = parts[0] if len(parts) == 1 else [np.concatenate(p) for p in zip(*parts)]
        return pack(self._structure, joined)


def _setting() -> Any:
    """What this thread computes with."""
    return device.get_device(), device.settings.matmul_precision


# ---- what may be captured ----


def eager_reason(model: Any, kind: str) -> str | None:
    """Why the steps of a model are not captured, or None."""
    if not graph.available():
        return f"the device {device.get_device()!r} does not capture"
    if model.run_eagerly:
        return "run_eagerly=True"
    if model._eager is not None:
        return model._eager
    if model.jit_compile is True:
        return None
    known = model._foreign
    if known is None or known[0] != graph.generation():
        known = model._foreign = (graph.generation(), {})
    if kind not in known[1]:
        known[1][kind] = next((f"{what} is no code of nnfast" for what in _foreign(model, kind)), None)
    return known[1][kind]


def _foreign(model: Any, kind: str) -> Iterable[str]:
    """What a step would run that is not nnfast's own."""
    for layer in model._flatten_layers():
        if not _ours(type(layer)):
            yield f"the class {type(layer).__name__}"
        for key, value in vars(layer).items():
            if callable(value) and not key.endswith("initializer") and (not _ours(value) or _overrides(layer, key)):
                yield f"{layer.name}.{key}"
    if kind == "predict":
        return
    for v in model.weights:
        for what in (v.regularizer, v.constraint):
            if what is not None and not _ours(what):
                yield f"the regularizer or constraint of {v.path}"
    for m in [*model.metrics, *(model._loss.losses if model._loss is not None else ())]:
        if not isinstance(m, str) and (not _ours(m) or not all(map(_ours, filter(callable, vars(m).values())))):
            yield f"the loss or metric {getattr(m, 'name', m)!r}"
    if kind == "train" and model.optimizer is not None:
        optimizer = model.optimizer
        own = [key for key, f in vars(optimizer).items() if callable(f) and key != "_rule"]
        if not _ours(type(optimizer)) or any(
            _overrides(optimizer, key) or not _ours(vars(optimizer)[key]) for key in own
        ):
            yield "the optimizer"


def _overrides(thing: Any, key: str) -> bool:
    """Does an attribute stand before a method of the class?"""
    return callable(getattr(type(thing), key, None))


def _ours(thing: Any) -> bool:
    """Is it code of nnfast: a class or function, or an object of such a class?"""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return module is not None and (module == "nnfast" or module.startswith("nnfast."))
