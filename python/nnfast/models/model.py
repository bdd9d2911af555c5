"""Model: a layer that can be compiled, trained, evaluated and asked to predict.

This file divides the labour: `fit` is the loop over epochs and steps, `train_step` is one step as on a blackboard, and
what happens between steps is in callbacks. Batches come from `models/data.py`.
"""

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from nnfast import callbacks as cb
from nnfast import config, device, ops, optimizers, saving
from nnfast import metrics as metric_room
from nnfast.layers.layer import Layer, standardize_shape
from nnfast.layers.nested import flatten, pack
from nnfast.layers.symbolic import is_symbolic, symbols, trial
from nnfast.models.compiled import CompiledLoss, CompiledMetrics
from nnfast.models.data import (
    ArrayData,
    IterableData,
    Pending,
    make_data,
    pack_x_y_sample_weight,
    reword,
    structured,
    tagged,
    unpack_x_y_sample_weight,
)
from nnfast.models.graph import Graph, from_config
from nnfast.models.replay import Predictions, StepPlan, Steps
from nnfast.models.summary import print_summary
from nnfast.saving.serialization import deserialize_keras_object, serialize_keras_object
from nnfast.tape import GradientTape, no_grad
from nnfast.tensor import Tensor, Variable

# Methods of older Keras, and what to write now.
_GONE = {
    "predict_classes": "Keras has dropped it. Use model.predict(x).argmax(axis=-1), or > 0.5 for one unit",
    "predict_proba": "Keras has dropped it. Use model.predict(x)",
    "fit_generator": "Keras has dropped it. Use model.fit(generator, steps_per_epoch=...)",
    "evaluate_generator": "Keras has dropped it. Use model.evaluate(generator, steps=...)",
    "predict_generator": "Keras has dropped it. Use model.predict(generator, steps=...)",
}


class Results(MutableMapping):
    """The metrics of a model as a mapping that reads them when it is first asked. What `train_step` returns: the step
    itself reads nothing. Callbacks get a dict."""

    def __init__(self, read: Callable[[], dict[str, float]]):
        self._read = read
        self._values: dict[str, float] | None = None
        self.changed = False  # by the user

    def _get(self) -> dict[str, float]:
        if self._values is None:
            self._values = self._read()
        return self._values

    def __getitem__(self, key: str) -> float:
        return self._get()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._get()[key] = value
        self.changed = True

    def __delitem__(self, key: str) -> None:
        del self._get()[key]
        self.changed = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._get())

    def __len__(self) -> int:
        return len(self._get())

    def copy(self) -> dict[str, float]:
        """A dict of the values."""
        return dict(self._get())

    def __repr__(self) -> str:
        return repr(self._get())


class Model(Layer):
    """A model: `Model(inputs=..., outputs=...)` with what `Input` and calls of layers gave, or a subclass of your own
    that defines `call(x, training=False)`. A list of layers is simpler written as `Sequential`.

    Args:
        inputs: the symbolic tensors that come in: one, a list or a dict. Data is given to the model in this structure,
            or as a dict by the names of the Inputs.
        outputs: the symbolic tensors that go out: one, a list or a dict. `outputs` may begin at any tensor of another
            model, `Model(model.inputs, model.get_layer("x").output)`: the layers are then shared.
        name: shown in the summary.
        trainable: do the weights learn?

    Attributes:
        stop_training: set it to True in a callback and `fit` ends after the epoch.
        check_finite: stop training at the first loss that is not finite, naming the batch and the layer (default True).
        history: the `History` of the last `fit`.

    Raises:
        ValueError: the outputs depend on an Input that is not among the inputs.
        TypeError: something else than symbolic tensors was given.

    >>> import numpy as np, nnfast
    >>> title, body = nnfast.Input(shape=(8,), name="title"), nnfast.Input(shape=(8,), name="body")
    >>> x = nnfast.layers.Concatenate()([title, body])
    >>> model = nnfast.Model([title, body], nnfast.layers.Dense(3)(x))
    >>> model.predict({"title": np.ones((5, 8)), "body": np.ones((5, 8))}, verbose=0).shape
    (5, 3)
    """

    supports_masking = True
    _unwatched = frozenset({"history", "stop_training"})
    _graph: Graph | None = None
    _untracked = (
        Layer._untracked
        | {"_graph", "_loss", "_compiled_metrics", "_compile_arguments"}
        | {"_plans", "_at_once", "_seen", "_eager", "_foreign", "history"}
    )

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and (args or "inputs" in kwargs or "outputs" in kwargs):
            from nnfast.models.functional import Functional

            return super().__new__(Functional)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, name: str | None = None, **kwargs: Any):
        given = dict(zip(("inputs", "outputs", "name"), args)) if is_symbolic(args[:1]) else {}
        if args and not given:
            _refuse_arguments(args)
        for key in ("inputs", "outputs"):
            if key in kwargs:
                given[key] = kwargs.pop(key)
        name = given.pop("name", name)
        if given and set(given) != {"inputs", "outputs"}:
            raise ValueError(f"[Model] inputs and outputs belong together. Received: {', '.join(given)} alone")
        trainable = kwargs.pop("trainable", None)
        super().__init__(name=name, **kwargs)
        if given:
            self.autocast = False  # each input has its own dtype
            self._graph = Graph(given["inputs"], given["outputs"])
            self._layers: list[Layer] = self._graph.layers
            self.built = True
            if len(self._graph.inputs) == 1:
                self._build_shape = self._graph.inputs[0].shape
        if trainable is not None and trainable != self.trainable:
            self.trainable = trainable
        self.stop_training = False
        self.check_finite = True
        self._initial_epoch: int | None = None
        self.history: cb.History | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Any = None
        self._loss: CompiledLoss | None = None
        self._loss_tracker: metric_room.Mean | None = None
        self._compiled_metrics: CompiledMetrics | None = None
        self._status = ops.new_status()
        self._looked = False  # has a step run since `compile`, whose data was looked at for warnings?
        self.run_eagerly, self.jit_compile = False, False
        self._forget_plans()
        self._compile_arguments: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:  # only what is not found otherwise comes here
        if name not in _GONE:
            return self.__getattribute__(name)  # for its error: a property may have raised it
        text = f"[{type(self).__name__}] there is no such attribute. Received: .{name}. {_GONE[name]}"
        raise AttributeError(text, name=name, obj=self)

    # ---- structure ----
    @property
    def layers(self) -> list[Layer]:
        """The layers that the model is made of."""
        return self._own()[0]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer with a name, or at an index.

        Raises:
            ValueError: there is none, or not exactly one of name and index is given.
        """
        known = self.layers
        if (name is None) == (index is None):
            raise ValueError(f"[get_layer] give name= or index=. Received: name={name!r}, index={index!r}")
        if index is not None:
            if not -len(known) <= index < len(known):
                raise ValueError(f"[get_layer] {self.name!r} has {len(known)} layers. Received: index={index}")
            return known[index]
        for layer in known:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in known)
        raise ValueError(f"[get_layer] no layer has this name. Received: name={name!r}. The layers are {names}")

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Prints a table of the layers, their output shapes and their numbers of parameters.

        The arguments are those of `nnfast.models.summary.print_summary`.
        """
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range)

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the structure that was given."""
        return super().input if self._graph is None else self._graph.input

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the structure that was given."""
        return super().output if self._graph is None else self._graph.output

    @property
    def inputs(self) -> list[Any]:
        """The symbolic inputs as a list."""
        return flatten(self.input)

    @property
    def outputs(self) -> list[Any]:
        """The symbolic outputs as a list."""
        return flatten(self.output)

    @property
    def input_names(self) -> list[str]:
        """The names by which a dict of data is read."""
        return [] if self._graph is None else list(self._graph.input_names)

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that give the outputs."""
        return [] if self._graph is None else list(self._graph.output_names)

    @property
    def input_shape(self) -> Any:
        """The shape of a batch of inputs; a list of shapes where there are several."""
        return super().input_shape if self._graph is None else _shapes(self._graph.inputs)

    @property
    def output_shape(self) -> Any:
        """The shape of a batch of outputs; a list of shapes where there are several."""
        return super().output_shape if self._graph is None else _shapes(self._graph.outputs)

    # ---- calling ----
    def build(self, input_shape: Any = None) -> None:
        """Makes all weights. A subclass that has no `build` of its own runs `call` once on zeros.

        Args:
            input_shape: of a batch, e.g. (None, 784), or a list or dict of shapes.
        """
        if self._graph is None:
            if input_shape is None:
                raise ValueError("[build] the shape of the input is needed. Received: None. E.g. build((None, 784))")
            trial(self, (symbols(input_shape, self.dtype),), {})
            self.clear_losses()

    def _build_for(self, shape: Any, args: Any, kwargs: Any) -> None:
        if type(self).build is Model.build:  # the call that asks for it will build what is inside
            self.built, self._build_shape = True, shape
        else:
            super()._build_for(shape, args, kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs for the inputs."""
        if self._graph is None:
            raise NotImplementedError(f"[{self.name}] {type(self).__name__} needs a method call(self, inputs)")
        return self._graph.run(self._graph.arrange(inputs, self.name))

    def _cast(self, x: Any) -> Any:
        if self._graph is None:
            return super()._cast(x)
        made = self._graph.convert(x, self.name)
        return made[0] if len(made) == 1 else made

    def _prepare(self, args: Any, kwargs: Any, training: Any) -> Any:
        result = super()._prepare(args, kwargs, training)
        if self._graph is not None and self._graph.inputs[0].dtype != self.dtype:
            self._features = None  # its inputs always need a look
        return result

    def _infer(self, args: Any, kwargs: Any) -> Any:
        if self._graph is None:
            return super()._infer(args, kwargs)
        inputs = self._graph.arrange(args[0] if args else kwargs["inputs"], self.name)

        def outputs(layer: Layer, *args: Any, **kwargs: Any) -> Any:
            return layer._symbolic_outputs(args, kwargs)

        return self._graph.run(inputs, outputs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: the layers inside have put masks on the outputs."""
        return None

    # ---- configs ----
    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make a model like this one, with fresh weights."""
        if self._graph is None or not _takes_tensors(type(self)):
            return super().get_config()
        return {"name": self.name, "trainable": self.trainable, **self._graph.get_config()}

    def get_build_config(self) -> dict[str, Any] | None:
        """A functional model builds itself."""
        return super().get_build_config() if self._graph is None else {"input_shape": None}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """A new model from what `get_config` gave, with fresh weights; custom_objects: your own classes by name."""
        if not {"layers", "input_layers", "output_layers"} <= set(config):
            return cls(**config)
        inputs, outputs = from_config(config, custom_objects)
        rest = {k: v for k, v in config.items() if k not in ("layers", "input_layers", "output_layers", "dtype")}
        return cls(inputs=inputs, outputs=outputs, **rest)

    # ---- compile ----
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Chooses how to train.

        Args:
            optimizer: a name (`"adam"`), a class, a config, or an Optimizer.
            loss: a name (`"mse"`), a function (y_true, y_pred), or a Loss. With several outputs: one for all, a list in
                their order, or a dict by their names (of the last layers, or the keys of a dict of outputs); None
                leaves an output without.
            loss_weights: the total is the sum of the losses times these: a list or dict like that of the losses.
            metrics: a list of names, functions or Metrics. `"accuracy"` chooses by the shapes that it sees. With
                several outputs: a list of such lists, or a dict by names.
            weighted_metrics: the same, with class and sample weights applied.
            run_eagerly: run each step in Python, where a debugger sees it, instead of replaying a captured one.
            jit_compile: True captures code of yours, too (subclasses, Lambdas, losses, ...): what it decides in Python
                is then decided once, and a step that reads a value in Python is an error. Otherwise a model with such
                code runs eagerly.
            steps_per_execution, auto_scale_loss: accepted and without effect.
        """
        if steps_per_execution != "auto" and (not _whole(steps_per_execution) or steps_per_execution < 1):
            raise ValueError(
                f"[compile] steps_per_execution must be a positive integer. Received: {steps_per_execution!r}"
            )
        names = self._known_outputs()
        weights = getattr(loss_weights, "tolist", lambda: loss_weights)()
        compiled_loss = None if loss is None else CompiledLoss(loss, weights, names)
        compiled_metrics = CompiledMetrics(metrics, weighted_metrics, names)
        self._compile_arguments = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": False,  # what nnfast does; Keras has no "auto" in files
        }
        self.optimizer = optimizers.get(optimizer)
        self.loss, self._loss, self._compiled_metrics = loss, compiled_loss, compiled_metrics
        self._loss_tracker = metric_room.Mean("loss")
        self._looked = False
        self.run_eagerly, self.jit_compile = bool(run_eagerly), jit_compile
        self._forget_plans()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no plans: those belong to this model's memory."""
        return {**super().__getstate__(), "_plans": {}, "_at_once": {}, "_seen": {}, "_foreign": None}

    def _forget_plans(self) -> None:
        self._plans: dict[Any, StepPlan] = {}  # see models/replay.py
        self._at_once: dict[Any, StepPlan] = {}  # of `predict`, by the shape and dtype of an array of one batch
        self._seen: dict[Any, int] = {}  # what ran eagerly, and when: the generation of plans
        self._eager: str | None = None  # why steps are not captured, once that was tried
        self._foreign: Any = None  # code of users that steps would run

    def _known_outputs(self) -> list[str] | None:
        """The outputs' names, in the order of `flatten`, where they are known before a call."""
        if self._graph is None:
            return None
        structure = self._graph.output_structure
        if isinstance(structure, dict) and len(structure) == len(self._graph.outputs):
            return flatten({k: k for k in structure})
        return list(self._graph.output_names)

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile` as files keep them; None before it was called."""
        if self.optimizer is None:
            return None
        return serialize_keras_object({**self._compile_arguments, "optimizer": self.optimizer})

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model as `get_compile_config` says."""
        known = {k: v for k, v in config.items() if k in ("loss_weights", "loss", "metrics", "weighted_metrics")}
        restored = {k: deserialize_keras_object(v) for k, v in known.items()}
        self.compile(optimizers.get(deserialize_keras_object(config["optimizer"])), **restored)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights for the shapes in a file; a model that defines no `build` is called on zeros."""
        shape = standardize_shape(config.get("input_shape"))
        if type(self).build is not Model.build or not isinstance(shape, tuple):
            return super().build_from_config(config)
        shape = tuple(n or 1 for n in shape)
        if math.prod(shape) > 2**27:
            raise ValueError(f"[load] an input of shape {shape} is too large to build {self.name!r} with")
        with no_grad():
            self(np.zeros(shape, self.dtype))

    def _compiled(self, name: str) -> optimizers.Optimizer:
        if self.optimizer is None:
            raise ValueError(
                f"[{name}] the model has not been compiled. Call model.compile(optimizer=..., loss=...) first"
            )
        return self.optimizer

    @property
    def metrics(self) -> list[metric_room.Metric]:
        """The loss, the compiled metrics, the loss of each output where there are several, and the Metrics that the
        model and its layers hold as attributes."""
        found: list[metric_room.Metric] = [] if self._loss_tracker is None else [self._loss_tracker]
        found += [] if self._compiled_metrics is None else self._compiled_metrics.metrics
        found += [] if self._loss is None else self._loss.trackers
        for m in self._look().others:
            if isinstance(m, metric_room.Metric) and not any(m is other for other in found):
                found.append(m)
        return found

    @property
    def metrics_names(self) -> list[str]:
        """Their names."""
        return [m.name for m in self.metrics]

    def reset_metrics(self) -> None:
        """Forgets what the metrics have seen."""
        for m in self.metrics:
            m.reset_state()

    def get_metrics_result(self) -> dict[str, float]:
        """The metrics so far, by name in alphabetical order."""
        return {m.name: m.result() for m in sorted(self.metrics, key=lambda m: m.name)}

    def _ordered(self, logs: Mapping[str, float]) -> Any:
        """Keras's order of `evaluate`: loss, metrics, each output's loss; with several outputs their metrics last."""
        several = self._loss is not None and bool(self._loss.trackers)
        compiled = [] if self._compiled_metrics is None else [m.name for m in self._compiled_metrics.metrics]
        names = [n for n in self.metrics_names if n in logs and not (several and n in compiled)]
        values = [logs[n] for n in [*names, *sorted(n for n in logs if n not in names)]]
        return values[0] if len(values) == 1 else values

    # ---- files ----
    def save(self, filepath: Any, overwrite: bool = True, zipped: Any = None, **kwargs: Any) -> None:
        """Writes the model, compiled or not, to a .keras, .h5 or .safetensors file: see `saving.save_model`."""
        saving.save_model(self, filepath, overwrite, zipped, **kwargs)

    def save_weights(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Writes the weights alone, to a .weights.h5, .h5 or .safetensors file: see `saving.save_weights`."""
        saving.save_weights(self, filepath, overwrite, **kwargs)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Reads the weights from a file of nnfast, Keras 3 or Keras 2: see `saving.load_weights`."""
        saving.load_weights(self, filepath, skip_mismatch, **kwargs)

    def export_onnx(self, filepath: Any) -> None:
        """Writes the model, as it predicts, to an ONNX file of opset 17; needs the package onnx (`nnfast[onnx]`).

        Args:
            filepath: usually ends in .onnx.

        Raises:
            ValueError: the shape of the input is not known.
            NotImplementedError: a layer has no ONNX form; the message names it.
        """
        from nnfast.models.onnx_export import export_onnx

        export_onnx(self, filepath)

    def to_json(self, **kwargs: Any) -> str:
        """The architecture as JSON; `models.model_from_json` reads it. kwargs go to `json.dumps`."""
        return json.dumps(serialize_keras_object(self), **kwargs)

    # ---- one step ----
    def train_step(self, data: Any) -> MutableMapping[str, float]:
        """One step of training on one batch: x, (x, y) or (x, y, sample_weight), as `fit` was given data. Override it
        to train in another way."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        with GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            scaled = loss if self.optimizer is None else self.optimizer.scale_loss(loss)
        if self.check_finite and ops.current_status() is not None:
            ops.check_finite(loss, ops.current_status())
        weights = self.trainable_variables
        if weights:
            self._compiled("train_step").apply(tape.gradient(scaled, weights), weights)
        self._track_loss(loss, y_pred)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> MutableMapping[str, float]:
        """One step of evaluation on one batch."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        with no_grad():
            y_pred = self(x, training=False)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
        self._track_loss(loss, y_pred)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """The predictions for one batch, in the structure of the outputs."""
        with no_grad():
            return self(unpack_x_y_sample_weight(data)[0], training=False)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The compiled loss plus the regularisation losses of the layers."""
        total = None
        if self._loss is not None:
            if y is None:
                raise ValueError("[fit] the compiled loss needs targets. Received: y=None")
            try:
                total = self._loss(y, y_pred, sample_weight)
            except ValueError as e:
                self._name_output(e, y_pred)
                raise
        for extra in self.losses:
            total = extra if total is None else total + extra
        if total is None:
            raise ValueError("[compile] there is nothing to minimise. Give loss=, or layers with regularizers")
        return total

    def _name_output(self, e: Exception, y_pred: Any) -> None:
        """Adds to an error of the loss which layer the predictions came from, where there is one output."""
        layers = self.layers
        if layers and isinstance(y_pred, Tensor) and e.args and isinstance(e.args[0], str):
            last = layers[-1]
            where = f"y_pred comes from {last.name!r} ({type(last).__name__}), the last layer of {self.name!r}."
            e.args = (f"{e.args[0]}\n{where}", *e.args[1:])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> MutableMapping[str, float]:
        """Updates the compiled metrics; returns them, read when asked."""
        if y is not None and self._compiled_metrics is not None:
            self._compiled_metrics.update(y, y_pred, sample_weight)
        return self._results()

    def _results(self) -> Results:
        return Results(self.get_metrics_result)

    def _track_loss(self, loss: Tensor, y_pred: Any) -> None:
        if self._loss_tracker is not None:
            first = flatten(y_pred)[0]
            self._loss_tracker.update_state(loss.detach(), scale=float(first.shape[0] if first.ndim else 1))

    # ---- fit ----
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> cb.History:
        """Trains the model.

        Args:
            x: samples in rows; or a generator or Sequence of batches (x, y) or (x, y, sample_weight).
            y: targets in rows.
            batch_size: samples per step, default 32.
            epochs: passes over the data; training goes from initial_epoch to epochs.
            verbose: 0 silent, 1 progress bar, 2 one line per epoch; "auto" is 1.
            callbacks: a list of Callbacks.
            validation_split: the last fraction of the arrays, before shuffling, is kept for validation.
            validation_data: (x, y) or (x, y, sample_weight), or a generator.
            shuffle: a new order of the samples in each epoch?
            class_weight: {class number: weight in the loss}.
            sample_weight: weight of each sample in the loss.
            initial_epoch: where to begin counting.
            steps_per_epoch, validation_steps: batches per epoch; needed for endless generators.
            validation_batch_size: default: batch_size.
            validation_freq: validate each so many epochs, or a list of epochs (counted from 1).

        Returns:
            History: `history.history["loss"]` is a list with one value per epoch.

        Raises:
            ValueError: bad data, labels out of range, or a loss that is not finite. The weights are then those before
                the bad batch.
        """
        self._compiled("fit")
        for label, number in (("epochs", epochs), ("initial_epoch", initial_epoch)):
            if not _whole(number) or number < 0:
                raise ValueError(f"[fit] {label} must be an integer from 0 up. Received: {label}={number!r}")
        listed = isinstance(validation_freq, (list, tuple, set))
        if not all(map(_whole, validation_freq)) if listed else not _whole(validation_freq) or validation_freq < 1:
            raise ValueError(
                "[fit] validation_freq must be an integer of at least 1, or a list of epochs. "
                f"Received: {validation_freq!r}"
            )
        if validation_split:
            if validation_data is not None:
                raise ValueError("[fit] give validation_split or validation_data, not both")
            (x, y, sample_weight), validation_data = _split(x, y, sample_weight, validation_split)
        if class_weight is not None and y is None and not _iterable(x):
            raise ValueError("[fit] class_weight needs targets. Received: y=None")
        data = make_data("fit", x, y, sample_weight, batch_size, shuffle, self._x_dtypes)
        self._check_targets("fit", data)
        validation = None
        if validation_data is not None:
            with _about_validation():
                vx, vy, vw = unpack_x_y_sample_weight(validation_data)
            size = None if _iterable(vx) else validation_batch_size or batch_size
            with _about_validation():
                validation = make_data("fit", vx, vy, vw, size, False, self._x_dtypes)
                self._check_targets("fit", validation)
                _steps("fit", validation, validation_steps)
        steps = _steps("fit", data, steps_per_epoch)
        verbose = _verbosity(verbose)
        calls = cb.CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
        )
        history = calls.find(cb.History)
        assert history is not None
        self.history = history
        self.stop_training = False
        weights = _ClassWeights(class_weight) if class_weight is not None else None
        try:
            with device.kept("fit"):
                calls.call("on_train_begin", {})
                if self._initial_epoch is not None:  # BackupAndRestore
                    initial_epoch, self._initial_epoch = self._initial_epoch, None
                stream = _Stream(data, steps_per_epoch)
                for epoch in range(initial_epoch, epochs):
                    logs = self._run_epoch(epoch, stream, weights, calls)
                    if stream.exhausted and not logs:
                        break
                    if validation is not None and _validates(epoch, validation_freq):
                        results = self._run_evaluation(validation, validation_steps, calls, "fit")
                        logs |= {"val_" + k: v for k, v in results.items()}
                    calls.call("on_epoch_end", epoch, logs)
                    if self.stop_training or stream.exhausted:
                        break
                learning = self.trainable_variables
                if epochs > initial_epoch:
                    self._compiled("fit").finalize_variable_values(learning)
                check = self.check_finite  # TerminateOnNaN has switched it off, and gives it back at the end
                calls.call("on_train_end", logs if epochs > initial_epoch else {})
                if check:
                    self._check_weights(learning)
        except BaseException:
            bar = calls.find(cb.ProgbarLogger)
            if bar is not None:
                bar.abandon()
            raise
        self.history = history  # a callback may have called fit
        return history

    def _run_epoch(
        self, epoch: int, stream: "_Stream", weights: "_ClassWeights | None", calls: cb.CallbackList
    ) -> dict[str, float]:
        self.reset_metrics()
        calls.call("on_epoch_begin", epoch, {})
        logs: Mapping[str, float] = {}
        steps = Steps(self, "train", "fit", self.train_step, weights)
        most = 1 if calls.hears_batches("train") else sys.maxsize
        for step, batch in stream.checked():
            calls.call("on_train_batch_begin", step, {})
            logs, done = steps.run(batch, epoch, step, stream, min(most, stream.left))
            stream.skip(done - 1)
            calls.call_with_metrics("on_train_batch_end", step + done - 1, logs)
            if self.stop_training:
                break
        return cb.numbers(self._fresh(logs))

    def _fresh(self, logs: Mapping[str, float]) -> Mapping[str, float]:
        return self.get_metrics_result() if isinstance(logs, Results) and not logs.changed else logs

    def _guarded(
        self,
        step_function: Callable[..., Any],
        batch: Any,
        name: str,
        epoch: int | None,
        step: int,
        stream: "_Stream | None",
    ) -> Any:
        """Runs a step with the model's status word; raises what its kernels found in the data."""
        self._status = device.home(self._status)
        device.write(self._status, 0)  # an exception in the step before may have left something there
        looks: list[Callable[[], Any]] | None = None if self._looked else []
        with ops.use_status(self._status, looks), tagged(name):
            result = step_function(pack_x_y_sample_weight(*batch))
        found = device.host(self._status)
        if found[0]:
            found = found.copy()
            device.write(self._status, 0)
            self._raise(found, batch, name, epoch, step, stream)
        self._looked = True
        for look in looks or ():
            look()
        return result

    def _raise(
        self, found: np.ndarray, batch: Any, name: str, epoch: int | None, step: int, stream: "_Stream | None"
    ) -> None:
        code, sample = int(found[0]), int(found[2])
        rows = None if stream is None else stream.data.rows_of(stream.at)
        where = f"batch {step}" if epoch is None else f"batch {step} of epoch {epoch + 1}"
        whole = code == ops.BAD_LABEL
        value = int(found[3]) if whole else float(found[3:4].view(np.float64)[0])
        if code == ops.BAD_INDEX:
            self._raise_index(found, batch, name, where, epoch, rows)
        if code == ops.NON_FINITE_LOSS:
            raise ValueError(
                f"[{name}] the loss is {value} at {where}: {self._first_non_finite(batch, found, rows)} "
                "The weights are those before this batch. Lower the learning rate, scale the inputs, or set "
                "model.check_finite = False to train on"
            )
        row = "" if rows is None or sample >= len(rows) else f" (row {int(rows[sample])} of the data)"
        classes: Any = "the number of them"
        if self.built and (self._graph is None or len(self._graph.outputs) == 1):
            classes = self.output_shape[-1] or classes
        fix = ". If they count from 1, use y - 1" if whole and value == classes else ""
        rule = f"is {value}, but targets are class numbers from 0, below {classes}{fix}"
        if code == ops.BAD_LABEL_ROW:
            rule = (
                f"holds {value:.15g}, but a row of targets must be one-hot, or probabilities. "
                f"utils.to_categorical(labels, {classes}) makes one-hot rows of class numbers"
            )
        raise ValueError(
            f"[{name}] the target of sample {sample}{row} in {where} {rule}"
            + ("" if epoch is None else ". The weights are those before this batch")
        )

    def _raise_index(self, found: np.ndarray, batch: Any, name: str, where: str, epoch: int | None, rows: Any) -> None:
        """Looks at a batch with an index out of range again, so that the layer that takes it raises; else says what is
        known of it."""
        x = unpack_x_y_sample_weight(batch)[0]
        sample = int(found[2]) // math.prod(x.shape[1:]) if isinstance(x, Tensor) else -1
        row = "" if rows is None or not 0 <= sample < len(rows) else f", row {int(rows[sample])} of the data"
        kept = "" if epoch is None else ". The weights are those before this batch"
        end = f" ({where}{row}){kept}"
        try:
            with no_grad(), ops.use_status(device.put(found)):
                self(x, training=False)
        except IndexError as e:
            reword(e, lambda text: text.replace("\n", end + "\n", 1) if "\n" in text else text + end)
            raise
        raise IndexError(f"[{name}] an index is out of range. Received: {int(found[3])} ({where}){kept}")

    def _first_non_finite(self, batch: Any, found: np.ndarray, rows: Any) -> str:
        """Runs the batch again, layer by layer, and says where the first NaN or Inf appears. With the status that the
        step has left nothing outlives it: no moving statistics, no draw of random numbers."""
        x, y, sample_weight = unpack_x_y_sample_weight(batch)
        for label, part in (("the input", x), ("the target", y)):
            for v in flatten(part):
                if v is not None and v.dtype.kind == "f" and not np.isfinite(device.host(v.data)).all():
                    return f"{label} holds NaN or Inf."
        for v in flatten(sample_weight):
            if v is not None and not np.isfinite(device.host(v.data)).all():
                at = tuple(np.argwhere(~np.isfinite(device.host(v.data)))[0])
                row = "" if rows is None or at[0] >= len(rows) else f" (row {int(rows[at[0]])} of the data)"
                return f"the sample_weight of sample {at[0]}{row} is {device.host(v.data)[at]}."
        for v in self.weights:
            if v.dtype.kind == "f" and not np.isfinite(device.host(v.data)).all():
                return f"the weight '{v.path}' holds NaN or Inf."
        with no_grad(), ops.use_status(device.put(found)):
            for layer, out in self._walk(x):
                if not all(np.isfinite(device.host(t.data)).all() for t in flatten(out) if isinstance(t, Tensor)):
                    return f"the first layer to give NaN or Inf is '{layer.name}' ({type(layer).__name__})."
        return "every layer's output is finite, so it is the loss itself that overflows."

    def _check_targets(self, name: str, data: ArrayData | IterableData) -> None:
        """The targets of a binary cross-entropy, where they are one column of an array, are 0, 1 or between. This looks
        once, before the first step. Weights may hide a sample, so with weights nothing is said."""
        if self._loss is None or not self._loss.binary or not isinstance(data, ArrayData):
            return
        targets, weights = data.arrays[1:]
        if len(targets) != 1 or targets[0] is None or any(w is not None for w in weights):
            return
        y = device.host(targets[0])
        if y.ndim > 2 or y.shape[1:] not in ((), (1,)) or (y.min() >= 0 and y.max() <= 1):
            return
        bad = np.flatnonzero((y < -1e-3) | (y > 1.001))  # NaN is left to the loss
        if len(bad):
            value = y.reshape(-1)[bad[0]]
            fix = "for class numbers use sparse_categorical_crossentropy and one unit per class"
            if value == -1:
                fix = "for -1 and 1 use (y + 1) / 2"
            raise ValueError(
                f"[{name}] the target of sample {bad[0]} is {value}, but those of binary_crossentropy are 0, 1 or "
                f"between: {fix}"
            )

    def _check_weights(self, weights: list[Variable]) -> None:
        """The last step's gradients meet no loss that would show them."""
        self._status = device.home(self._status)
        device.write(self._status, 0)
        for v in weights:
            ops.check_finite(v.data, self._status)
        if not device.host(self._status)[0]:
            return
        device.write(self._status, 0)
        for v in weights:
            if not np.isfinite(device.host(v.data)).all():
                raise ValueError(
                    f"[fit] the weight '{v.path}' holds NaN or Inf after the last batch. Received: a loss that is "
                    "finite, with a gradient or step that is not. Lower the learning rate, give the optimizer "
                    "clipnorm=1.0, or set model.check_finite = False"
                )

    def _walk(self, x: Any) -> Iterator[tuple[Any, Any]]:
        """(layer, its output) in order, where the model knows its order."""
        found: list[tuple[Any, Any]] = []
        if self._graph is None:
            found.append((self, self(x, training=True)))
        else:
            inputs = self._graph.convert(x, self.name)
            self._graph.run(
                inputs, lambda f, *a, **k: f(*a, **{"training": True, **k}), lambda *pair: found.append(pair)
            )
        yield from found

    def _x_dtype(self) -> str | None:
        """What an input is converted to as it is gathered; None leaves integers as they are."""
        return None

    def _x_dtypes(self, x: Any) -> list[str | None]:
        """The same for each leaf of some data; a functional model also checks that it has all inputs."""
        if self._graph is None:
            return [self._x_dtype()] * len(flatten(x))
        self._graph.check_structure(x, self.name)
        return self._graph.dtypes(x)

    # ---- evaluate and predict ----
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The loss and the metrics on some data.

        Returns:
            [loss, metric, ...]; the loss alone if there are no metrics; a dict if return_dict. With several outputs:
            the total loss, the loss of each output, then their metrics by name in alphabetical order.
        """
        if kwargs:
            raise TypeError(f"[evaluate] unknown argument. Received: {', '.join(kwargs)}")
        self._compiled("evaluate")
        data = make_data("evaluate", x, y, sample_weight, batch_size, False, self._x_dtypes)
        self._check_targets("evaluate", data)
        verbose = _verbosity(verbose)
        calls = cb.CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, steps=_steps("evaluate", data, steps)
        )
        with device.kept("evaluate"):
            logs = self._run_evaluation(data, steps, calls)
        if return_dict:
            return logs
        return self._ordered(logs)

    def _run_evaluation(
        self, data: ArrayData | IterableData, steps: int | None, calls: cb.CallbackList, name: str = "evaluate"
    ) -> dict[str, float]:
        self.reset_metrics()
        calls.call("on_test_begin", {})
        logs: Mapping[str, float] = {}
        stream = _Stream(data, steps)
        runner = Steps(self, "test", name, self.test_step)
        most = 1 if calls.hears_batches("test") else sys.maxsize
        for step, batch in stream.epoch():
            calls.call("on_test_batch_begin", step, {})
            with _about_validation() if name == "fit" else nullcontext():
                logs, done = runner.run(batch, None, step, stream, min(most, stream.left))
            stream.skip(done - 1)
            calls.call_with_metrics("on_test_batch_end", step + done - 1, logs)
        results = cb.numbers(self._fresh(logs))
        calls.call("on_test_end", results)
        return results

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The model's output for each row of x, as a NumPy array of its own; several outputs in their structure."""
        if verbose == 0 and callbacks is None and steps is None:
            y = Predictions.at_once(self, x, 32 if batch_size is None else batch_size)
            if y is not None:
                return y
        data = make_data("predict", x, None, None, batch_size, False, self._x_dtypes)
        verbose = _verbosity(verbose)
        calls = cb.CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, steps=_steps("predict", data, steps)
        )
        with device.kept("predict"):
            calls.call("on_predict_begin", {})
            runner = Predictions(self, data.rows if isinstance(data, ArrayData) and steps is None else None)
            stream = _Stream(data, steps)
            most = 1 if calls.hears_batches("predict") else sys.maxsize
            for step, batch in stream.epoch():
                calls.call("on_predict_batch_begin", step, {})
                outputs, done = runner.run(batch, None, step, stream, min(most, stream.left))
                stream.skip(done - 1)
                calls.call("on_predict_batch_end", step + done - 1, {"outputs": outputs})
            calls.call("on_predict_end", {})
            return runner.result()

    # ---- single batches ----
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One training step on this batch. The metrics go on counting: see `reset_metrics`."""
        self._compiled("train_on_batch")
        batch = self._single("train_on_batch", x, y, sample_weight)
        weights = None if class_weight is None else _ClassWeights(class_weight)
        logs, _ = Steps(self, "train", "train_on_batch", self.train_step, weights).run(batch, 0)
        return self._single_result(logs, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and the metrics, this batch included."""
        self._compiled("test_on_batch")
        batch = self._single("test_on_batch", x, y, sample_weight)
        logs, _ = Steps(self, "test", "test_on_batch", self.test_step).run(batch)
        return self._single_result(logs, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The model's output for this batch; several in the structure of the outputs."""
        y = Predictions.at_once(self, x)
        if y is not None:
            return y
        batch = self._single("predict_on_batch", x, None, None)
        runner = Predictions(self, batch.rows, "predict_on_batch")
        runner.run(batch)
        return runner.result()

    def _single(self, name: str, x: Any, y: Any, sample_weight: Any) -> Any:
        data = ArrayData(name, x, y, sample_weight, 1, False, self._x_dtypes)
        data.batch_size, data.steps = data.rows, 1
        data.begin()
        return Pending(data, 0, alone=True)

    def _single_result(self, logs: Mapping[str, float], return_dict: bool) -> Any:
        values = cb.numbers(logs)
        if return_dict:
            return values
        return self._ordered(values)


class _Stream:
    """Batches for several epochs: each epoch a pass over the data or, with steps, so many batches."""

    def __init__(self, data: ArrayData | IterableData, steps: int | None):
        self.data, self.steps, self.exhausted = data, steps, False
        self.at = -1  # which batch of its pass over the data the last one was
        self._step = 0
        self._passing: Iterator[Any] | None = None
        self._begun = False

    @property
    def left(self) -> int:
        """How many batches of this epoch are left, the last one given included, as far as `steps` says."""
        return sys.maxsize if self.steps is None else self.steps - self._step

    def skip(self, n: int) -> None:
        """The next n batches have been done."""
        self.at += n
        self._step += n

    def epoch(self) -> Iterator[tuple[int, Any]]:
        self._step = 0
        if self.steps is None:
            self._begun, self._passing = False, None
        while self.steps is None or self._step < self.steps:
            batch = self._next()
            if batch is None and self.steps is None:
                return
            if batch is None:
                self.exhausted = True
                warnings.warn(
                    f"[fit] the data ran out after {self._step} of {self.steps} steps: training ends here. "
                    "A generator must yield steps * epochs batches",
                    UserWarning,
                    stacklevel=4,
                )
                return
            yield self._step, batch
            self._step += 1

    def checked(self) -> Iterator[tuple[int, Any]]:
        """The same; says so if a generator has nothing left."""
        step = -1
        for step, batch in self.epoch():
            yield step, batch
        if step < 0 and not self.exhausted:
            self.exhausted = True
            warnings.warn(
                "[fit] the data ran out: training ends here. A generator is used up by one pass; give arrays, a "
                "Sequence, or an endless generator with steps_per_epoch",
                UserWarning,
                stacklevel=4,
            )

    def _next(self) -> Any:
        """The next batch; with steps, a pass over arrays or a Sequence is followed by another."""
        self.at += 1
        if isinstance(self.data, ArrayData):
            if not self._begun or self.at == self.data.steps:
                if self._begun and self.steps is None:
                    return None
                self.data.begin()
                self._begun, self.at = True, 0
            return Pending(self.data, self.at)
        if self._passing is None:
            self._passing, self.at = self.data.batches(), 0
        batch = next(self._passing, None)
        if batch is None and self.steps is not None and self.data.indexed:
            self._passing, self.at = self.data.batches(), 0
            batch = next(self._passing, None)  # a generator that ended stays ended
        return batch


class _ClassWeights:
    """Turns {class: weight} into sample weights."""

    def __init__(self, weights: Mapping[int, float]):
        if not isinstance(weights, Mapping) or not weights:
            raise ValueError(f"[fit] class_weight is a dict {{class number: weight}}. Received: {weights!r}")
        for c, w in weights.items():
            if not _number(c) or not 0 <= c < 2**20 or c != int(c):
                raise ValueError(
                    "[fit] the keys of class_weight are class numbers: whole, from 0, below 2^20. "
                    f"Received: class_weight={{{c!r}: {w!r}}}"
                )
            if not _number(w) or not math.isfinite(w):
                raise ValueError(f"[fit] the weight of a class must be a finite number. Received: {w!r} for class {c}")
        self.classes = max(int(c) for c in weights) + 1
        self.table = np.ones(self.classes + 1, config.floatx())  # the last entry is for all classes not named
        for c, w in weights.items():
            self.table[int(c)] = w

    def apply(self, batch: Any) -> Any:
        x, y, w = batch
        if y is None:
            raise ValueError("[fit] class_weight needs targets. Received: y=None")
        if isinstance(y, (list, tuple, dict)):
            raise ValueError(
                f"[fit] class_weight is for models with one output. Received: targets for {len(flatten(y))} outputs. "
                "Use sample_weight={output: weights}"
            )
        labels = y
        if y.ndim > 1:
            labels = ops.argmax(y, axis=-1) if y.shape[-1] > 1 else ops.reshape(y, y.shape[:-1])
        if labels.ndim != 1:
            raise ValueError(f"[fit] class_weight needs one class per sample. Received: y.shape={y.shape}")
        labels = ops.cast(labels, "float64")  # what is no class has no entry; the loss will say so
        known = ops.logical_and(ops.greater_equal(labels, 0.0), ops.less(labels, float(self.classes)))
        extra = ops.take_rows(self.table, ops.cast(ops.where(known, labels, float(self.classes)), "int64"))
        return x, y, extra if w is None else ops.cast(w, extra.dtype) * extra


@contextmanager
def _about_validation():
    """Inside, what is wrong is wrong with the validation data, and the message says so."""
    try:
        yield
    except (TypeError, ValueError, IndexError) as e:
        reword(e, lambda text: text.replace("[fit] ", "[fit] validation_data: ", 1))
        reword(e, lambda text: text if "validation_data" in text else f"{text}\nThis came up with validation_data.")
        raise


def _takes_tensors(cls: type) -> bool:
    """Is a class of models made from inputs and outputs? One of the user may make them in its __init__."""
    import inspect

    found = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    kinds = {p.kind for p in found.values()}
    anything = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return {"inputs", "outputs"} <= set(found) or anything <= kinds


def _refuse_arguments(args: Any) -> None:
    from nnfast.layers.symbolic import SymbolicTensor

    if isinstance(args[0], (list, tuple)) and any(isinstance(v, Layer) for v in args[0]):
        raise TypeError("[Model] a list of layers is a Sequential. Received: Model([layers]). Use Sequential([...])")
    raise TypeError(
        f"[Model] inputs must be symbolic tensors ({SymbolicTensor.__name__}). Received: {args[0]!r}. "
        "Begin with x = Input(shape=...), and call the layers on x"
    )


def _shapes(tensors: list[Any]) -> Any:
    shapes = [t.shape for t in tensors]
    return shapes[0] if len(shapes) == 1 else shapes


def _verbosity(verbose: Any) -> int:
    if isinstance(verbose, str) and verbose == "auto":
        return 1
    if verbose not in (0, 1, 2):  # True and False are bars or none
        raise ValueError(f"[fit] verbose must be 0, 1, 2 or 'auto'. Received: {verbose!r}")
    return int(verbose)


def _steps(name: str, data: ArrayData | IterableData, steps: int | None) -> int | None:
    if steps is not None and (not _whole(steps) or steps < 1):
        raise ValueError(f"[{name}] the number of steps must be a positive integer. Received: {steps!r}")
    return data.steps if steps is None else int(steps)


def _whole(value: Any) -> bool:
    """Is it an integer? A bool is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _iterable(x: Any) -> bool:
    return not isinstance(x, (np.ndarray, Tensor, list, tuple, dict)) and not hasattr(x, "__array__")


def _validates(epoch: int, frequency: Any) -> bool:
    if isinstance(frequency, (list, tuple, set)):
        return epoch + 1 in frequency
    return (epoch + 1) % frequency == 0


def _split(x: Any, y: Any, sample_weight: Any, fraction: float) -> tuple[Any, Any]:
    """The last fraction of each array is for validation."""
    if not _number(fraction) or not 0 < fraction < 1:
        raise ValueError(f"[fit] validation_split must be a number between 0 and 1. Received: {fraction!r}")
    if _iterable(x):
        raise ValueError("[fit] validation_split needs arrays. Give validation_data= beside a generator")
    parts = [structured("fit", label, v) for label, v in (("x", x), ("y", y), ("sample_weight", sample_weight))]
    rows = len(parts[0][1][0])
    at = int(np.floor(rows * (1 - fraction)))
    if at == 0 or at == rows:
        raise ValueError(f"[fit] validation_split={fraction} of {rows} samples leaves one side empty")
    head = tuple(pack(skeleton, [None if a is None else a[:at] for a in leaves]) for skeleton, leaves in parts)
    return head, tuple(pack(skeleton, [None if a is None else a[at:] for a in leaves]) for skeleton, leaves in parts)
