"""Optimizer: what all optimizers share. The options, the state by Keras's names and order, and the course of a step.

The arithmetic of a step is in kernels. Learning rate and step count are buffers that they read; whether this is the
n-th step of an accumulation, and whether the averages overwrite the weights, is decided in kernels, too.
"""

import inspect
import operator
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nnfast import device, graph, initializers, naming, ops
from nnfast.optimizers import schedules
from nnfast.tape import no_grad
from nnfast.tensor import Tensor, Variable, as_array


class Optimizer(graph.Watched):
    """Base class: subclass it, make state in `build`, and define `update_step(gradient, variable, learning_rate)`.

    Args:
        learning_rate: a float, a `schedules.LearningRateSchedule`, or a function without arguments.
        weight_decay: None, or the rate at which weights shrink: w -= w * weight_decay * learning_rate before each step.
        clipnorm: the norm of each variable's gradient is cut to this.
        clipvalue: each element of a gradient is cut to [-clipvalue, clipvalue].
        global_clipnorm: the norm of all gradients together is cut to this. Only one of the three clippings may be set.
        use_ema: keep moving averages of the weights; `finalize_variable_values` (fit's end) puts them in their place.
        ema_momentum: average = ema_momentum * average + (1 - ema_momentum) * weight.
        ema_overwrite_frequency: None, or after how many steps the weights become their averages during training.
        loss_scale_factor: None, or what the loss is multiplied by (`scale_loss`) and the gradients are divided by.
        gradient_accumulation_steps: None, or how many calls of `apply` (at least 2) make one step with the mean of
            their gradients.
        name: begins the paths of the state.
        **kwargs: `lr`, the old spelling of learning_rate; `decay`, the old rule
            learning_rate / (1 + decay * iterations); `jit_compile`, accepted and without effect.

    Attributes:
        built: has the state been made?
        learning_rate: the rate of the next step, a float64 Variable. Assign a number to change it.
        iterations: how many steps were done.

    >>> import nnfast
    >>> class Descent(nnfast.optimizers.Optimizer):
    ...     def update_step(self, gradient, variable, learning_rate):
    ...         self.assign_sub(variable, float(learning_rate) * gradient)
    >>> w = nnfast.Variable([1.0])
    >>> Descent(0.5).apply([nnfast.tensor([1.0])], [w])
    >>> w.numpy()
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        tag = type(self).__name__
        learning_rate = self._old_spellings(tag, learning_rate, kwargs)
        clippings = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {k: v for k, v in clippings.items() if v is not None}
        if len(given) > 1:
            listed = ", ".join(f"{k}={v}" for k, v in clippings.items())
            raise ValueError(
                f"[{tag}] only one of clipnorm, clipvalue and global_clipnorm can be set. Received: {listed}"
            )
        if loss_scale_factor is not None:
            given["loss_scale_factor"] = loss_scale_factor
        for option, value in given.items():
            if not value > 0:
                raise ValueError(f"[{tag}] {option} must be positive. Received: {value}")
        unit_interval(tag, ema_momentum=ema_momentum)
        for option, count, least in (
            ("ema_overwrite_frequency", ema_overwrite_frequency, 1),
            ("gradient_accumulation_steps", gradient_accumulation_steps, 2),
        ):
            if count and (not isinstance(count, (int, np.integer)) or count < least):
                raise ValueError(f"[{tag}] {option} must be None or an integer >= {least}. Received: {count!r}")
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.name = name or naming.auto_name(naming.to_snake_case(tag))
        self.built = False
        self._clipping = {  # in the words of ops.clip_gradients
            word: float(value)
            for word, value in (("norm", clipnorm), ("value", clipvalue), ("global_norm", global_clipnorm))
            if value is not None
        }
        self._iterations = self._named(Variable(0, False, "int64", "iteration"))
        self._rule: Any = None  # a schedule or a function that the learning rate comes from
        self._rate = self._named(Variable(0.0, False, "float64", "learning_rate"))
        if callable(learning_rate):
            self._rule = learning_rate
        else:
            self._rate.assign(_rate(tag, learning_rate))
        self._own: list[Variable] = []  # the state, in the order in which it was made
        self._state: dict[str, list[Variable]] = {}
        self._trainable: list[Variable] = []
        self._all: list[int] = []  # the places of all variables
        self._index_state()
        self._no_decay: list[Variable] | None = None
        self._no_decay_names: re.Pattern[str] | None = None
        self._turns = self._iterations  # the step count that the rules see
        self._gate: Any = None  # a status array that opens in the last step of an accumulation

    def _old_spellings(self, tag: str, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
        kwargs.pop("jit_compile", None)
        if "lr" in kwargs:
            default = inspect.signature(type(self)).parameters.get("learning_rate")
            if default is not None and learning_rate != default.default:
                raise TypeError(f"[{tag}] lr= is the old name of learning_rate=. Received both")
            warnings.warn(f"[{tag}] lr= is deprecated. Use learning_rate=", DeprecationWarning, stacklevel=4)
            learning_rate = kwargs.pop("lr")
        decay = kwargs.pop("decay", None)
        if kwargs:
            import difflib

            close = difflib.get_close_matches(next(iter(kwargs)), inspect.signature(type(self)).parameters, 1, 0.6)
            hint = f". Did you mean {close[0]}=?" if close else ""
            raise TypeError(f"[{tag}] unknown argument. Received: {', '.join(kwargs)}{hint}")
        if not decay:
            return learning_rate
        if callable(learning_rate):
            raise TypeError(f"[{tag}] decay= needs a number as learning_rate. Received: {learning_rate!r}")
        warnings.warn(
            f"[{tag}] decay= is deprecated. It is now "
            f"learning_rate=schedules.InverseTimeDecay({learning_rate}, 1, {decay})",
            DeprecationWarning,
            stacklevel=4,
        )
        return schedules.InverseTimeDecay(_rate(tag, learning_rate), 1, decay)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without what `_index_state` makes."""
        return {k: v for k, v in vars(self).items() if k not in ("_weights", "_state_arrays", "_places", "_moves")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._index_state()

    def _index_state(self) -> None:
        """The arrays of the variables, which keep one address until the device changes, and their places."""
        self._moves = device.moves
        self._weights = [v.data for v in self._trainable]
        self._state_arrays = {name: [v.data for v in made] for name, made in self._state.items()}
        self._places = {id(v): i for i, v in enumerate(self._trainable)}

    # ---- learning rate and counters ----
    @property
    def learning_rate(self) -> Variable:
        """The learning rate of the next step, a float64 Variable. Assigning a number changes it from then on."""
        self._write_rate()
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        tag = type(self).__name__
        if callable(value):
            self._rule = value
            graph.changed()
        elif self._rule is not None:
            raise TypeError(
                f"[{tag}] the learning rate follows {self._rule!r} and cannot be set to a number. "
                "Make the optimizer with a number, or assign another schedule"
            )
        else:
            self._rate.assign(_rate(tag, value))

    lr = learning_rate

    def _write_rate(self) -> None:
        """Writes the rule's value, if there is a rule, into the buffer that kernels read."""
        tag = type(self).__name__
        if isinstance(self._rule, schedules.LearningRateSchedule):
            ops.follow(self._rate, lambda i: _rate(tag, self._rule(Tensor(device.host(self._iterations.data) + i))))
        elif self._rule is not None:
            ops.follow(self._rate, lambda i: _rate(tag, self._rule()), most=1)

    @property
    def iterations(self) -> Tensor:
        """How many steps were done: calls of `apply`, or full accumulations."""
        if self.gradient_accumulation_steps:
            return Tensor(np.array(int(self._iterations) // self.gradient_accumulation_steps))
        return self._iterations

    # ---- state ----
    @property
    def variables(self) -> list[Variable]:
        """All state in Keras's order: the iterations, the learning rate if it is a number, then what `build` made."""
        return [self._iterations, *([self._rate] if self._rule is None else []), *self._own]

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the state for these variables. Called by the first `apply`; subclasses call it first."""
        if self.built:
            return
        self._trainable = list(variables)
        self._all = list(range(len(self._trainable)))
        self._index_state()
        if len(self._places) != len(self._trainable):
            raise ValueError(f"[{type(self).__name__}] a variable is given twice: {[v.path for v in variables]}")
        self.built = True
        if self.use_ema:
            self._slots("average")
        if self.gradient_accumulation_steps:
            self._slots("gradient_accumulator")
            self._turns = Variable(0, False, "int64", "turns")
            self._gate = ops.new_status()

    def _slots(self, *names: str, initializer: Any = "zeros") -> None:
        """State like each variable; several names alternate, as in Keras."""
        initial = initializer if isinstance(initializer, list) else [initializer] * len(names)
        for name, made in zip(names, self.add_optimizer_variables(self._trainable, names, initial)):
            self._keep(name, made)

    def _keep(self, name: str, made: list[Variable]) -> None:
        self._state[name] = made
        self._state_arrays[name] = [v.data for v in made]

    def add_variable(
        self, shape: Any, initializer: Any = "zeros", dtype: Any = None, name: str | None = None, **options: Any
    ) -> Variable:
        """A new Variable of state. options: `aggregation` and `layout`, which have no effect."""
        unknown = set(options) - {"aggregation", "layout"}
        if unknown:
            raise TypeError(f"[add_variable] unknown argument. Received: {', '.join(unknown)}")
        value = initializers.get(initializer)(tuple(shape), dtype)
        return self._track(Variable(value, False, value.dtype, name or naming.auto_name("variable")))

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A Variable of state with the shape and dtype of a model's variable, named after both."""
        reference = str(getattr(reference_variable, "path", None) or reference_variable.name)
        full = re.sub("[/:]", "_", reference) + f"_{name or 'var'}"
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype, full)

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """A list of Variables like the given ones; several names give a tuple of lists, made in turns."""
        names = [name] if isinstance(name, str) else list(name)
        initial = list(initializer) if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        if len(initial) != len(names):
            raise ValueError(
                f"[add_optimizer_variables] one initializer per name is needed. Received: {names}, {initializer}"
            )
        made: tuple[list[Variable], ...] = tuple([] for _ in names)
        for v in trainable_variables:
            for slot, word, start in zip(made, names, initial):
                slot.append(self.add_variable_from_reference(v, word, start))
        return made[0] if isinstance(name, str) else made

    def _named(self, v: Variable) -> Variable:
        v.path = f"{self.name}/{v.name}"
        return v

    def _track(self, v: Variable) -> Variable:
        self._own.append(self._named(v))
        return v

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets `variables` from arrays in their order."""
        if not self.built:
            raise ValueError("[set_weights] the optimizer has no state yet. Call build(trainable_variables) first")
        own = self.variables
        if len(weights) != len(own) or any(np.shape(w) != v.shape for v, w in zip(own, weights)):
            raise ValueError(
                f"[set_weights] expects arrays of shapes {[v.shape for v in own]}. "
                f"Received: {[np.shape(w) for w in weights]}"
            )
        for v, w in zip(own, weights):
            v.assign(w)

    def save_own_variables(self, store: Any) -> None:
        """Writes the state into a mapping: "0", "1", ..., in the order of `variables`, as Keras does."""
        for i, v in enumerate(self.variables):
            store[str(i)] = v.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Reads what `save_own_variables`, here or in Keras, wrote. Another number of arrays: a warning, no change."""
        own = self.variables
        if len(store) != len(own):
            warnings.warn(
                f"[{self.name}] the state is left as it is: the optimizer has {len(own)} variables, the saved one "
                f"{len(store)}" + ("" if self.built else ". Build the optimizer before loading"),
                stacklevel=2,
            )
            return
        self.set_weights([store[str(i)][()] for i in range(len(own))])

    def _index(self, variable: Variable) -> int:
        if id(variable) not in self._places:
            raise ValueError(
                f"[{type(self).__name__}] this optimizer was built for other variables: "
                f"{[v.path for v in self._trainable]}. Received: {variable.path!r}. "
                "Make a new optimizer, or compile the model again"
            )
        return self._places[id(variable)]

    _get_variable_index = _index  # Keras's name, which subclasses use

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Variables that do not shrink: these, and those whose name holds one of these strings, e.g. ["bias"]."""
        if self.built:
            raise ValueError("[exclude_from_weight_decay] must be called before the optimizer is built")
        self._no_decay = list(var_list or [])
        self._no_decay_names = re.compile("|".join(var_names)) if var_names else None

    def _decays(self, v: Variable) -> bool:
        if self._no_decay is None:
            return True
        named = self._no_decay_names is not None and self._no_decay_names.search(v.name) is not None
        return not named and all(v is not other for other in self._no_decay)

    # ---- a step ----
    def scale_loss(self, loss: Any) -> Any:
        """The loss times loss_scale_factor: what a train_step differentiates. `apply` divides the gradients again."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def apply(self, grads: Sequence[Tensor | None], trainable_variables: Sequence[Variable] | None = None) -> None:
        """One step: changes the variables by their gradients.

        Args:
            grads: one gradient per variable, of its shape; None leaves the variable as it is, with a
                warning (at least one must be given).
            trainable_variables: the variables; default: those that the optimizer was built for.
        """
        if not len(grads):
            return
        gs, at = self._pick(grads, trainable_variables)
        if self._moves != device.moves:
            self._index_state()
            if self.gradient_accumulation_steps:
                self._gate = device.home(self._gate)
        status = ops.current_status()
        self._write_rate()
        with no_grad():
            gs, gate = self._prepare(gs, at, status)
            self._update(gs, at, gate)
            if self.use_ema:
                ops.average_weights(
                    self._weights,
                    self._state["average"],
                    self._turns,
                    momentum=self.ema_momentum,
                    overwrite_every=self.ema_overwrite_frequency or 0,
                    status=status,
                )
            for i in at:
                v = self._trainable[i]
                if v.constraint is not None:
                    ops.assign(v, v.constraint(v))
        ops.advance(self._iterations, status=status)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Variable:
        """The same from pairs (gradient, variable), e.g. `apply_gradients(zip(grads, model.trainable_variables))`."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._iterations

    def _pick(self, grads: Sequence[Any], variables: Sequence[Variable] | None) -> tuple[list[Any], list[int]]:
        """The gradients that are not None, and the places of their variables."""
        tag = type(self).__name__
        if not self.built:
            if variables is None:
                raise ValueError(f"[{tag}] the first apply() needs trainable_variables=, or call build() before")
            self.build(list(variables))
        if variables is None:
            variables = self._trainable
        if len(grads) != len(variables):
            raise ValueError(
                f"[{tag}] one gradient per variable is needed. "
                f"Received: {len(grads)} gradients, {len(variables)} variables"
            )
        if len(variables) == len(self._all) and all(map(operator.is_, variables, self._trainable)):
            at = self._all
        else:
            at = [self._index(v) for v in variables]
        if any(g is None for g in grads):
            at = [i for i, g in zip(at, grads) if g is not None]
            missing = [v.path for v, g in zip(variables, grads) if g is None]
            grads = [g for g in grads if g is not None]
            if not grads:
                raise ValueError(
                    f"[{tag}] no gradient was given: the loss depends on none of {missing}. Received: None for each. "
                    "What went through NumPy, or was read with .numpy() or float(), has no "
                    "history: compute with nnfast.ops and operators"
                )
            warnings.warn(
                f"[{tag}] these variables have no gradient and stay as they are: {missing}. The loss does not depend "
                "on them",
                UserWarning,
                stacklevel=3,
            )
        return [g.data if isinstance(g, Tensor) else g for g in grads], at

    def _prepare(self, gs: list[Any], at: list[int], status: Any) -> tuple[list[Any], Any]:
        """Gradients accumulated, unscaled and clipped, and the status array that the update shall heed."""
        scale = 1.0 if self.loss_scale_factor is None else 1.0 / self.loss_scale_factor
        n = self.gradient_accumulation_steps
        if n:
            ops.every_nth(self._iterations, n, self._turns, self._gate, status=status)
            sums = self._arrays("gradient_accumulator", at)
            gs = ops.mean_gradients(sums or [], gs, self._iterations, n, scale=scale, status=status)
            status, scale = self._gate, 1.0
        if self._clipping or scale != 1.0:
            gs = ops.clip_gradients(gs, scale=scale, status=status, **self._clipping)
        return gs, status

    def _update(self, gs: list[Any], at: list[int], status: Any) -> None:
        """The step itself: by the kernel of the rule or, in a class of users, by its `update_step`."""
        decay = float(self.weight_decay or 0.0)
        if type(self).update_step is Optimizer.update_step:
            for group, wd in self._by_decay(at, decay):
                chosen = gs if len(group) == len(at) else [g for g, i in zip(gs, at) if i in group]
                self._step(group, chosen, self._rate, weight_decay=wd, status=status)
            self._finish_step(status)
        elif not _is_set(status):
            for i in at if decay else ():
                if self._decays(self._trainable[i]):
                    v = self._trainable[i]
                    v.assign(v - v * (decay * float(self._rate)))
            for g, i in zip(gs, at):
                self.update_step(Tensor(g), self._trainable[i], self._rate)
            self._finish_step(status)

    def _by_decay(self, at: list[int], decay: float) -> list[tuple[list[int], float]]:
        """Places of variables with the weight decay that holds for them."""
        if not decay or self._no_decay is None:
            return [(at, decay)]
        groups = [([i for i in at if self._decays(self._trainable[i])], decay)]
        groups.append(([i for i in at if i not in groups[0][0]], 0.0))
        return [g for g in groups if g[0]]

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Changes one variable by its gradient. What classes of users define; weight decay has been applied before."""
        rate = learning_rate if isinstance(learning_rate, Variable) else np.array(float(learning_rate))
        g = gradient.data if isinstance(gradient, Tensor) else as_array(gradient, variable.dtype)
        self._step([self._index(variable)], [g], rate, weight_decay=0.0, status=ops.current_status())

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        """The kernel of the rule for the variables at these places. common: weight_decay and status."""
        raise NotImplementedError(
            f"[{type(self).__name__}] an optimizer must define update_step(gradient, variable, learning_rate)"
        )

    def _finish_step(self, status: Any) -> None:
        """What changes once per step, after all variables."""

    def _ws(self, at: list[int]) -> list[Any]:
        return self._weights if at is self._all else [self._weights[i] for i in at]

    def _arrays(self, slot: str, at: list[int]) -> list[Any] | None:
        """The arrays of one kind of state, or None if this optimizer keeps none."""
        arrays = self._state_arrays.get(slot)
        return arrays if arrays is None or at is self._all else [arrays[i] for i in at]

    def assign(self, variable: Variable, value: Any) -> None:
        """variable = value: for `update_step`."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """variable += value: for `update_step`."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """variable -= value: for `update_step`."""
        variable.assign_sub(value)

    def finalize_variable_values(self, var_list: Sequence[Variable] | None = None) -> None:
        """With use_ema, puts the averages in the place of the weights: the end of `fit`."""
        if self.use_ema and self.built:
            for v in self._trainable if var_list is None else var_list:
                v.assign(self._state["average"][self._index(v)])

    # ---- configuration ----
    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
        rate: Any = float(self._rate) if self._rule is None else schedules.serialize(self._rule)
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> "Optimizer":
        """The optimizer that `get_config`, here or in Keras, described."""
        config = dict(config)
        config.pop("is_legacy_optimizer", None)  # of Keras 2
        if isinstance(config.get("learning_rate"), Mapping):
            config["learning_rate"] = schedules.deserialize(config["learning_rate"], custom_objects)
        return cls(**config)


def _is_set(status: Any) -> bool:
    return status is not None and bool(device.host(status)[0])


def _rate(tag: str, value: Any) -> float:
    try:
        rate = float("no number" if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise TypeError(
            f"[{tag}] learning_rate must be a number, a LearningRateSchedule or a function. Received: {value!r}"
        ) from None
    if not rate >= 0:
        raise ValueError(f"[{tag}] learning_rate must not be negative. Received: {value!r}")
    return rate


def unit_interval(tag: str, **values: float) -> None:
    """A ValueError unless each value lies in [0, 1]."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"[{tag}] {name} must be between 0 and 1. Received: {value}")
