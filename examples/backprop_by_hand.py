"""Backpropagation by hand: two inputs, two hidden, two outputs. The slide's changes of the first layer are wrong."""

import numpy as np
from common import quick  # noqa: F401  (nothing to shorten)

import nnfast
from nnfast import ops

x, target = np.array([[0.5, 0.3]]), np.array([[0.23, -0.07]])
first = nnfast.Variable(np.array([[0.2, -0.4], [0.5, 0.6]]), name="w1 w2 / w3 w4")
second = nnfast.Variable(np.array([[0.1, -0.5], [-0.3, 0.8]]), name="w5 w6 / w7 w8")
with nnfast.GradientTape() as tape:
    hidden = ops.sigmoid(ops.matmul(x, first))
    out = ops.sigmoid(ops.matmul(hidden, second))
    loss = 0.5 * ops.sum(ops.square(out - target))
d_first, d_second = (g.numpy() for g in tape.gradient(loss, [first, second]))
print("hidden  course .562 .495    here", hidden.numpy().round(3).ravel())
print("output  course .477 .529    here", out.numpy().round(3).ravel())
print("error   course .2097        here", round(loss.item(), 4))
print("w5 w7 w6 w8  course .0346 .0305 .0839 .0738   here", d_second.T.round(4).ravel())
print("w1 w3 w2 w4  course .01 .01 .01 .01 (wrong)   here", d_first.T.round(5).ravel())

# The chain rule once more, factor by factor, for w1.
h, o = hidden.numpy()[0], out.numpy()[0]
delta = (o - target[0]) * o * (1 - o)
by_hand = (delta * second.numpy()[0]).sum() * h[0] * (1 - h[0]) * x[0, 0]
print("w1 by the chain rule:", by_hand.round(5))
np.testing.assert_allclose(by_hand, d_first[0, 0], rtol=1e-12)
