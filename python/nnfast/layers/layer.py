"""Layer: what owns weights and turns inputs into outputs. Every layer and every model is one."""

import functools
import itertools
import math
import operator
import os
import threading
import warnings
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from nnfast import config, constraints, graph, initializers, ops, regularizers
from nnfast.layers.nested import flatten, map_structure
from nnfast.layers.symbolic import Node, is_symbolic, shapes_of, symbols, trial
from nnfast.naming import auto_name, to_snake_case
from nnfast.saving.budget import blank
from nnfast.saving.serialization import serialize_keras_object as serialize
from nnfast.tensor import Tensor, Variable, as_array

Shape = tuple[int | None, ...]

_ERRORS = (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError)
_RENAMED = {
    "border_mode": "padding",
    "subsample": "strides",
    "dim_ordering": "data_format",
    "nb_filter": "filters",
    "nb_row": "kernel_size",
    "nb_col": "kernel_size",
    "output_dim": "units",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
    "p": "rate",
}
NUMPY_ON_TENSORS = (
    "[nnfast] NumPy's functions take arrays, and what they give has no gradient. Received: a Tensor. Use the function "
    "of nnfast.ops, e.g. ops.tanh for np.tanh; for the values alone x.numpy()"
)
_LATER = ("lora_rank", "lora_alpha", "quantization_config")  # in Keras's configs, None unless used

_build_lock = threading.RLock()  # several threads may call an unbuilt model


def _renew_lock() -> None:
    """In a forked child nobody holds the lock any more, whatever the parent's threads did."""
    global _build_lock
    _build_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
_passes = itertools.count(1)


class _Calls(threading.local):
    """What this thread is inside of: `training` of the enclosing call, the number of the outermost one (0: none)."""

    training: bool | None = None
    number = 0


_calls = _Calls()


def standardize_shape(shape: Any) -> Any:
    """A shape as a tuple of int or None; a list or dict of shapes keeps its structure."""
    if isinstance(shape, dict):
        return {k: standardize_shape(v) for k, v in shape.items()}
    if isinstance(shape, (list, tuple)) and any(isinstance(n, (list, tuple, dict)) for n in shape):
        return [None if s is None else standardize_shape(s) for s in shape]
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        shape = (shape,)
    try:
        if any(isinstance(n, bool) for n in shape):
            raise TypeError
        return tuple(None if n is None else operator.index(n) for n in shape)
    except (TypeError, ValueError):
        raise ValueError(f"[Layer] a shape is a tuple of integers and None. Received: {shape!r}") from None


def serialized_dtype(dtype: str) -> dict[str, Any]:
    """How Keras's files write a dtype."""
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}


def standardize_dtype(dtype: Any) -> str:
    """A dtype argument as "float32" or "float64"; None means `config.floatx()`."""
    if isinstance(dtype, dict):  # how Keras's files write it
        dtype = dtype.get("config", {}).get("name")
    if dtype is None:
        return config.floatx()
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise ValueError(f"[Layer] layers compute in dtype 'float32' or 'float64'. Received: dtype={dtype!r}")
    return name


def _near(key: str, cls: type) -> str:
    """Which argument of a class may have been meant."""
    import difflib  # only mistakes need it

    close = difflib.get_close_matches(key, _parameters(cls.__init__)[0], 1, 0.6)  # type: ignore[misc]
    return f" Did you mean {close[0]}=?" if close else ""


def _parameters(function: Any) -> tuple[list[str], set[str]]:
    """Names of the parameters of a method, without self, and which of them have a default."""
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is None:  # a callable that is no function
        return [], set()
    names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    optional = names[code.co_argcount - len(function.__defaults__ or ()) : code.co_argcount]
    return names[1:], {*optional, *(function.__kwdefaults__ or {})}


def _built_by(build: Any) -> Any:
    """A `build` that checks the shape, remembers it and marks the layer as built."""

    @functools.wraps(build)
    def wrapper(self: "Layer", *args: Any, **kwargs: Any) -> None:
        given = [None if s is None else standardize_shape(s) for s in args or ([] if kwargs else [None])]
        named = {k: None if s is None else standardize_shape(s) for k, s in kwargs.items()}
        shape = given[0] if given else next(iter(named.values()))
        self._check_shape(shape)
        build(self, *given, **named)
        if type(self).build.__wrapped__ is not build:
            return  # super().build(): what called it will say when it is done
        self.built = True
        self._build_shape = shape
        if len(given) + len(named) > 1:
            self._build_shapes = {**dict(zip(_parameters(build)[0], given)), **named}
        weights, self._initial_weights = self._initial_weights, None
        if weights is not None:
            self.set_weights(weights)

    return wrapper


_Layer = TypeVar("_Layer", bound="Layer")


class Layer(graph.Watched):
    """Weights, and what is computed with them.

    A layer of your own needs `call`, and `build` where the shape of its weights depends on the input's. Layers and
    Variables that you keep as attributes, also in lists and dicts, are found and trained.

    Called on the symbolic tensors that `Input` makes, it computes nothing and remembers the call: see `Model`.

    **Masks** say which steps of a sequence count. A mask (bool, True: counts) lies on the tensor that it belongs to, as
    `x._keras_mask`, and travels by three rules. (1) If an input has a mask and `call` has an argument `mask`, it gets
    the mask (a list of masks for a list of inputs); further tensor arguments `name` go with `name_mask`. (2) After
    `call`, outputs that have no mask get `compute_mask(inputs, previous_mask)`: by default the previous one, if
    `supports_masking`. A layer that makes a mask of its own (Masking, Embedding) overrides `compute_mask`. (3) A layer
    that gets a mask and neither supports nor makes masks drops it, with a warning. Losses leave out what the mask of
    the predictions says.

    Args:
        activity_regularizer: what the output costs, added to the loss.
        trainable: do its weights learn?
        dtype: "float32" or "float64"; None: `nnfast.config.floatx()`. Inputs are cast to it.
        autocast: cast inputs to dtype?
        name: by default the class's name with a number.
        input_shape, input_dim, batch_input_shape, batch_size: the shape of the input, for the first layer of a model.
        weights: initial values, set when the layer is built.

    Raises:
        TypeError: an argument is unknown.

    >>> import numpy as np, nnfast
    >>> class Scale(nnfast.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
    ...     def call(self, x):
    ...         return x * self.factor
    >>> Scale()(np.ones((1, 2))).shape
    (1, 2)
    """

    supports_masking = False  # does the mask of the input hold for the output?
    input_spec: Any = None  # an InputSpec, or a list of them: what inputs must be like
    cast_integers: bool | None = False  # are integer inputs cast to the dtype too? None: whatever comes next decides
    built = False
    _takes_training = 0  # does call take `training`? 0: no, 1: it has a default, 2: it must be given
    _training_at = 0  # its position among call's arguments
    _call_names: tuple[str, ...] = ()  # the names of call's arguments
    _takes_mask = False  # is one of them `mask`, or ends in `_mask`?
    _takes_several = False  # may its first argument be a list of tensors, though check_input is about one?
    _makes_mask = False  # does the class override compute_mask?
    _np_dtype: Any = None
    _features: Any = None  # shape of one sample of the last input: the same again needs no second look
    _initial_weights: Any = None
    _build_names: tuple[str, ...] = ()  # the names of build's arguments
    _build_shape: Any = None
    _given: Any = ((), {})  # what __init__ of a class of the user was given
    _build_shapes: dict[str, Any] | None = None  # by those names, where there are several
    # Attributes that hold no layers and variables of our own.
    _untracked = frozenset({"_given", "_frozen", "_losses", "_nodes", "_found"})
    _found: "Tree | None" = None  # what `_tree` found last

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "call" in cls.__dict__:
            names, optional = _parameters(cls.call)
            cls._call_names = tuple(names)
            cls._takes_mask = any(n == "mask" or n.endswith("_mask") for n in names)
            cls._takes_training = 0
            if "training" in names:
                cls._training_at = names.index("training")
                cls._takes_training = 1 if "training" in optional else 2
        cls._makes_mask = cls.compute_mask is not Layer.compute_mask
        if "build" in cls.__dict__:
            cls._build_names = tuple(_parameters(cls.build)[0])
            cls.build = _built_by(cls.build)  # type: ignore[method-assign]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        layer = super().__new__(cls)
        if not cls.__module__.startswith("nnfast."):
            layer._given = args, kwargs  # for get_config
        return layer

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"[Layer] a name is a string without '/'. Received: name={name!r}")
        self.name = name or auto_name(to_snake_case(type(self).__name__))
        self._weights: list[Variable] = []
        self._nodes: list[Node] = []  # its calls on symbolic tensors
        self._frozen: dict[int, Variable] = {}  # would learn, if the layer were trainable
        self._losses: list[Tensor] = []
        self._losses_pass = 0
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype = standardize_dtype(dtype)
        self.autocast = bool(autocast)
        self._trainable = bool(trainable)
        self._initial_weights = kwargs.pop("weights", None)
        self._declared_shape = _declared_shape(kwargs)
        self._refuse(kwargs)

    def _refuse(self, kwargs: dict[str, Any]) -> None:
        for key, value in kwargs.items():
            if key in _LATER:
                if value is None:
                    continue
                raise ValueError(f"[{self.name}] {key} is not supported. Received: {key}={value!r}. Leave it out")
            hint = f" It is called {_RENAMED[key]} now." if key in _RENAMED else _near(key, type(self))
            raise TypeError(f"[{type(self).__name__}] unknown argument. Received: {key}={value!r}.{hint}")

    def __setattr__(self, name: str, value: Any) -> None:
        plain = type(value) in _PLAIN and type(self.__dict__.get(name)) in _PLAIN
        super().__setattr__(name, value)
        if not plain and name not in self._untracked:
            Tree.mark = object()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        Tree.mark = object()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_found": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of copies and pickles: their Variables are others."""
        vars(self).update(state)
        self._frozen = {id(v): v for v in self._frozen.values()}

    # ---- to be overridden ----
    @_built_by
    def build(self, input_shape: Any) -> None:
        """Makes the weights, once the shape of the input is known: (None, ...), None for the batch.

        For a list of inputs it is a list of shapes. A layer whose `call` takes several tensors, say a and b, may have
        `build(self, a_shape, b_shape)`.
        """

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The output for the inputs. With an argument `training` it is told whether it is trained or used."""
        raise NotImplementedError(f"[{self.name}] {type(self).__name__} needs a method call(self, inputs)")

    def check_input(self, shape: Shape) -> None:
        """Raises a ValueError if the layer cannot take inputs of this shape."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output for a shape of the input, the batch None in both.

        A layer that does not override it runs `call` on zeros, of two sizes where a size is unknown.
        """
        made = self._infer((symbols(standardize_shape(input_shape), self.dtype),), {})
        return map_structure(lambda t: t.shape, made)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the output: by default that of the input. See the class's text."""
        return previous_mask

    # ---- calling ----
    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Builds the layer if needed, casts the inputs, and calls `call`.

        Args:
            training: is the model being trained? By default, as in the enclosing call; outside of any, no.
        """
        x = args[0] if args else None
        if (
            x.__class__ is not Tensor
            or x.data.dtype is not self._np_dtype
            or x.data.shape[1:] != self._features
            or kwargs
            or len(args) > 1
        ):
            if is_symbolic(args) or is_symbolic(kwargs):
                return self._record(args, kwargs, training)
            args, kwargs, training = self._prepare(args, kwargs, training)
            x = args[0] if args else None
        masked = self._makes_mask or _mask_of(x) is not None or (x.__class__ in _CONTAINERS and _any_mask(x))
        if masked and self._takes_mask:
            kwargs = self._with_masks(args, kwargs)
        calls = _calls
        outer, number = calls.training, calls.number
        if number == 0:
            calls.number = next(_passes)
        if training is None:
            training = outer
        else:
            calls.training = training
        if self._takes_training and (training is not None or self._takes_training == 2):
            kwargs["training"] = bool(training)
        try:
            y = self.call(*args, **kwargs)
            if self.activity_regularizer is not None:
                self._regularize(y)
            if masked:
                self._leave_mask(y, x)
            return y
        except _ERRORS as e:
            self._sign(e, args)
            raise
        finally:
            calls.training, calls.number = outer, number

    def _prepare(self, args: Any, kwargs: Any, training: Any) -> Any:
        """The inputs as tensors of the layer's dtype, with the layer built and their shape checked."""
        if "_declared_shape" not in self.__dict__:
            raise RuntimeError(
                f"[{type(self).__name__}] its __init__ must begin with super().__init__(). Received: a call before that"
            )
        if self._takes_training and len(args) > self._training_at:
            at = self._training_at
            args, training = (*args[:at], *args[at + 1 :]), args[at]
        args = tuple(self._cast(a) if i == 0 else self._cast_array(a) for i, a in enumerate(args))
        kwargs = {k: self._cast_array(v) for k, v in kwargs.items()}
        if not args and not kwargs:
            raise TypeError(f"[{self.name}] {type(self).__name__} is called with its input. Received: no arguments")
        x = args[0] if args else next(iter(kwargs.values()))
        shape = shapes_of(x)
        if not self.built:
            with _build_lock:
                if not self.built:
                    self._build_for(_any_batch(shape), args, kwargs)
        if self.input_spec is not None:
            self._check_spec(x)
        self._check_shape(shape)
        if isinstance(shape, tuple):
            self._features = None if self.input_spec is not None else shape[1:]
        return args, kwargs, training

    def _build_for(self, shape: Any, args: Any, kwargs: Any) -> None:
        """Builds the layer for the inputs that it is called with; shape: that of the first."""
        if len(self._build_names) > 1:
            self.build(**self._shapes_to_build(args, kwargs))
        else:
            self.build(shape)
        self.built = True
        if self._build_shape is None:
            self._build_shape = shape

    def _shapes_to_build(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """The shapes of the tensors among call's arguments, for a build(self, a_shape, b_shape) of several."""
        for name in self._build_names:
            if name.removesuffix("_shape") not in self._call_names or not name.endswith("_shape"):
                raise ValueError(
                    f"[{self.name}] the arguments of build are named after those of call: with call(self, a, b) it is "
                    f"build(self, a_shape, b_shape). Received: {type(self).__name__}.build with {name}, call with "
                    f"{', '.join(self._call_names)}. One argument gets the shape of the first input, or the list of "
                    "shapes of a list of inputs"
                )
        given = {f"{k}_shape": v for k, v in {**dict(zip(self._call_names, args)), **kwargs}.items()}
        tensors = {k for k, v in given.items() if any(hasattr(t, "shape") for t in flatten(v))}
        return {n: _any_batch(shapes_of(given[n])) for n in self._build_names if n in tensors}

    def _check_shape(self, shape: Any) -> None:
        """`check_input`, which is about one tensor; a layer of ours that has one and gets several says so."""
        if isinstance(shape, tuple):
            self.check_input(shape)
            return
        kind = type(self)
        ours = kind.check_input is not Layer.check_input and kind.__module__.startswith("nnfast.")
        if shape and ours and not self._takes_several:
            raise ValueError(
                f"[{self.name}] {kind.__name__} takes one input. Received: input shapes {shape}. "
                "Join them first, e.g. with Concatenate()([a, b]), or call it on each"
            )

    def _check_spec(self, x: Any) -> None:
        """Raises a ValueError if an input is not what `input_spec` says."""
        specs = self.input_spec if isinstance(self.input_spec, (list, tuple)) else [self.input_spec]
        given = flatten(x)
        if len(specs) != len(given):
            raise ValueError(f"[{self.name}] {len(specs)} inputs are expected. Received: {len(given)} inputs")
        for spec, t in zip(specs, given):
            if spec is not None:
                spec.check(self.name, t)

    # ---- symbolic calls ----
    def _record(self, args: Any, kwargs: Any, training: Any) -> Any:
        """The symbolic outputs for symbolic inputs; remembers the call."""
        if self._takes_training and len(args) > self._training_at:
            at = self._training_at
            args, training = (*args[:at], *args[at + 1 :]), args[at]
        if training is not None:
            kwargs = {**kwargs, "training": training}
        first = args[0] if args else next(v for v in kwargs.values() if is_symbolic(v))
        shape = shapes_of(first)
        try:
            if not self.built:
                with _build_lock:
                    self._build_for(shape, args, kwargs)
            if self.input_spec is not None:
                self._check_spec(first)
            self._check_shape(shape)
            node = Node(self, args, kwargs, self._symbolic_outputs(args, kwargs))
        except _ERRORS as e:
            self._sign(e, args)
            raise
        self._nodes.append(node)
        return node.structure

    def _symbolic_outputs(self, args: Any, kwargs: Any) -> Any:
        """New symbolic tensors for the outputs: by `compute_output_shape` where the class has one."""
        if type(self).compute_output_shape is Layer.compute_output_shape:
            return self._infer(args, kwargs)
        given = {**dict(zip(self._call_names, args)), **kwargs}
        first = args[0] if args else next(v for v in kwargs.values() if is_symbolic(v))
        names = _parameters(type(self).compute_output_shape)[0]
        shapes = {f"{k}_shape": shapes_of(v) for k, v in given.items() if is_symbolic(v)}
        by_name = {n: shapes[n] for n in names if n in shapes}
        if len(names) > 1 and by_name:
            made = self.compute_output_shape(**by_name)
        else:
            made = self.compute_output_shape(shapes_of(first))
        dtype = self.dtype
        if not self.cast_integers and not flatten(first)[0].dtype.startswith("float"):
            dtype = flatten(self._infer(args, kwargs))[0].dtype  # integers stay, or are looked up: the layer knows
        return symbols(standardize_shape(made), dtype)

    def _infer(self, args: Any, kwargs: Any) -> Any:
        """The same, found by running `call` on zeros."""
        try:
            made = trial(self, args, kwargs)
        except (TypeError, IndexError) as e:  # e.g. it wants integers
            raise NotImplementedError(
                f"[{self.name}] the output shape of {type(self).__name__} is not known: {e}. "
                f"Received: {shapes_of(args)}. Give it a method compute_output_shape(self, input_shape)"
            ) from e
        self.clear_losses()
        return made

    # ---- masks ----
    def _with_masks(self, args: Any, kwargs: Any) -> Any:
        """kwargs and the masks of the inputs, for those arguments of call that take them and were not given."""
        given = {**dict(zip(self._call_names, args)), **kwargs}
        found = dict(kwargs)
        for i, (name, value) in enumerate(given.items()):
            own = f"{name}_mask"
            target = own if own in self._call_names else "mask" if i == 0 and "mask" in self._call_names else None
            if target is not None and given.get(target) is None and _any_mask(value):
                found[target] = map_structure(_mask_of, value)
        return found

    def _leave_mask(self, y: Any, x: Any) -> None:
        """Puts the mask of the output on it."""
        outputs = flatten(y)
        if all(_mask_of(t) is not None for t in outputs):
            return
        previous = map_structure(_mask_of, x)
        if not self.supports_masking and not self._makes_mask:
            warnings.warn(
                f"[{self.name}] {type(self).__name__} does not support masks: the mask of its input ends here, and "
                "later layers see all steps. Set supports_masking = True in a layer of your own that may pass it on",
                UserWarning,
                stacklevel=3,
            )
            return
        masks = self.compute_mask(x, previous)
        if masks is None:
            return
        for t, mask in zip(outputs, flatten(masks)):
            if mask is not None and isinstance(t, Tensor) and _mask_of(t) is None:
                t._keras_mask = mask

    def _cast(self, x: Any) -> Any:
        """An input: arrays, numbers and lists of numbers become tensors; lists of arrays are several inputs."""
        if isinstance(x, dict):
            return {k: self._cast(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)) and any(isinstance(v, (Tensor, np.ndarray)) for v in x):
            return [self._cast(v) for v in x]
        return self._cast_array(x if isinstance(x, Tensor) or x is None else as_array(x, name=self.name))

    def _cast_array(self, x: Any) -> Any:
        if not isinstance(x, (Tensor, np.ndarray)):
            return x
        kinds = "biuf" if self.cast_integers else "f"
        if self.autocast and x.dtype.kind in kinds and x.dtype != self._np_dtype:
            made = ops.cast(x, self.dtype)
            mask = _mask_of(x)
            if mask is not None:
                made._keras_mask = mask
            return made
        return x if isinstance(x, Tensor) else Tensor(x)

    def _sign(self, e: BaseException, args: Any) -> None:
        """Adds which layer an error came from; the innermost one signs."""
        if getattr(e, "_signed", False) or type(e) not in _ERRORS or not e.args or not isinstance(e.args[0], str):
            return
        e._signed = True  # type: ignore[attr-defined]
        if "__array_ufunc__=None" in e.args[0]:
            e.args = (NUMPY_ON_TENSORS,)
        shapes = ", ".join(str(shapes_of(a)) for a in args)
        e.args = (
            f"{e.args[0]}\nIn the layer {self.name!r} ({type(self).__name__}), input shape {shapes}.",
            *e.args[1:],
        )

    def _mismatch(self, rule: str, shape: Any, fix: str = "") -> ValueError:
        """The error for an input whose shape breaks a rule."""
        text = f"[{self.name}] {type(self).__name__} {rule}. Received: input shape {tuple(shape)}. {fix}"
        return ValueError(text.rstrip())

    # ---- weights ----
    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A new weight.

        Args:
            shape: its shape; None: a number.
            initializer: name, object or function(shape, dtype=); by default glorot_uniform, or zeros for integers.
            dtype: default: the layer's.
            trainable: does it learn?
            autocast: accepted for Keras's sake; weights are used in their own dtype.
            regularizer: what its size costs.
            constraint: what it must fulfil after every step.
            name: its path is `<layer>/<name>`.
        """
        if isinstance(shape, str):  # Keras 1: add_weight(name, shape)
            raise TypeError(f"[{self.name}] add_weight takes the shape first. Received: {shape!r}. Use name={shape!r}")
        shape = standardize_shape(() if shape is None else shape)
        if None in shape:
            raise ValueError(f"[{self.name}] the shape of a weight must be known. Received: {name!r} of shape {shape}")
        dtype = np.dtype(dtype or self.dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtype.kind == "f" else "zeros"
        value = blank(shape, dtype)
        if value is None:
            value = initializers.get(initializer)(shape, dtype=dtype.name)
        if np.shape(value) != shape:
            raise ValueError(
                f"[{self.name}] the initializer of {name!r} must give shape {shape}. Received: {np.shape(value)}"
            )
        weight = Variable(value, trainable and self._trainable, dtype, name or "variable")
        weight.path = f"{self.name}/{weight.name}"
        weight.regularizer = regularizers.get(regularizer)
        weight.constraint = constraints.get(constraint)
        if trainable and not self._trainable:
            self._frozen[id(weight)] = weight
        self._weights.append(weight)
        Tree.mark = object()
        return weight

    def _own(self) -> tuple[list["Layer"], list[Variable]]:
        """Sub-layers and Variables among the attributes, in the order in which they were set, each once."""
        found = _Attributes(self)
        return list(found.layers.values()), list(found.variables.values())

    def _tree(self) -> list[tuple["Layer", list[Variable]]]:
        """This layer and all below it, each once, parents first; with the Variables of each."""
        return self._look().layers

    def _look(self) -> "Tree":
        """The same and what else the attributes hold, looked up again only where something may have changed."""
        found = self._found
        if found is None or not found.current:
            found = self._found = Tree(self)
        return found

    def _flatten_layers(self) -> list["Layer"]:
        """This layer and all below it, each once, parents first."""
        return [layer for layer, _ in self._tree()]

    @property
    def weights(self) -> list[Variable]:
        """All weights: of each layer first those that learn, then the others."""
        found: dict[int, Variable] = {}
        for layer, own in self._tree():
            for v in own:
                if v.node is not None or id(v) in layer._frozen:
                    found.setdefault(id(v), v)
            for v in own:
                found.setdefault(id(v), v)
        return list(found.values())

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that learn."""
        return [v for v in self.weights if v.trainable] if self._trainable else []

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that do not learn."""
        return [v for v in self.weights if not v.trainable] if self._trainable else self.weights

    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Do the weights learn? Setting it sets it for all layers below."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = bool(value)
        for layer in self._flatten_layers():
            layer._trainable = value
            if value:
                for v in layer._frozen.values():
                    v.trainable = True
                layer._frozen = {}
            else:
                learning = [v for v in layer._own()[1] if v.trainable]
                layer._frozen.update((id(v), v) for v in learning)
                for v in learning:
                    v.trainable = False

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, as NumPy arrays."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Copies new values into all weights, given in the order of `weights`.

        Raises:
            ValueError: their number or a shape is wrong; then nothing has changed.
        """
        mine = self.weights
        values = list(weights)
        names = ", ".join(f"{v.path} {v.shape}" for v in mine[:8]) + (", ..." if len(mine) > 8 else "")
        if len(values) != len(mine):
            fix = "" if mine or self.built else " It is not built yet: call it, or build(input_shape), first"
            raise ValueError(
                f"[set_weights] {self.name!r} has {len(mine)} weights{': ' + names if mine else ''}. "
                f"Received: {len(values)} arrays.{fix}"
            )
        for v, new in zip(mine, values):
            if np.shape(new) != v.shape:
                raise ValueError(f"[set_weights] {v.path!r} has shape {v.shape}. Received: shape {np.shape(new)}")
        arrays = [as_array(new, v.dtype, "set_weights") for v, new in zip(mine, values)]
        for v, new in zip(mine, arrays):
            v.assign(new)

    def count_params(self) -> int:
        """How many numbers the weights are.

        Raises:
            ValueError: the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"[count_params] {self.name!r} is not built, so its weights are not known. Received: a layer that has "
                "seen no input. Call it, or build(input_shape), first"
            )
        return sum(math.prod(v.shape) for v in self.weights)

    # ---- losses ----
    def add_loss(self, loss: Any) -> None:
        """Adds a scalar Tensor to the loss; called in `call`. It lasts until the next call."""
        number = _calls.number
        if self._losses_pass != number:
            self._losses, self._losses_pass = [], number
        self._losses.extend(loss if isinstance(loss, (list, tuple)) else [loss])

    def _regularize(self, y: Any) -> None:
        """Adds the cost of the output, per sample."""
        for t in y if isinstance(y, (list, tuple)) else (y,):
            cost = self.activity_regularizer(t)
            self.add_loss(cost * (1 / max(1, t.shape[0])) if t.ndim else cost)

    def clear_losses(self) -> None:
        """Forgets the losses that calls have added."""
        for layer in self._flatten_layers():
            layer._losses = []

    @property
    def losses(self) -> list[Tensor]:
        """What calls have added, then what the regularizers of the learning weights cost now."""
        tree = self._tree()
        costly: dict[int, Variable] = {}
        for _, own in tree:
            costly.update((id(v), v) for v in own if v.regularizer is not None and v.node is not None)
        added = [loss for layer, _ in tree for loss in layer._losses]
        return added + [v.regularizer(v) for v in costly.values() if self._trainable]

    # ---- facts ----
    @property
    def dtype(self) -> str:
        """The dtype that it computes in."""
        return _name_of(self._np_dtype)

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self._np_dtype = np.dtype(standardize_dtype(value))

    @property
    def compute_dtype(self) -> str:
        """`dtype`, by the name of Keras's layers."""
        return self.dtype

    @property
    def variable_dtype(self) -> str:
        """`dtype`: weights have it, too."""
        return self.dtype

    @property
    def input_shape(self) -> Any:
        """The shape that it was built for, the batch None."""
        if self._build_shape is None:
            raise AttributeError(
                f"[{self.name}] the input shape of {type(self).__name__} is not known before it is built"
            )
        return self._build_shape

    def _first_node(self, what: str) -> Node:
        if not self._nodes:
            raise AttributeError(
                f"[{self.name}] {type(self).__name__} has no {what}: it was never called on an Input. Received: "
                f".{what}. Give the model an Input, or build it"
            )
        return self._nodes[0]

    @property
    def input(self) -> Any:
        """The symbolic tensor, or the structure of them, that it was called with first."""
        node = self._first_node("input")
        return node.args[0] if node.args else node.inputs[0]

    @property
    def output(self) -> Any:
        """The symbolic tensor, or the structure of them, that it gave when it was called first."""
        return self._first_node("output").structure

    @property
    def output_shape(self) -> Any:
        """The shape of its output for `input_shape`."""
        return self.compute_output_shape(self.input_shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make a layer like this one, without its weights: the attributes of their names, or what
        `__init__` was given."""
        config = {"name": self.name, "trainable": self.trainable, "dtype": serialized_dtype(self.dtype)}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = serialize(self.activity_regularizer)
        if self._declared_shape is not None:
            config["batch_input_shape"] = self._declared_shape
        for key in _parameters(type(self).__init__)[0]:
            if key in config or key in ("activity_regularizer", "autocast", "weights", *_LATER):
                continue
            config[key] = serialize(getattr(self, key) if hasattr(self, key) else self._argument(key))
        return config

    def _argument(self, key: str) -> Any:
        """What `__init__` was given under this name, where it is kept under no attribute."""
        import inspect

        args, kwargs = self._given
        given = inspect.signature(type(self).__init__).bind_partial(self, *args, **kwargs)
        given.apply_defaults()
        return given.arguments[key]

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build_from_config` needs to make the weights; None before the layer is built."""
        if self._build_shapes is not None:
            return {"shapes_dict": self._build_shapes}
        return None if self._build_shape is None else {"input_shape": self._build_shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights for the shapes in a file."""
        if config.get("input_shape") is not None:
            self.build(standardize_shape(config["input_shape"]))
        elif config.get("shapes_dict"):
            self.build(**config["shapes_dict"])

    @classmethod
    def from_config(cls: type[_Layer], config: dict[str, Any]) -> _Layer:
        """A new layer from what `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


class ElementwiseLayer(Layer):
    """A layer whose output has the shape of its input."""

    cast_integers: bool | None = True
    supports_masking = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return standardize_shape(input_shape)


def _declared_shape(kwargs: dict[str, Any]) -> Shape | None:
    """The batch shape that input_shape=, input_dim=, batch_input_shape= or batch_shape= say, taken out of kwargs."""
    batch_size = kwargs.pop("batch_size", None)
    dim, shape = kwargs.pop("input_dim", None), kwargs.pop("input_shape", None)
    if dim is not None and shape is not None and standardize_shape(shape) != (dim,):
        raise ValueError(
            f"[Layer] input_dim=n means input_shape=(n,). Received: input_dim={dim}, input_shape={shape}. "
            "Give one of them"
        )
    full = kwargs.pop("batch_input_shape", None)
    full = kwargs.pop("batch_shape", full)
    if full is not None:
        return standardize_shape(full)
    if shape is None and dim is not None:
        shape = (dim,)
    return None if shape is None else (batch_size, *standardize_shape(shape))


# Types of attributes in which no layer and no Variable can be: most attributes are of these.
_PLAIN = frozenset({str, int, float, bool, type(None), FunctionType, np.ndarray, *(type(np.dtype(t)) for t in "fd")})


class _Attributes:
    """What the attributes of a layer hold, by identity: lists, tuples and dicts are looked into.

    Attributes:
        layers, variables: the sub-layers and Variables.
        others: objects of no plain type.
        containers: the lists and dicts of users, each with what was in it.
    """

    def __init__(self, layer: Layer):
        self.layers: dict[int, Layer] = {}
        self.variables: dict[int, Variable] = {}
        self.others: list[Any] = []
        self.containers: list[tuple[Any, tuple[Any, ...]]] = []
        for key, value in layer.__dict__.items():
            if type(value) not in _PLAIN and key not in layer._untracked:
                self._add(value)
        if self.containers and self.containers[0][0] is layer.__dict__.get("_weights"):
            del self.containers[0]  # add_weight says so when it changes

    def _add(self, value: Any) -> None:
        if isinstance(value, Variable):
            self.variables.setdefault(id(value), value)
        elif isinstance(value, Layer):
            self.layers.setdefault(id(value), value)
        elif isinstance(value, (list, tuple, dict)):
            inside = tuple(value.values() if isinstance(value, dict) else value)
            if not isinstance(value, tuple):
                self.containers.append((value, inside))
            for v in inside:
                if type(v) not in _PLAIN:
                    self._add(v)
        else:
            self.others.append(value)


class Tree:
    """A layer and all below it, as they were found.

    Attributes:
        mark: another object whenever an attribute of some layer changes that may hold what a tree has.
        layers: each layer once, parents first; with its Variables.
        others: what else the attributes hold, Metrics among them.
    """

    mark = object()

    def __init__(self, root: Layer):
        self._mark = Tree.mark
        self._containers: list[tuple[Any, tuple[Any, ...]]] = []
        self.layers: list[tuple[Layer, list[Variable]]] = []
        self.others: list[Any] = []
        self._visit(root, set())

    def _visit(self, layer: Layer, seen: set[int]) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        own = _Attributes(layer)
        self.layers.append((layer, list(own.variables.values())))
        self.others += own.others
        self._containers += own.containers
        for child in own.layers.values():
            self._visit(child, seen)

    @property
    def current(self) -> bool:
        """Would another look find the same?"""
        if self._mark is not Tree.mark:
            return False
        for container, inside in self._containers:
            now = container.values() if isinstance(container, dict) else container
            if len(now) != len(inside) or not all(map(operator.is_, now, inside)):
                return False
        return True


_CONTAINERS = (list, tuple, dict)
_name_of = functools.lru_cache(operator.attrgetter("name"))  # NumPy makes a dtype's name anew each time


def _mask_of(x: Any) -> Any:
    return getattr(x, "_keras_mask", None)


def _any_mask(x: Any) -> bool:
    return any(_mask_of(t) is not None for t in flatten(x))


def _any_batch(shape: Any) -> Any:
    """The shape with None for the batch."""
    if isinstance(shape, dict):
        return {k: _any_batch(v) for k, v in shape.items()}
    if isinstance(shape, list):
        return [_any_batch(s) for s in shape]
    return (None, *shape[1:]) if shape else shape
