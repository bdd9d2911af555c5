"""Callbacks that watch a metric: stop, lower the learning rate, or keep a file when it improves."""

import numbers
import os
from typing import Any

import numpy as np

from nnfast.callbacks.callback import Callback, Logs


class Monitor(Callback):
    """Base class: knows a metric and which way is better.

    Args:
        monitor: key of the logs, e.g. "val_loss".
        mode: "min", "max", or "auto": from the name (accuracy, auc, precision, recall, f1, r2, top_k, true_...: max;
            else min).
        min_delta: a smaller change is no improvement.
    """

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"[{type(self).__name__}] mode must be 'auto', 'min' or 'max'. Received: {mode!r}")
        words = ("acc", "auc", "precision", "recall", "f1", "fbeta", "r2", "top_k", "true_", "cosine_sim")
        rising = any(word in monitor for word in words)
        self.sign = 1.0 if mode == "max" or (mode == "auto" and rising) else -1.0
        self.monitor, self.min_delta = monitor, abs(min_delta)
        self._warned = False

    def better(self, value: float, than: float | None) -> bool:
        """Is value an improvement? NaN is none."""
        if value != value:
            return False
        return than is None or self.sign * (value - than) > self.min_delta

    def value(self, logs: Logs) -> float | None:
        """The metric, or None and a warning if the logs lack it or it is no single number."""
        found = (logs or {}).get(self.monitor)
        if found is not None and np.ndim(found) == 0:
            return float(found)
        if not self._warned:
            import logging  # slow to import

            logging.getLogger("nnfast").warning(
                "[%s] there is no metric %r with one value, so it does nothing. Known: %s",
                type(self).__name__,
                self.monitor,
                ", ".join(logs or {}),
            )
            self._warned = True
        return None


def _patience(name: str, value: Any) -> Any:
    """The checked patience: any number, so that math.inf is "never"."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"[{name}] patience must be a number of epochs. Received: patience={value!r}")
    return value


class EarlyStopping(Monitor):
    """Stops `fit` when a metric has stopped improving.

    Args:
        monitor: key of the logs, e.g. "val_loss".
        min_delta: a smaller change is no improvement.
        patience: epochs without improvement before it stops.
        verbose: 1 says when it stops and when it restores.
        mode: "min", "max", or "auto": from the name (accuracy, acc, auc, precision, recall, f1: max; else min).
        baseline: a value that must be reached at all.
        restore_best_weights: put back the weights of the best epoch.
        start_from_epoch: epochs that are not judged.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose = _patience("EarlyStopping", patience), verbose
        self.baseline, self.restore_best_weights, self.start_from_epoch = (
            baseline,
            restore_best_weights,
            start_from_epoch,
        )
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best: float | None = None
        self.best_weights: Any = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self.value(logs)
        if value is None:
            return
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Lowers the learning rate when a metric has stopped improving.

    Args:
        monitor: key of the logs.
        factor: the learning rate is multiplied by it; below 1.
        patience: epochs without improvement before that.
        verbose: 1 says so.
        mode, min_delta: see `Monitor`.
        cooldown: epochs after it that are not judged.
        min_lr: it is never below.

    The learning rate is a key of the history, "learning_rate".
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ):
        if kwargs:
            raise TypeError(f"[ReduceLROnPlateau] unknown argument. Received: {', '.join(kwargs)}")
        if not 0 <= factor < 1:
            raise ValueError(f"[ReduceLROnPlateau] factor must be from 0 to below 1. Received: factor={factor}")
        super().__init__(monitor, mode, min_delta)
        self.factor, self.patience, self.verbose = factor, _patience("ReduceLROnPlateau", patience), verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.best: float | None = None
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        rate = float(optimizer.learning_rate)
        if logs is not None:
            logs["learning_rate"] = rate
        value = self.value(logs)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    now = float(optimizer.learning_rate)
                    print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {now}.")


class EveryFew(Callback):
    """Base class of callbacks that save each epoch or each so many batches: subclasses define `save`."""

    def __init__(self, save_freq: Any = "epoch"):
        whole = isinstance(save_freq, (int, np.integer)) and not isinstance(save_freq, bool) and save_freq > 0
        if save_freq != "epoch" and not whole:
            raise ValueError(
                f"[{type(self).__name__}] save_freq must be 'epoch' or a number of batches. Received: {save_freq!r}"
            )
        self.save_freq = save_freq
        self._batches = self._epoch = 0
        # Batches are listened to only where they matter: a listener makes fit read the metrics after each of them.
        if save_freq != "epoch":
            self.on_train_batch_end = self._on_batch  # type: ignore[method-assign]

    def save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        """Called when it is time; batch is None at the end of an epoch."""
        raise NotImplementedError(f"[{type(self).__name__}] needs a method save(epoch, batch, logs)")

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def _on_batch(self, batch: int, logs: Logs = None) -> None:
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self.save(self._epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self.save(epoch, None, logs)


class ModelCheckpoint(EveryFew, Monitor):
    """Saves the model, or its weights, while it trains.

    Args:
        filepath: a name that ends in .keras or .h5, for weights in .weights.h5. It may hold fields:
            "best-{epoch:02d}-{val_loss:.2f}.keras".
        monitor, mode: what to watch, see `Monitor`.
        verbose: 1 says what is saved.
        save_best_only: only when the metric improves?
        save_weights_only: the weights alone?
        save_freq: "epoch", or so many batches.
        initial_value_threshold: what is not better than this is not saved.
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ):
        EveryFew.__init__(self, save_freq)
        Monitor.__init__(self, monitor, mode)
        self.filepath = os.fspath(filepath)
        endings = (".weights.h5",) if save_weights_only else (".keras", ".h5")
        if not self.filepath.endswith(endings):
            kind = "save_weights_only=True" if save_weights_only else "a whole model"
            raise ValueError(
                f"[ModelCheckpoint] with {kind} filepath must end in {' or '.join(endings)}. "
                f"Received: filepath={self.filepath!r}"
            )
        self.verbose, self.save_best_only, self.save_weights_only = verbose, save_best_only, save_weights_only
        self.best = initial_value_threshold

    def save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        """Saves, if the metric says so."""
        path = self._path(epoch, batch, logs)
        if self.save_best_only:
            value = self.value(logs)
            if value is not None and not self.better(value, self.best):
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: {self.monitor} did not improve from {self.best:.5f}")
                return
            if value is not None:
                if self.verbose:
                    before = "None" if self.best is None else f"{self.best:.5f}"
                    print(
                        f"\nEpoch {epoch + 1}: {self.monitor} improved from {before} to {value:.5f}, saving to {path}"
                    )
                self.best = value
        elif self.verbose:
            print(f"\nEpoch {epoch + 1}: saving model to {path}")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path, overwrite=True)

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        fields = {"epoch": epoch + 1, **({} if batch is None else {"batch": batch + 1}), **(logs or {})}
        try:
            return self.filepath.format(**fields)
        except KeyError as e:
            raise KeyError(
                f"[ModelCheckpoint] filepath has a field that the logs do not. Received: {self.filepath!r}, "
                f"field {e}. Known: {', '.join(fields)}"
            ) from None
