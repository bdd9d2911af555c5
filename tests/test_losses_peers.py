"""Every loss and its gradient beside Keras 3: reductions, weights, masks. Optional: `pytest -m peers`."""

import os

import numpy as np
import pytest
from compare import assert_close
from loss_cases import CASES, IDS, REDUCTIONS, N, data

import nnfast

pytestmark = pytest.mark.peers
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")


def theirs(name, options, t, y, weights=None, mask=None, **more):
    x = torch.tensor(y, requires_grad=True)
    p = x * 1.0
    if mask is not None:
        keras.src.backend.set_keras_mask(p, torch.tensor(mask))
    loss = getattr(keras.losses, name)(**options, **more)(t, p, sample_weight=weights)
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy()


def ours(name, options, t, y, weights=None, mask=None, **more):
    x = nnfast.Variable(y)
    with nnfast.GradientTape() as tape:
        p = x * 1.0
        if mask is not None:
            p._keras_mask = nnfast.tensor(mask)
        loss = getattr(nnfast.losses, name)(**options, **more)(t, p, sample_weight=weights)
    return loss.numpy(), tape.gradient(loss, x).numpy()


@pytest.mark.parametrize("weighted", ["plain", "weights", "mask", "weights and mask"])
@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_loss(name, options, kind, reduction, weighted):
    t, y = data(kind)
    n = 4 if options.get("axis") == 0 else N
    weights = np.linspace(0.5, 2, n, dtype="float32") if "weights" in weighted else None
    mask = np.arange(n) % 3 != 1 if "mask" in weighted else None
    if "ignore_class" in options and "mask" not in weighted:
        assert (t == options["ignore_class"]).any()
    got = ours(name, options, t, y, weights, mask, reduction=reduction)
    for mine, other in zip(got, theirs(name, options, t, y, weights, mask, reduction=reduction)):
        size = max(1.0, float(np.abs(other).max()))
        assert_close(mine / np.float32(size), (other / size).astype("float32"), scale=2)


@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_signature(name, options, kind):
    """The same parameters in the same order with the same defaults."""
    import inspect

    def spelled(room):
        return [(p.name, p.default) for p in inspect.signature(getattr(room, name)).parameters.values()]

    assert spelled(nnfast.losses) == spelled(keras.losses)
