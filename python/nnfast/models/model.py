"""Model: a layer that can be compiled, trained, evaluated and asked to predict.

This file divides the labour: `fit` is the loop over epochs and steps, `train_step` is one step as on a blackboard, and
what happens between steps is in callbacks. Batches come from `models/data.py`.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from nnfast import callbacks as cb
from nnfast import config, losses, ops, optimizers, saving
from nnfast import metrics as metric_room
from nnfast.layers.layer import Layer, standardize_shape
from nnfast.models.data import ArrayData, IterableData, make_data, unpack_x_y_sample_weight
from nnfast.models.summary import print_summary
from nnfast.saving.serialization import deserialize_keras_object, serialize_keras_object
from nnfast.tape import GradientTape, no_grad
from nnfast.tensor import Tensor, as_array


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
    """Base class of models: subclass it and define `call(x, training=False)`, or use `Sequential`.

    Args:
        name: shown in the summary.

    Attributes:
        stop_training: set it to True in a callback and `fit` ends after the epoch.
        check_finite: stop training at the first loss that is not finite, naming the batch and the layer (default True).
        history: the `History` of the last `fit`.
    """

    def __init__(self, *args: Any, name: str | None = None, **kwargs: Any):
        if args or "inputs" in kwargs or "outputs" in kwargs:
            raise ValueError(
                "[Model] Model(inputs, outputs) is not supported. Use Sequential, or subclass Model and define call"
            )
        super().__init__(name=name, **kwargs)
        self.stop_training = False
        self.check_finite = True
        self._initial_epoch: int | None = None
        self.history: cb.History | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Any = None
        self._loss: losses.Loss | None = None
        self._loss_tracker: metric_room.Mean | None = None
        self._metrics: list[metric_room.Metric] = []
        self._weighted_metrics: list[metric_room.Metric] = []
        self._status = ops.new_status()
        self._compile_arguments: dict[str, Any] = {}

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
            loss: a name (`"mse"`), a function (y_true, y_pred), or a Loss.
            loss_weights: must be None: there is one output.
            metrics: a list of names, functions or Metrics. `"accuracy"` chooses by the shapes that it sees.
            weighted_metrics: the same, with class and sample weights applied.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: accepted and without effect.
        """
        if loss_weights is not None:
            raise ValueError(
                f"[compile] loss_weights weighs several outputs, this model has one. Received: {loss_weights!r}"
            )
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
        self.loss = loss[0] if isinstance(loss, (list, tuple)) and len(loss) == 1 else loss
        self._loss = losses.get(self.loss)
        self._loss_tracker = metric_room.Mean("loss")
        self._metrics = _metric_list("metrics", metrics)
        self._weighted_metrics = _metric_list("weighted_metrics", weighted_metrics)

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
        if type(self).build is not Layer.build or not isinstance(shape, tuple):
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
        """The loss and the compiled metrics, in the order of `evaluate`'s result."""
        tracker = [] if self._loss_tracker is None else [self._loss_tracker]
        return [*tracker, *self._metrics, *self._weighted_metrics]

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

    def to_json(self, **kwargs: Any) -> str:
        """The architecture as JSON; `models.model_from_json` reads it. kwargs go to `json.dumps`."""
        return json.dumps(serialize_keras_object(self), **kwargs)

    # ---- one step ----
    def train_step(self, data: Any) -> MutableMapping[str, float]:
        """One step of training on one batch (x, y, sample_weight). Override it to train in another way."""
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

    def predict_step(self, data: Any) -> Tensor:
        """The predictions for one batch."""
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
            total = self._loss(y, y_pred, sample_weight)
            if total.ndim:
                total = ops.mean(total)
        for extra in self.losses:
            total = extra if total is None else total + extra
        if total is None:
            raise ValueError("[compile] there is nothing to minimise. Give loss=, or layers with regularizers")
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> MutableMapping[str, float]:
        """Updates the compiled metrics; returns them, read when asked."""
        if y is not None:
            for m in self._metrics:
                m.update_state(y, y_pred)
            for m in self._weighted_metrics:
                m.update_state(y, y_pred, sample_weight)
        return Results(self.get_metrics_result)

    def _track_loss(self, loss: Tensor, y_pred: Any) -> None:
        if self._loss_tracker is not None:
            self._loss_tracker.update_state(loss.detach(), scale=float(y_pred.shape[0] if y_pred.ndim else 1))

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
        if class_weight is not None and y is None and not hasattr(x, "__iter__"):
            raise ValueError("[fit] class_weight needs targets. Received: y=None")
        data = make_data("fit", x, y, sample_weight, batch_size, shuffle, self._x_dtype())
        validation = None
        if validation_data is not None:
            with _about_validation():
                vx, vy, vw = unpack_x_y_sample_weight(validation_data)
            size = None if _iterable(vx) else validation_batch_size or batch_size
            with _about_validation():
                validation = make_data("fit", vx, vy, vw, size, False, self._x_dtype())
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
        self.history = calls.find(cb.History)
        assert self.history is not None
        self.stop_training = False
        weights = _ClassWeights(class_weight) if class_weight is not None else None
        try:
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
            if epochs > initial_epoch:
                self._compiled("fit").finalize_variable_values(self.trainable_variables)
            calls.call("on_train_end", logs if epochs > initial_epoch else {})
        except BaseException:
            bar = calls.find(cb.ProgbarLogger)
            if bar is not None:
                bar.abandon()
            raise
        return self.history

    def _run_epoch(
        self, epoch: int, stream: "_Stream", weights: "_ClassWeights | None", calls: cb.CallbackList
    ) -> dict[str, float]:
        self.reset_metrics()
        calls.call("on_epoch_begin", epoch, {})
        logs: Mapping[str, float] = {}
        for step, batch in stream.checked():
            if weights is not None:
                batch = weights.apply(batch)
            calls.call("on_train_batch_begin", step, {})
            logs = self._guarded(self.train_step, batch, "fit", epoch, step, stream)
            calls.call_with_metrics("on_train_batch_end", step, logs)
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
        self._status[:] = 0  # an exception in the step before may have left something there
        with ops.use_status(self._status):
            result = step_function(batch)
        if self._status[0]:
            found = self._status.copy()
            self._status[:] = 0
            self._raise(found, batch, name, epoch, step, stream)
        return result

    def _raise(
        self, found: np.ndarray, batch: Any, name: str, epoch: int | None, step: int, stream: "_Stream | None"
    ) -> None:
        code, sample = int(found[0]), int(found[2])
        rows = None if stream is None else stream.data.rows_of(stream.at)
        where = f"batch {step}" if epoch is None else f"batch {step} of epoch {epoch + 1}"
        whole = code in (ops.BAD_LABEL, ops.BAD_INDEX)
        value = int(found[3]) if whole else float(found[3:4].view(np.float64)[0])
        if code == ops.NON_FINITE_LOSS:
            raise ValueError(
                f"[{name}] the loss is {value} at {where}: {self._first_non_finite(batch)} "
                "The weights are those before this batch. Lower the learning rate, scale the inputs, or set "
                "model.check_finite = False to train on"
            )
        row = "" if rows is None or sample >= len(rows) else f" (row {int(rows[sample])} of the data)"
        classes = self.output_shape[-1] if self.built and self.output_shape else "the number of"
        raise ValueError(
            f"[{name}] the target of sample {sample}{row} in {where} is {value}, but targets are class "
            f"numbers from 0, below {classes}" + ("" if epoch is None else ". The weights are those before this batch")
        )

    def _first_non_finite(self, batch: Any) -> str:
        """Runs the batch again, layer by layer, and says where the first NaN or Inf appears."""
        x, y, _ = unpack_x_y_sample_weight(batch)
        for label, v in (("the input", x), ("the target", y)):
            if v is not None and v.dtype.kind == "f" and not np.isfinite(v.data).all():
                return f"{label} holds NaN or Inf."
        for v in self.weights:
            if v.dtype.kind == "f" and not np.isfinite(v.data).all():
                return f"the weight '{v.path}' holds NaN or Inf."
        with no_grad():
            for layer, out in self._walk(x):
                if not np.isfinite(out.data).all():
                    return f"the first layer to give NaN or Inf is '{layer.name}' ({type(layer).__name__})."
        return "every layer's output is finite, so it is the loss itself that overflows."

    def _walk(self, x: Any) -> Iterator[tuple[Layer, Tensor]]:
        """(layer, its output) in order, where the model knows its order."""
        yield self, self(x, training=True)

    def _x_dtype(self) -> str | None:
        """What inputs are converted to as they are gathered; None leaves integers as they are."""
        return None

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
            [loss, metric, ...] in the order of `metrics_names`; the loss alone if there are no metrics; a dict if
            return_dict.
        """
        if kwargs:
            raise TypeError(f"[evaluate] unknown argument. Received: {', '.join(kwargs)}")
        self._compiled("evaluate")
        data = make_data("evaluate", x, y, sample_weight, batch_size, False, self._x_dtype())
        verbose = _verbosity(verbose)
        calls = cb.CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, steps=_steps("evaluate", data, steps)
        )
        logs = self._run_evaluation(data, steps, calls)
        if return_dict:
            return logs
        values = [logs[n] for n in self.metrics_names if n in logs]
        return values[0] if len(values) == 1 else values

    def _run_evaluation(
        self, data: ArrayData | IterableData, steps: int | None, calls: cb.CallbackList, name: str = "evaluate"
    ) -> dict[str, float]:
        self.reset_metrics()
        calls.call("on_test_begin", {})
        logs: Mapping[str, float] = {}
        stream = _Stream(data, steps)
        for step, batch in stream.epoch():
            calls.call("on_test_batch_begin", step, {})
            with _about_validation() if name == "fit" else nullcontext():
                logs = self._guarded(self.test_step, batch, name, None, step, stream)
            calls.call_with_metrics("on_test_batch_end", step, logs)
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
    ) -> np.ndarray:
        """The model's output for each row of x, as a NumPy array of its own."""
        data = make_data("predict", x, None, None, batch_size, False, self._x_dtype())
        verbose = _verbosity(verbose)
        calls = cb.CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, steps=_steps("predict", data, steps)
        )
        calls.call("on_predict_begin", {})
        outputs = []
        for step, batch in _Stream(data, steps).epoch():
            calls.call("on_predict_batch_begin", step, {})
            outputs.append(self.predict_step(batch))
            calls.call("on_predict_batch_end", step, {"outputs": outputs[-1]})
        calls.call("on_predict_end", {})
        if not outputs:
            raise ValueError("[predict] the data gave no batch")
        return outputs[0].numpy() if len(outputs) == 1 else ops.concat(outputs, axis=0).numpy()

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
        if class_weight is not None:
            batch = _ClassWeights(class_weight).apply(batch)
        return self._single_result(self._guarded(self.train_step, batch, "train_on_batch", 0, 0, None), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and the metrics, this batch included."""
        self._compiled("test_on_batch")
        batch = self._single("test_on_batch", x, y, sample_weight)
        return self._single_result(self._guarded(self.test_step, batch, "test_on_batch", None, 0, None), return_dict)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The model's output for this batch."""
        return self.predict_step(self._single("predict_on_batch", x, None, None)).numpy()

    def _single(self, name: str, x: Any, y: Any, sample_weight: Any) -> Any:
        x = x if isinstance(x, Tensor) else Tensor(as_array(x, name=name))
        if x.ndim == 0:
            raise ValueError(f"[{name}] x must have one row per sample. Received: x.shape={x.shape}")
        data = ArrayData(name, x.data, y, sample_weight, max(len(x), 1), False, self._x_dtype())
        return next(data.batches())

    def _single_result(self, logs: Mapping[str, float], return_dict: bool) -> Any:
        values = cb.numbers(logs)
        if return_dict:
            return values
        found = [values[n] for n in self.metrics_names if n in values]
        return found[0] if len(found) == 1 else found


class _Stream:
    """Batches for several epochs: each epoch a pass over the data or, with steps, so many batches."""

    def __init__(self, data: ArrayData | IterableData, steps: int | None):
        self.data, self.steps, self.exhausted = data, steps, False
        self.at = -1  # which batch of its pass over the data the last one was
        self._passing: Iterator[Any] | None = None

    def epoch(self) -> Iterator[tuple[int, Any]]:
        if self.steps is None:
            for step, batch in enumerate(self.data.batches()):
                self.at = step
                yield step, batch
            return
        for step in range(self.steps):
            batch = self._next()
            if batch is None:
                self.exhausted = True
                warnings.warn(
                    f"[fit] the data ran out after {step} of {self.steps} steps: training ends here. "
                    "A generator must yield steps * epochs batches",
                    UserWarning,
                    stacklevel=4,
                )
                return
            yield step, batch

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
        if self._passing is None:
            self._passing = self.data.batches()
        batch = next(self._passing, None)
        if batch is None and (isinstance(self.data, ArrayData) or self.data.indexed):
            self.at = -1
            self._passing = self.data.batches()  # arrays begin again; a generator that ended stays ended
            batch = next(self._passing, None)
        self.at += 1
        return batch


class _ClassWeights:
    """Turns {class: weight} into sample weights."""

    def __init__(self, weights: Mapping[int, float]):
        if not isinstance(weights, Mapping) or not weights:
            raise ValueError(f"[fit] class_weight is a dict {{class number: weight}}. Received: {weights!r}")
        if not all(0 <= int(c) < 2**20 for c in weights):
            raise ValueError(
                f"[fit] class numbers count from 0 and stay below 2^20. Received: class_weight={dict(weights)}"
            )
        self.classes = max(int(c) for c in weights) + 1
        self.table = np.ones(self.classes + 1, config.floatx())  # the last entry is for all classes not named
        for c, w in weights.items():
            self.table[int(c)] = w

    def apply(self, batch: Any) -> Any:
        x, y, w = batch
        if y is None:
            raise ValueError("[fit] class_weight needs targets. Received: y=None")
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
    except (TypeError, ValueError) as e:
        if not str(e).startswith("[fit] "):
            raise
        raise type(e)(str(e).replace("[fit] ", "[fit] validation_data: ", 1)) from None


def _metric_list(name: str, given: Any) -> list[metric_room.Metric]:
    if given is None:
        return []
    if isinstance(given, dict):
        raise ValueError(f"[compile] {name} is a list: this model has one output. Received: {given!r}")
    if not isinstance(given, (list, tuple)):
        given = [given]
    if len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = given[0]
    made = [metric_room.get(m) for m in given]
    seen: dict[str, int] = {}
    for m in made:
        count = seen.get(m.name, 0)
        seen[m.name] = count + 1
        if count:
            m.name = f"{m.name}_{count}"
    return made


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


def _iterable(x: Any) -> bool:
    return not isinstance(x, (np.ndarray, Tensor, list, tuple)) and not hasattr(x, "__array__")


def _validates(epoch: int, frequency: Any) -> bool:
    if isinstance(frequency, (list, tuple, set)):
        return epoch + 1 in frequency
    return (epoch + 1) % frequency == 0


def _split(x: Any, y: Any, sample_weight: Any, fraction: float) -> tuple[Any, Any]:
    """The last fraction of each array is for validation."""
    if not 0 < fraction < 1:
        raise ValueError(f"[fit] validation_split must be between 0 and 1. Received: {fraction}")
    if _iterable(x):
        raise ValueError("[fit] validation_split needs arrays. Give validation_data= beside a generator")
    arrays = [None if v is None else as_array(v, name="fit") for v in (x, y, sample_weight)]
    rows = len(arrays[0])  # type: ignore[arg-type]
    at = int(np.floor(rows * (1 - fraction)))
    if at == 0 or at == rows:
        raise ValueError(f"[fit] validation_split={fraction} of {rows} samples leaves one side empty")
    head = tuple(None if a is None else a[:at] for a in arrays)
    return head, tuple(None if a is None else a[at:] for a in arrays)
