"""Twenty steps of every optimizer with every option: test_optimizers.py and test_keras_optimizers.py take them,
tools/make_optimizer_numbers.py stores what Keras makes of them."""

import numpy as np

STEPS = 20
FALLING = ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5})

# label: (class, arguments); a schedule as (class, arguments)
CASES = {
    "SGD": ("SGD", {}),
    "SGD momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "SGD nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "SGD schedule": ("SGD", {"learning_rate": FALLING, "momentum": 0.9}),
    "RMSprop": ("RMSprop", {}),
    "RMSprop all": ("RMSprop", {"learning_rate": 0.01, "rho": 0.8, "momentum": 0.5, "centered": True, "epsilon": 1e-3}),
    "Adam": ("Adam", {}),
    "Adam all": ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "amsgrad": True}),
    "Adam schedule": ("Adam", {"learning_rate": FALLING}),
    "AdamW": ("AdamW", {"learning_rate": 0.05}),
    "Adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "Adadelta all": ("Adadelta", {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-3}),
    "Adagrad": ("Adagrad", {}),
    "Adagrad all": ("Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.5, "epsilon": 1e-2}),
    "Adamax": ("Adamax", {}),
    "Adamax all": ("Adamax", {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2}),
    "Nadam": ("Nadam", {}),
    "Nadam all": ("Nadam", {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2}),
    "Adafactor": ("Adafactor", {}),
    "Adafactor all": (
        "Adafactor",
        {
            "learning_rate": 0.5,
            "beta_2_decay": -0.6,
            "epsilon_1": 1e-3,
            "epsilon_2": 1e-2,
            "clip_threshold": 0.7,
            "relative_step": False,
        },
    ),
    "Ftrl": ("Ftrl", {}),
    "Ftrl all": (
        "Ftrl",
        {
            "learning_rate": 0.5,
            "learning_rate_power": -0.7,
            "initial_accumulator_value": 0.3,
            "l1_regularization_strength": 0.2,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.05,
            "beta": 0.1,
        },
    ),
    "Lion": ("Lion", {}),
    "Lion all": ("Lion", {"learning_rate": 0.01, "beta_1": 0.7, "beta_2": 0.8}),
}
PATHS = list(CASES)
# Options that all share, on all of them.
for _name, _rate in {
    "SGD": 0.05,
    "RMSprop": 0.01,
    "Adam": 0.01,
    "AdamW": 0.01,
    "Adadelta": 1.0,
    "Adagrad": 0.1,
    "Adamax": 0.01,
    "Nadam": 0.01,
    "Adafactor": 0.1,
    "Ftrl": 0.5,
    "Lion": 0.01,
}.items():
    for _option in (
        {"weight_decay": 0.1},
        {"clipnorm": 0.7},
        {"clipvalue": 0.3},
        {"global_clipnorm": 0.7},
        {"loss_scale_factor": 2.0},
        {"gradient_accumulation_steps": 3},
        {"use_ema": True, "ema_momentum": 0.8},
        {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4},
        {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 3, "weight_decay": 0.1},
        {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5, "loss_scale_factor": 4.0, "weight_decay": 0.05},
    ):
        CASES[f"{_name} {_option}"] = (_name, {"learning_rate": _rate, **_option})
PATHS += [label for label in CASES if "use_ema" in label and "gradient_accumulation_steps" in label]

_SCHEDULES = {
    "ExponentialDecay": [{}, {"staircase": True}],
    "InverseTimeDecay": [{}, {"staircase": True}],
    "PolynomialDecay": [{}, {"power": 2.0, "end_learning_rate": 0.01}, {"cycle": True, "power": 0.5}],
    "CosineDecay": [{}, {"alpha": 0.1}, {"warmup_target": 0.5, "warmup_steps": 7}],
    "CosineDecayRestarts": [{}, {"t_mul": 1.0, "m_mul": 0.5}, {"t_mul": 1.5, "m_mul": 0.9, "alpha": 0.1}],
}
SCHEDULES = [("PiecewiseConstantDecay", {"boundaries": [5, 10, 20], "values": [0.5, 0.1, 0.05, 0.01]})]
for _name, _list in _SCHEDULES.items():
    for _how in _list:
        _base = {"initial_learning_rate": 0.2, "first_decay_steps" if "Restarts" in _name else "decay_steps": 10}
        if _name in ("ExponentialDecay", "InverseTimeDecay"):
            _base["decay_rate"] = 0.7
        SCHEDULES.append((_name, {**_base, **_how}))
AT = (0, 1, 4, 5, 6, 9, 10, 11, 17, 20, 21, 33, 47, 100)


def make_weights():
    """A matrix, a vector and a small convolution's filters."""
    rng = np.random.default_rng(5)
    shapes = {"kernel": (4, 3), "bias": (3,), "filters": (1, 2, 3, 2)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def gradient(step, i, shape):
    """Of any size: large ones are clipped, small ones are not."""
    rng = np.random.default_rng(1000 * step + i)
    return rng.standard_normal(shape) * 10 ** rng.uniform(-1, 0.5) + 0.1
