"""Short programs in PyTorch's words, run by nnfast's face in every test run and by PyTorch where it is installed.

`python tests/torch_cases.py` writes PyTorch's numbers to tests/data/torch.json, so that the tests need no PyTorch.
"""

import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("data") / "torch.json"


def fill(module, torch):
    """Weights that both sides can make: small, all different, by their place in the state."""
    state = {}
    for number, (name, value) in enumerate(module.state_dict().items()):
        if np.asarray(value).dtype.kind != "f" or "running" in name:
            continue
        count = int(np.prod(value.shape))
        values = 0.4 * np.sin(1.7 * np.arange(1, count + 1) + number) / max(1, value.shape[-1]) ** 0.5
        if value.ndim == 1 and name.endswith("weight"):
            values = 1 + values
        state[name] = torch.tensor(values.reshape(tuple(value.shape)).astype("float32"))
    module.load_state_dict(state, strict=False)
    return module


def data(torch):
    """40 rows of five numbers, and their class: of three, by the sign of two products."""
    x = np.sin(np.arange(200.0) ** 1.5).reshape(40, 5).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype("int64") + (x[:, 2] > 0.2)
    return torch.tensor(x), torch.tensor(y)


def mlp(torch):
    nn = torch.nn
    return fill(nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)), torch)


def numbers(t):
    return [float(v) for v in np.asarray(t.detach() if hasattr(t, "detach") else t, np.float64).reshape(-1)]


OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd, momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "sgd, nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "sgd, dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "sgd, weight decay": ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    "sgd, maximize": ("SGD", {"lr": 0.01, "maximize": True}),
    "adam": ("Adam", {"lr": 0.02}),
    "adam, large eps": ("Adam", {"lr": 0.02, "eps": 0.1, "betas": (0.8, 0.95)}),
    "adam, amsgrad": ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.02}),
    "adamw": ("AdamW", {"lr": 0.02, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop, centered": ("RMSprop", {"lr": 0.005, "momentum": 0.5, "centered": True, "alpha": 0.9, "eps": 1e-3}),
    "rmsprop, decay": ("RMSprop", {"lr": 0.005, "weight_decay": 0.05, "momentum": 0.9}),
    "rmsprop, maximize": ("RMSprop", {"lr": 0.001, "maximize": True}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adagrad, begun": ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5}),
    "adagrad, decays": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "eps": 1e-3}),
}


def train(torch, name, scheduler=None):
    """The loss of 20 steps."""
    return trained(torch, name, scheduler)[0]


def trained(torch, name, scheduler=None):
    """The loss of 20 steps, and the optimizer."""
    kind, options = OPTIMIZERS[name]
    net, (x, y) = mlp(torch), data(torch)
    optimizer = getattr(torch.optim, kind)(net.parameters(), **options)
    schedule = scheduler(torch, optimizer) if scheduler else None
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        losses.append(loss.item())
    return losses, optimizer


SCHEDULERS = {
    "step": lambda t, o: t.optim.lr_scheduler.StepLR(o, 3, 0.5),
    "multi step": lambda t, o: t.optim.lr_scheduler.MultiStepLR(o, [2, 5, 5, 9]),
    "exponential": lambda t, o: t.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "cosine": lambda t, o: t.optim.lr_scheduler.CosineAnnealingLR(o, 8, 0.01),
    "lambda": lambda t, o: t.optim.lr_scheduler.LambdaLR(o, lambda n: 1 / (1 + n)),
    "one cycle": lambda t, o: t.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=21),
    "one cycle, linear": lambda t, o: t.optim.lr_scheduler.OneCycleLR(
        o, 0.5, total_steps=21, anneal_strategy="linear", three_phase=True
    ),
}


def rates(torch, name):
    """The learning rate, and the momentum, of 20 steps."""
    p = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([p], lr=0.2, momentum=0.9)
    schedule, found = SCHEDULERS[name](torch, optimizer), []
    for _ in range(20):
        found += [float(schedule.get_last_lr()[0]), float(optimizer.param_groups[0]["momentum"])]
        optimizer.step()
        schedule.step()
    return found


def plateau(torch):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.tensor([1.0]))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, cooldown=1, min_lr=0.1)
    found = []
    for value in [5, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]:
        schedule.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def scores(torch):
    return torch.tensor(np.cos(np.arange(12.0)).reshape(4, 3).astype("float32"), requires_grad=True)


WEIGHT = [0.5, 2.0, 1.0]
LABELS = [2, 0, -100, 1]
LOSSES = {
    "cross entropy": lambda t, n, x: n.CrossEntropyLoss()(x, t.tensor([2, 0, 1, 1])),
    "cross entropy, ignored": lambda t, n, x: n.CrossEntropyLoss()(x, t.tensor(LABELS)),
    "cross entropy, weights": lambda t, n, x: n.CrossEntropyLoss(weight=t.tensor(WEIGHT))(x, t.tensor(LABELS)),
    "cross entropy, weights, sum": lambda t, n, x: n.CrossEntropyLoss(weight=t.tensor(WEIGHT), reduction="sum")(
        x, t.tensor(LABELS)
    ),
    "cross entropy, none": lambda t, n, x: n.CrossEntropyLoss(weight=t.tensor(WEIGHT), reduction="none")(
        x, t.tensor(LABELS)
    ).sum(),
    "cross entropy, smooth": lambda t, n, x: n.CrossEntropyLoss(label_smoothing=0.1)(x, t.tensor(LABELS)),
    "cross entropy, weights, smooth": lambda t, n, x: n.CrossEntropyLoss(
        weight=t.tensor(WEIGHT), label_smoothing=0.1, ignore_index=1
    )(x, t.tensor([2, 0, 1, 1])),
    "cross entropy, probabilities": lambda t, n, x: n.CrossEntropyLoss(weight=t.tensor(WEIGHT))(
        x, n.functional.softmax(t.tensor(np.eye(4, 3, dtype="float32")), dim=1)
    ),
    "cross entropy, images": lambda t, n, x: n.CrossEntropyLoss()(x.reshape(2, 3, 2), t.tensor([[0, 2], [1, 1]])),
    "nll": lambda t, n, x: n.NLLLoss(weight=t.tensor(WEIGHT))(n.functional.log_softmax(x, dim=1), t.tensor(LABELS)),
    "mse": lambda t, n, x: n.MSELoss()(x, t.zeros(4, 3)),
    "mse, sum": lambda t, n, x: n.MSELoss(reduction="sum")(x, t.ones(4, 3)),
    "l1": lambda t, n, x: n.L1Loss()(x, t.zeros(4, 3)),
    "smooth l1": lambda t, n, x: n.SmoothL1Loss(beta=0.5)(x, t.zeros(4, 3)),
    "bce": lambda t, n, x: n.BCELoss()(t.sigmoid(x), t.ones(4, 3)),
    "bce with logits": lambda t, n, x: n.BCEWithLogitsLoss(pos_weight=t.tensor(WEIGHT), weight=t.tensor(WEIGHT))(
        x, (x > 0).float()
    ),
}


def loss_and_gradient(torch, name):
    x = scores(torch)
    value = LOSSES[name](torch, torch.nn, x)
    value.backward()
    return [value.item(), *numbers(x.grad)]


def images(torch, channels=3):
    return torch.tensor(np.sin(np.arange(2.0 * channels * 64) * 1.3).reshape(2, channels, 8, 8).astype("float32"))


def First(torch, module):
    """A recurrent module as one with one output: the sequence, times one and a bit of the last states."""

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            y, state = self.inner(x)
            return y.sum() * 0.01 + torch.cat([s.reshape(-1) for s in (state if isinstance(state, tuple) else [state])])

    return Wrapped()


def running(torch):
    """Running statistics after three batches, and what they make of the next."""
    found = []
    for momentum in (0.1, None):
        module = torch.nn.BatchNorm2d(3, momentum=momentum)
        for scale in (1.0, 2.0, 3.0):
            module(images(torch) * scale + scale)
        module.eval()
        found += numbers(module.running_mean) + numbers(module.running_var) + numbers(module(images(torch)))[:20]
    return found


MODULES = {
    "linear": lambda t, n: (n.Linear(8, 4), images(t)),
    "conv": lambda t, n: (n.Conv2d(3, 4, 3), images(t)),
    "conv, strides": lambda t, n: (n.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), images(t)),
    "conv, same": lambda t, n: (n.Conv2d(3, 4, 3, padding="same", bias=False), images(t)),
    "conv, groups": lambda t, n: (n.Conv2d(4, 8, 3, groups=2), images(t, 4)),
    "conv, depthwise": lambda t, n: (n.Conv2d(4, 4, 3, groups=4, padding=1), images(t, 4)),
    "max pool": lambda t, n: (n.MaxPool2d(3, 2, 1), images(t)),
    "max pool, ceil": lambda t, n: (n.MaxPool2d(3, 2, ceil_mode=True), images(t)),
    "avg pool": lambda t, n: (n.AvgPool2d(3, 2, 1), images(t)),
    "adaptive": lambda t, n: (n.AdaptiveAvgPool2d((2, 4)), images(t)),
    "global": lambda t, n: (n.AdaptiveAvgPool2d(1), images(t)),
    "leaky": lambda t, n: (n.LeakyReLU(), images(t)),
    "elu": lambda t, n: (n.ELU(0.7), images(t)),
    "gelu": lambda t, n: (n.GELU(), images(t)),
    "gelu, tanh": lambda t, n: (n.GELU("tanh"), images(t)),
    "silu": lambda t, n: (n.SiLU(), images(t)),
    "softplus": lambda t, n: (n.Softplus(), images(t)),
    "softmax": lambda t, n: (n.Softmax(dim=1), images(t)),
    "log softmax": lambda t, n: (n.LogSoftmax(dim=-1), images(t)),
    "batch norm": lambda t, n: (n.BatchNorm2d(3), images(t)),
    "batch norm, rows": lambda t, n: (n.BatchNorm1d(8), images(t).reshape(48, 8)),
    "layer norm": lambda t, n: (n.LayerNorm((8, 8)), images(t)),
    "rnn": lambda t, n: (First(t, n.RNN(8, 5, num_layers=2, nonlinearity="relu")), images(t).reshape(6, 8, 8)),
    "lstm": lambda t, n: (First(t, n.LSTM(8, 5, batch_first=True)), images(t).reshape(6, 8, 8)),
    "lstm, both directions": lambda t, n: (
        First(t, n.LSTM(8, 4, num_layers=2, bidirectional=True, bias=False)),
        images(t).reshape(6, 8, 8),
    ),
    "gru": lambda t, n: (First(t, n.GRU(8, 5, bidirectional=True, batch_first=True)), images(t).reshape(6, 8, 8)),
    "network": lambda t, n: (
        n.Sequential(n.Conv2d(3, 4, 3), n.ReLU(), n.MaxPool2d(2), n.Flatten(), n.Linear(36, 3), n.Sigmoid()),
        images(t),
    ),
}


def outputs(torch, name):
    """The output, and the gradients of a weighted sum of it by the input and by all parameters."""
    module, x = MODULES[name](torch, torch.nn)
    fill(module, torch)
    return outputs_of(torch, module, x)


def outputs_of(torch, module, x):
    x = torch.tensor(np.asarray(x), requires_grad=True)
    y = module(x)
    weights = torch.tensor(np.cos(np.arange(float(np.prod(y.shape)))).reshape(tuple(y.shape)).astype("float32"))
    (y * weights).sum().backward()
    return {"y": numbers(y), "dx": numbers(x.grad), **{k: numbers(p.grad) for k, p in module.named_parameters()}}


def everything(torch):
    """All numbers, by case."""
    return {
        **{f"train: {n}": train(torch, n) for n in OPTIMIZERS},
        "train: sgd with a schedule": train(torch, "sgd, momentum", SCHEDULERS["exponential"]),
        "train: rmsprop with a schedule": train(torch, "rmsprop, decay", SCHEDULERS["exponential"]),
        **{f"rates: {n}": rates(torch, n) for n in SCHEDULERS},
        "rates: plateau": plateau(torch),
        **{f"loss: {n}": loss_and_gradient(torch, n) for n in LOSSES},
        "running statistics": running(torch),
        **{f"module: {n}/{k}": v for n in MODULES for k, v in outputs(torch, n).items()},
    }


def sample(values):
    """About 30 of many numbers: all of them are compared where PyTorch is installed."""
    return values[:: max(1, len(values) // 30)]


def main():
    import torch

    found = {name: [float(f"{v:.8g}") for v in sample(values)] for name, values in everything(torch).items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in found.items())
    GOLDEN.write_text("{\n" + lines + "\n}\n")
    print(f"{GOLDEN}: {len(found)} rows, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
