"""Callbacks: what `fit`, `evaluate` and `predict` call between steps and epochs."""

from nnfast.callbacks.callback import (
    Callback,
    CallbackList,
    History,
    LambdaCallback,
    Logs,
    ProgbarLogger,
    numbers,
)
from nnfast.callbacks.monitors import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from nnfast.callbacks.rates import CyclicalLR, LearningRateScheduler, LRFinder, OneCycle
from nnfast.callbacks.records import BackupAndRestore, CSVLogger, GradientNorms, TensorBoard, TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "CyclicalLR",
    "EarlyStopping",
    "GradientNorms",
    "History",
    "LRFinder",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "OneCycle",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "numbers",
]
