"""Writes tests/data/optimizers.json: what Keras makes of the cases in tests/keras_optimizers.py.

python tools/make_optimizer_numbers.py     (needs keras and torch)
"""

import inspect
import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras_optimizers import AT, CASES, PATHS, SCHEDULES, STEPS, gradient, make_weights  # noqa: E402


def run(name, options, dtype):
    """Keras's weights and optimizer after 20 steps."""
    keras.config.set_floatx(dtype)
    options = dict(options)
    if isinstance(options.get("learning_rate"), tuple):
        rule, arguments = options["learning_rate"]
        options["learning_rate"] = getattr(keras.optimizers.schedules, rule)(**arguments)
    weights = [keras.Variable(w.astype(dtype), name=n, dtype=dtype) for n, w in make_weights().items()]
    o = getattr(keras.optimizers, name)(**options)
    for step in range(STEPS):
        gs = [gradient(step, i, tuple(w.shape)).astype(dtype) for i, w in enumerate(weights)]
        o.apply([keras.ops.convert_to_tensor(g) for g in gs], weights)
    o.finalize_variable_values(weights)
    return weights, o


def flat(variables):
    return np.concatenate([keras.ops.convert_to_numpy(v.value).astype("float64").ravel() for v in variables])


def rounded(values, digits):
    return [float(f"{v:.{digits}g}") for v in values]


def signature(cls):
    parameters = inspect.signature(cls).parameters.values()
    return ", ".join(str(p) if p.kind is p.VAR_KEYWORD else f"{p.name}={p.default!r}" for p in parameters)


if __name__ == "__main__":
    found = {"keras": keras.__version__, "steps": {}, "paths": {}, "schedules": {}, "signatures": {}}
    for label, case in CASES.items():
        weights, o = run(*case, "float64")
        state = flat(o.variables[1:])
        found["steps"][label] = {
            "weights": rounded(flat(weights), 8),
            "state": rounded([state.sum(), np.abs(state).sum()], 7),
        }
        if label in PATHS:
            last = [v.path.split("/")[-1] for v in o.variables]
            found["paths"][label] = ["variable" if p.startswith("variable") else p for p in last]
    keras.config.set_floatx("float32")
    for name, options in SCHEDULES:
        rate = getattr(keras.optimizers.schedules, name)(**options)
        values = rounded([float(rate(step)) for step in AT], 7)
        found["schedules"][f"{name} {options}"] = dict(zip(map(str, AT), values))
    for name in sorted({name for name, _ in CASES.values()}):
        found["signatures"][name] = signature(getattr(keras.optimizers, name))
    path = ROOT / "tests" / "data" / "optimizers.json"
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items() if not isinstance(v, dict)]
    for k, section in found.items():
        if isinstance(section, dict):
            rows = ",\n".join(f"{json.dumps(n)}: {json.dumps(v, separators=(',', ':'))}" for n, v in section.items())
            lines.append(f"{json.dumps(k)}: {{\n{rows}\n}}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}, {path.stat().st_size // 1024} KB")
