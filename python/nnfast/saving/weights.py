"""The weights of a model in HDF5: Keras 3's layout by path, and the older one by layer."""

import warnings
from typing import Any

import numpy as np

from nnfast import device
from nnfast.saving import hdf5
from nnfast.saving.tree import places, unique
from nnfast.tensor import Variable

KERAS_VERSION = "3.15.1"  # whose layouts these are

Pairs = list[tuple[Variable, np.ndarray]]


# ---- by path: .weights.h5, and inside .keras ----


def write_paths(file: Any, model: Any, optimizer: Any = None) -> None:
    """Every weight as `<path>/vars/<number>`; the optimizer's state as `optimizer/vars/<number>`."""
    for path, layer, weights in places(model):
        _write_group(file, path, layer.name, weights)
    if optimizer is not None:
        _write_group(file, "optimizer", optimizer.name, optimizer.variables)


def _write_group(file: Any, path: str, name: str, weights: list[Variable]) -> None:
    group = file.create_group(f"{path}/vars")
    group.attrs["name"] = name
    for n, v in enumerate(weights):
        group.create_dataset(str(n), data=device.host(v.data))


def read_paths(file: Any, model: Any, skip_mismatch: bool = False) -> Pairs:
    """The weights of the model with their values in the file, nothing of the model being changed.

    Raises:
        ValueError: one is missing, has another shape, or holds NaN.
    """
    pairs: Pairs = []
    for path, layer, weights in places(model):
        where = f"{path}/vars" if path else "vars"
        group = hdf5.child(file, where, "group")
        found = 0 if group is None else len(group)
        if found != len(weights):
            problem = (
                f"{where} holds {found} weights for the layer {layer.name!r} ({type(layer).__name__}), which has "
                f"{len(weights)}: {', '.join(v.path for v in weights)}"
            )
            if not weights and not layer.built:
                problem += " (it is not built: call the model on data, or build it, before loading)"
            if weights or not skip_mismatch:
                _mismatch(problem, skip_mismatch)
            continue
        for n, v in enumerate(weights):
            _pair(pairs, v, hdf5.child(group, str(n), "dataset"), f"{where}/{n}", skip_mismatch)
    return pairs


def _mismatch(problem: str, skip: bool) -> None:
    if not skip:
        raise ValueError(problem)
    warnings.warn(f"[load_weights] skipped: {problem}", UserWarning, stacklevel=5)


def _pair(pairs: Pairs, v: Variable, dataset: Any, where: str, skip: bool) -> None:
    """Adds a weight and its value, if they fit."""
    if dataset is None:
        return _mismatch(f"{where} is not there, for the weight {v.path!r}", skip)
    if tuple(dataset.shape or ()) != v.shape:
        return _mismatch(f"{where} has shape {dataset.shape}, but the weight {v.path!r} has shape {v.shape}", skip)
    value = hdf5.read(dataset)
    not_nan(where, value)
    pairs.append((v, value))
    return None


def not_nan(where: str, value: np.ndarray) -> None:
    """Raises a ValueError for values with NaN."""
    if value.dtype.kind == "f" and np.isnan(value).any():
        raise ValueError(f"{where} holds NaN")


def assign(pairs: Pairs) -> None:
    """Puts the values into the weights."""
    for v, value in pairs:
        v.assign(value.astype(v.dtype, copy=False))


# ---- by layer: whole-model .h5, and what Keras 2 writes ----


def _legacy_weights(layer: Any) -> list[Variable]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _top_weights(model: Any) -> list[Variable]:
    """The weights of the model itself, that belong to no layer."""
    return next(iter(places(model))).weights


def write_layers(group: Any, model: Any) -> None:
    """A group per layer, in the order of the model; the names of the weights in its attribute `weight_names`."""
    hdf5.set_names(group, "layer_names", [layer.name for layer in model.layers])
    group.attrs["backend"], group.attrs["keras_version"] = b"nnfast", KERAS_VERSION.encode()
    parts = [(layer.name, _legacy_weights(layer)) for layer in sorted(model.layers, key=lambda layer: layer.name)]
    for name, weights in [*parts, ("top_level_model_weights", _top_weights(model))]:
        _write_named(group.create_group(name), [f"{model.name}/{v.path}" for v in weights], weights)


def _write_named(group: Any, names: list[str], variables: list[Variable]) -> None:
    used: dict[str, Any] = {}
    for name, v in zip(names, variables):
        used[unique(name, used)] = device.host(v.data)
    hdf5.set_names(group, "weight_names", list(used))
    for name, value in used.items():
        group.create_dataset(name, data=value)


def read_layers(group: Any, model: Any, skip_mismatch: bool = False, by_name: bool = False) -> Pairs:
    """The same as `read_paths`, by the order of the layers that have weights, or by the names of the layers."""
    saved = []
    for name in hdf5.names(group, "layer_names"):
        part = hdf5.child(group, name, "group")
        if part is None:
            raise ValueError(f"{group.name} names a layer {name!r}, which is not there")
        weights = hdf5.names(part, "weight_names")
        if len(set(weights)) != len(weights):
            raise ValueError(f"{part.name} names a weight twice: {weights}")
        if weights:
            saved.append((name, part, weights))
    mine = [layer for layer in model.layers if _legacy_weights(layer)]
    if by_name:
        known = {name: (name, part, weights) for name, part, weights in saved}
        matched = [(layer, *known[layer.name]) for layer in mine if layer.name in known]
    else:
        if len(saved) != len(mine):
            raise ValueError(
                f"{group.name} holds {len(saved)} layers with weights ({', '.join(s[0] for s in saved)}), but the "
                f"model has {len(mine)} ({', '.join(layer.name for layer in mine)}). With by_name=True, layers of one "
                "name are matched"
            )
        matched = [(layer, *s) for layer, s in zip(mine, saved)]
    pairs: Pairs = []
    for layer, _, part, weights in matched:
        _read_named(pairs, part, weights, _legacy_weights(layer), f"the layer {layer.name!r}", skip_mismatch)
    top = hdf5.child(group, "top_level_model_weights", "group")
    if top is not None:
        _read_named(pairs, top, hdf5.names(top, "weight_names"), _top_weights(model), "the model", skip_mismatch)
    return pairs


def _read_named(pairs: Pairs, group: Any, names: list[str], mine: list[Variable], whose: str, skip: bool) -> None:
    if len(names) != len(mine):
        return _mismatch(
            f"{group.name} holds {len(names)} weights, but {whose} has {len(mine)}: {', '.join(v.path for v in mine)}",
            skip,
        )
    for name, v in zip(names, mine):
        _pair(pairs, v, hdf5.child(group, name, "dataset"), f"{group.name}/{name}", skip)
    return None


# ---- the optimizer ----


def write_optimizer(file: Any, optimizer: Any) -> None:
    """Its state as in whole-model .h5 files: `optimizer_weights/<optimizer>/<variable>`."""
    names = [f"{optimizer.name}/{v.name.replace('/', '_')}" for v in optimizer.variables]
    _write_named(file.create_group("optimizer_weights"), names, optimizer.variables)


def optimizer_arrays(file: Any) -> tuple[list[np.ndarray], bool]:
    """The state of the optimizer in either layout, in order, and whether it is of Keras 2."""
    group = hdf5.child(file, "optimizer/vars", "group")
    if group is not None:
        names = [str(n) for n in range(len(group))]
    else:
        group = hdf5.child(file, "optimizer_weights", "group")
        if group is None:
            return [], False
        names = hdf5.names(group, "weight_names")
    arrays = []
    for name in names:
        dataset = hdf5.child(group, name, "dataset")
        if dataset is None:
            raise ValueError(f"{group.name}/{name} is not there")
        arrays.append(hdf5.read(dataset))
        not_nan(dataset.name, arrays[-1])
    return arrays, any(name.endswith(":0") for name in names)


def restore_optimizer(optimizer: Any, variables: list[Variable], arrays: list[np.ndarray], old: bool) -> None:
    """Builds the optimizer for the variables and gives it the state of the file; says so if that does not fit."""
    for built in (False, True):  # the file may be of a model that was compiled and never trained
        if built:
            optimizer.build(variables)
        mine = optimizer.variables
        if [v.shape for v in mine] == [a.shape for a in arrays] and not old:
            assign(list(zip(mine, arrays)))
            return
    if not arrays:
        return
    if arrays[0].shape == () and arrays[0].dtype.kind in "iu":
        optimizer.variables[0].assign(arrays[0].astype(np.int64))
    warnings.warn(
        f"[load_model] the state of the optimizer {optimizer.name!r} in the file is of another kind: it begins anew "
        f"after {int(optimizer.iterations.item())} steps. Received: {len(arrays)} arrays for {len(mine)} variables",
        UserWarning,
        stacklevel=4,
    )
