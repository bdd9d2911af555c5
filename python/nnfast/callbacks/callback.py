"""Callbacks: what `fit`, `evaluate` and `predict` call between steps and epochs."""

from collections.abc import Callable, Mapping
from typing import Any

from nnfast.tensor import Tensor
from nnfast.utils.progbar import Progbar

Logs = dict[str, float] | None


class Callback:
    """Base class: override the hooks that are wanted. `self.model` and `self.params` are set before training.

    Between steps the model's weights and metrics have their true values; a hook may predict, change the learning rate
    or the weights, or set `self.model.stop_training = True`.
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self.model = model

    def on_train_begin(self, logs: Logs = None) -> None: ...
    def on_train_end(self, logs: Logs = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None: ...
    def on_batch_begin(self, batch: int, logs: Logs = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs = None) -> None: ...
    def on_test_begin(self, logs: Logs = None) -> None: ...
    def on_test_end(self, logs: Logs = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None: ...
    def on_predict_begin(self, logs: Logs = None) -> None: ...
    def on_predict_end(self, logs: Logs = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.on_batch_end(batch, logs)


class CallbackList:
    """Several callbacks as one. Hooks that nobody overrides cost nothing.

    Args:
        callbacks: a Callback, a list of them, or None.
        add_history: add a `History` if there is none.
        add_progbar: add a `ProgbarLogger` if there is none.
        model, **params: passed on to each callback.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        given = callbacks if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]
        self.callbacks: list[Callback] = []
        for c in given:
            if not isinstance(c, Callback):
                made = isinstance(c, type) and issubclass(c, Callback)
                fix = f". Did you mean {c.__name__}(...)?" if made else ""
                raise TypeError(f"[callbacks] every callback must be a Callback object. Received: {c!r}{fix}")
            self.callbacks.append(c)
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        if add_history and not any(isinstance(c, History) for c in self.callbacks):
            self.callbacks.append(History())
        self._hooks: dict[str, list[Callable[..., None]]] = {}
        self.params = params
        for c in self.callbacks:
            c.set_params(params)
            if model is not None:
                c.set_model(model)

    def find(self, kind: type) -> Any:
        """The first callback of a class, or None."""
        return next((c for c in self.callbacks if isinstance(c, kind)), None)

    def call(self, hook: str, *args: Any) -> None:
        """Calls `hook` of every callback that overrides it."""
        for f in self.listeners(hook):
            f(*args)

    def call_with_metrics(self, hook: str, batch: int, logs: Mapping[str, Any]) -> None:
        """Calls `hook` after a batch. Callbacks get a dict of numbers, the same one for all; if only the progress bar
        listens, none is made: it reads the metrics when it draws."""
        values: Any = None
        for f in self.listeners(hook):
            if isinstance(getattr(f, "__self__", None), ProgbarLogger):
                f(batch, logs if values is None else values)
                continue
            if values is None:
                values = numbers(logs)
            f(batch, values)

    def hears_batches(self, kind: str) -> bool:
        """Does somebody, other than the progress bar, listen at each batch of "train", "test" or "predict"?"""
        found = [f for when in ("begin", "end") for f in self.listeners(f"on_{kind}_batch_{when}")]
        return not all(type(getattr(f, "__self__", None)) is ProgbarLogger for f in found)

    def listeners(self, hook: str) -> list[Callable[..., None]]:
        """The bound methods of the callbacks that override `hook`."""
        if hook not in self._hooks:
            old = _OLD.get(hook, hook)
            self._hooks[hook] = [getattr(c, hook) for c in self.callbacks if _defines(c, hook) or _defines(c, old)]
        return self._hooks[hook]


_OLD = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def _defines(callback: Callback, hook: str) -> bool:
    """Does its class, or it alone, have this hook anew?"""
    return getattr(type(callback), hook) is not getattr(Callback, hook) or hook in vars(callback)


def numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """Logs as Python numbers: what is a Tensor is read. A metric with several values gives an array."""
    return {k: _number(v) for k, v in logs.items()}


def _number(value: Any) -> Any:
    if isinstance(value, Tensor):
        return float(value.item()) if value.size == 1 else value.numpy()
    return float(value)


class History(Callback):
    """Collects the logs of each epoch. `fit` returns it: see `history.history["loss"]` and `history.epoch`."""

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)


class ProgbarLogger(Callback):
    """The progress bar of `fit`, `evaluate` and `predict`. It reads the metrics a few times a second, not each step."""

    def __init__(self) -> None:
        self._bar: Progbar | None = None
        self._in_fit = False
        self._epochs = 1

    @property
    def _verbose(self) -> int:
        return self.params.get("verbose", 1)

    def _start(self) -> None:
        self._bar = Progbar(self.params.get("steps"), verbose=self._verbose)

    def _step(self, batch: int, logs: Logs) -> None:
        if self._bar is not None and self._bar.due(batch + 1):
            self._bar.update(batch + 1, list((logs or {}).items()), finalize=False)

    def _finish(self, logs: Logs) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.target or self._bar.seen, list((logs or {}).items()), finalize=True)
            self._bar = None

    def abandon(self) -> None:
        """Ends the line of a bar that will not be finished (an error, Ctrl-C)."""
        if self._bar is not None:
            self._bar.abandon()
            self._bar = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._in_fit, self._epochs = True, self.params.get("epochs", 1)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._start()
        assert self._bar is not None
        self._bar.title(f"Epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._step(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._finish(logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        if not self._in_fit:
            self._start()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not self._in_fit:
            self._step(batch, logs)

    def on_test_end(self, logs: Logs = None) -> None:
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._start()

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._step(batch, None)

    def on_predict_end(self, logs: Logs = None) -> None:
        self._finish(None)


class LambdaCallback(Callback):
    """A callback made of functions, e.g. `LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))`."""

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Callable[..., Any],
    ):
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, f in hooks.items():
            if not hasattr(Callback, name):
                raise TypeError(f"[LambdaCallback] there is no such hook. Received: {name}")
            if f is not None:
                setattr(self, name, f)
