"""Callbacks that write down what happens: tables, TensorBoard's files, gradient norms, backups; and TerminateOnNaN."""

import json
import math
import os
import struct
import time
from typing import IO, Any

import numpy as np

from nnfast import ops
from nnfast.callbacks.callback import Callback, Logs
from nnfast.callbacks.monitors import EveryFew
from nnfast.saving import files, hdf5, weights
from nnfast.saving.atomic import atomic_file


class TerminateOnNaN(Callback):
    """Stops `fit` at the first loss that is NaN or Inf, without the error that `fit` raises by itself.

    Args:
        raise_error: raise RuntimeError?
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = raise_error

    def on_train_begin(self, logs: Logs = None) -> None:
        self._before, self.model.check_finite = self.model.check_finite, False

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            self.model.check_finite = self._before
            raise RuntimeError(f"[TerminateOnNaN] the loss is {loss} at batch {batch}. Lower the learning rate")
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        self.model.check_finite = self._before


class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a table.

    Args:
        filename: the file.
        separator: between columns.
        append: go on in a file that is there? (Its header is kept.)
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False):
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self._file: IO[str] | None = None
        self._keys: list[str] | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._close()
        self._header = not (self.append and os.path.exists(self.filename) and os.path.getsize(self.filename))
        self._file = open(self.filename, "a" if self.append else "w", newline="", encoding="utf-8")  # noqa: SIM115

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        import csv

        logs = logs or {}
        assert self._file is not None
        writer = csv.writer(self._file, delimiter=self.separator)
        if self._keys is None:
            self._keys = sorted(logs)
            if not any(k.startswith("val_") for k in logs):  # validation may come in a later epoch
                self._keys += [f"val_{k}" for k in self._keys]
            if self._header:
                writer.writerow(["epoch", *self._keys])
        values = (logs.get(k, "NA") for k in self._keys)
        writer.writerow([epoch, *(v.tolist() if isinstance(v, np.ndarray) else v for v in values)])
        self._file.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._keys = None, None


class GradientNorms(Callback):
    """Keeps the length of each layer's gradient at every step: how gradients vanish and explode is seen in it.
    `nnfast.plot.gradient_norms` draws it.

    Args:
        every: look at every so many-th step.

    Attributes:
        norms: {layer: [length at each step that was looked at]}.
        steps: which steps those were.

    >>> import numpy as np, nnfast
    >>> model = nnfast.Sequential([nnfast.layers.Dense(4, name="first"), nnfast.layers.Dense(1, name="last")])
    >>> model.compile("sgd", "mse")
    >>> watch = nnfast.callbacks.GradientNorms()
    >>> history = model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, verbose=0, callbacks=[watch])
    >>> {layer: len(norms) for layer, norms in watch.norms.items()}
    {'first': 2, 'last': 2}
    """

    def __init__(self, every: int = 1):
        if every < 1:
            raise ValueError(f"[GradientNorms] every must be at least 1. Received: every={every}")
        self.every = every
        self.norms: dict[str, list[float]] = {}
        self.steps: list[int] = []
        self._count = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self.norms, self.steps, self._count = {}, [], 0
        self._unhook()
        optimizer = self.model.optimizer
        apply = optimizer.apply

        def watched(grads: Any, trainable_variables: Any = None) -> Any:
            variables = self.model.trainable_variables if trainable_variables is None else trainable_variables
            self._look(grads, variables)
            return apply(grads, trainable_variables)

        optimizer.apply = watched  # what the step hands to the optimizer passes by here
        self._hooked = optimizer

    def _look(self, grads: Any, variables: Any) -> None:
        self._count += 1
        if (self._count - 1) % self.every:
            return
        squares: dict[str, float] = {}
        for g, v in zip(grads, variables):
            if g is not None:
                layer = v.path.rpartition("/")[0] or v.path
                squares[layer] = squares.get(layer, 0.0) + float(ops.sum(ops.square(g)))
        self.steps.append(self._count - 1)
        for layer, square in squares.items():
            self.norms.setdefault(layer, []).append(math.sqrt(square))

    _hooked: Any = None

    def _unhook(self) -> None:
        if self._hooked is not None:
            del self._hooked.apply
            self._hooked = None

    def on_train_end(self, logs: Logs = None) -> None:
        self._unhook()


class BackupAndRestore(EveryFew):
    """Saves training so that the same script, started again after an interruption, goes on where it stopped.

    The model must be built before `fit`. The backup holds weights, optimizer, random numbers and the epoch; a run
    that is interrupted between epochs and started again gives the same bits as one that was not. Where save_freq is a
    number of batches, it goes on at the start of the epoch.

    Args:
        backup_dir: a folder of its own for the backup.
        save_freq: "epoch", or so many batches.
        double_checkpoint: keep the backup before the last one, too? (Each is written whole or not at all in any case.)
        delete_checkpoint: remove the folder when training has ended?
    """

    def __init__(
        self,
        backup_dir: Any,
        save_freq: Any = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        super().__init__(save_freq)
        if not backup_dir:
            raise ValueError(f"[BackupAndRestore] backup_dir must name a folder. Received: {backup_dir!r}")
        self.backup_dir = os.fspath(backup_dir)
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self.path = os.path.join(self.backup_dir, "latest.weights.h5")
        self._older = os.path.join(self.backup_dir, "previous.weights.h5")

    def on_train_begin(self, logs: Logs = None) -> None:
        model = self.model
        if not model.built:
            raise ValueError(
                "[BackupAndRestore] the model must be built before fit, so that a backup can be loaded into it. "
                "Call model.build(input_shape), or give the first layer an Input"
            )
        path = next((p for p in (self.path, self._older) if os.path.exists(p)), None)
        if path is None:
            return
        model.load_weights(path)
        with hdf5.h5py().File(path, "r") as file:
            weights.restore_optimizer(model.optimizer, model.trainable_variables, *weights.optimizer_arrays(file))
            known = json.loads(file.attrs["nnfast"])
        files.restore_state(model, known)
        model._initial_epoch = int(known["epoch"])

    def save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        """Writes the backup: one file, whole or not at all."""
        os.makedirs(self.backup_dir, exist_ok=True)
        if self.double_checkpoint and os.path.exists(self.path):
            os.replace(self.path, self._older)
        known = files.extra_state(self.model, self.model.optimizer)
        known["epoch"] = epoch + 1 if batch is None else epoch
        with atomic_file(self.path) as stream, hdf5.h5py().File(stream, "w") as file:
            weights.write_paths(file, self.model, self.model.optimizer)
            file.attrs["nnfast"] = json.dumps(known)

    def on_train_end(self, logs: Logs = None) -> None:
        if self.delete_checkpoint:
            import shutil  # it brings lzma along

            shutil.rmtree(self.backup_dir, ignore_errors=True)


class TensorBoard(Callback):
    """Writes scalars (and histograms of weights) that TensorBoard shows: `tensorboard --logdir logs`.

    Args:
        log_dir: the folder; training goes to its subfolder train, validation to validation.
        histogram_freq: epochs between histograms of the weights; 0: none.
        update_freq: "epoch"; "batch" or a number of batches also writes the metrics so often.
        write_steps_per_second: also write how fast an epoch was.
        write_graph, write_images, profile_batch, embeddings_freq, embeddings_metadata: accepted and without effect.
    """

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Any = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ):
        if update_freq not in ("epoch", "batch") and not (isinstance(update_freq, int) and update_freq > 0):
            raise ValueError(
                f"[TensorBoard] update_freq must be 'epoch', 'batch' or a number of batches. Received: {update_freq!r}"
            )
        self.log_dir, self.histogram_freq, self.update_freq = os.fspath(log_dir), histogram_freq, update_freq
        self.write_steps_per_second = write_steps_per_second
        self._writers: dict[str, _EventFile] = {}
        self._step, self._began, self._began_step = 0, 0.0, 0
        if update_freq != "epoch":
            self.on_train_batch_end = self._on_batch  # type: ignore[method-assign]

    def _writer(self, part: str) -> "_EventFile":
        if part not in self._writers:
            self._writers[part] = _EventFile(os.path.join(self.log_dir, part))
        return self._writers[part]

    def on_train_begin(self, logs: Logs = None) -> None:
        self._step = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._began, self._began_step = time.perf_counter(), int(self.model.optimizer.iterations)

    def _on_batch(self, batch: int, logs: Logs = None) -> None:
        self._step += 1
        every = 1 if self.update_freq == "batch" else self.update_freq
        if self._step % every == 0:
            self._writer("train").scalars({f"batch_{k}": v for k, v in (logs or {}).items()}, self._step)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = dict(logs or {})
        train = {f"epoch_{k}": v for k, v in logs.items() if not k.startswith("val_")}
        train["epoch_learning_rate"] = float(self.model.optimizer.learning_rate)
        if self.write_steps_per_second:
            steps = int(self.model.optimizer.iterations) - self._began_step
            train["epoch_steps_per_second"] = steps / max(time.perf_counter() - self._began, 1e-9)
        self._writer("train").scalars(train, epoch)
        held = {f"epoch_{k.removeprefix('val_')}": v for k, v in logs.items() if k.startswith("val_")}
        if held:
            self._writer("validation").scalars(held, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for v in self.model.weights:
                self._writer("train").histogram(f"{v.path}/histogram", v.numpy(), epoch)

    def on_train_end(self, logs: Logs = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


class _EventFile:
    """A file of TensorBoard's events: records of protocol buffers, each with CRC-32C sums.

    Formats: tensorflow.org/tutorials/load_data/tfrecord, and event.proto and summary.proto of TensorBoard.
    """

    def __init__(self, folder: str):
        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.nnfast.{os.getpid()}.{time.time_ns() % 10**9}.v2"
        self._file = open(os.path.join(folder, name), "wb")  # noqa: SIM115
        self._record(_bytes(3, b"brain.Event:2"))

    def scalars(self, values: dict[str, Any], step: int) -> None:
        """One event with a number per tag; what is not one number is left out."""
        parts = (
            _bytes(1, _bytes(1, tag.encode()) + struct.pack("<Bf", 2 << 3 | 5, float(v)))
            for tag, v in values.items()
            if np.ndim(v) == 0
        )
        self._record(_varint(2 << 3) + _varint(step) + _bytes(5, b"".join(parts)))

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """The distribution of finite values in 30 bins."""
        v = values[np.isfinite(values)].astype(np.float64)
        counts, edges = np.histogram(v, 30) if v.size else (np.zeros(30), np.linspace(0, 1, 31))
        numbers = (v.min(initial=np.inf), v.max(initial=-np.inf), v.size, v.sum(), np.square(v).sum())
        fields = b"".join(struct.pack("<Bd", i << 3 | 1, x) for i, x in enumerate(numbers, 1))
        fields += _bytes(6, edges[1:].astype("<f8").tobytes()) + _bytes(7, counts.astype("<f8").tobytes())
        self._record(
            _varint(2 << 3) + _varint(step) + _bytes(5, _bytes(1, _bytes(1, tag.encode()) + _bytes(5, fields)))
        )

    def _record(self, event: bytes) -> None:
        data = struct.pack("<Bd", 1 << 3 | 1, time.time()) + event
        length = struct.pack("<Q", len(data))
        self._file.write(length + _masked_crc(length) + data + _masked_crc(data))
        self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _crc_table() -> list[int]:
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)  # Castagnoli's polynomial, reflected
        table.append(n)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
