"""Recurrent modules: several layers, both directions, over the kernels for whole sequences."""

import math
from typing import Any

from nnfast import ops
from nnfast.nn import functional as F
from nnfast.nn.layers import _new
from nnfast.nn.module import Module
from nnfast.nn.tensor import torch_tensor


class _Recurrent(Module):
    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = None,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        limit, rows = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for end in ("", "_reverse")[: 1 + bidirectional]:
                self.register_parameter(f"weight_ih_l{layer}{end}", _new((rows, inputs), dtype, limit))
                self.register_parameter(f"weight_hh_l{layer}{end}", _new((rows, hidden_size), dtype, limit))
                if bias:
                    self.register_parameter(f"bias_ih_l{layer}{end}", _new((rows,), dtype, limit))
                    self.register_parameter(f"bias_hh_l{layer}{end}", _new((rows,), dtype, limit))

    def forward(self, input: Any, hx: Any = None) -> Any:
        if input.ndim != 3 or input.shape[-1] != self.input_size:
            order = "(batch, time" if self.batch_first else "(time, batch"
            raise ValueError(
                f"[{type(self).__name__}] expects {order}, {self.input_size}). "
                f"Received: input shape {tuple(input.shape)}"
            )
        x = input if self.batch_first else ops.transpose(input, (1, 0, 2))
        first = () if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,)
        ends: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for end in ("", "_reverse")[: 1 + self.bidirectional]:
                state = tuple(torch_tensor(s)[len(ends)] for s in first)
                parts = [getattr(self, f"weight_{n}_l{layer}{end}") for n in ("ih", "hh")]
                biases = [getattr(self, f"bias_{n}_l{layer}{end}") for n in ("ih", "hh")] if self.bias else None
                y, *last = self._run(x, parts, biases, state, bool(end))
                outputs.append(y[:, ::-1] if end else y)
                ends.append(tuple(last))
            x = ops.concat(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
            if self.dropout and self.training and layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout)
        states = tuple(torch_tensor(ops.stack(list(s))) for s in zip(*ends))
        y = torch_tensor(x if self.batch_first else ops.transpose(x, (1, 0, 2)))
        return y, states if len(states) > 1 else states[0]

    def _run(self, x: Any, parts: Any, biases: Any, state: Any, reverse: bool) -> Any:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, batch_first={self.batch_first}"


class RNN(_Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh) (or ReLU): (time, batch, features) -> the outputs of the last
    layer, and the last state of each, (layers * directions, batch, hidden_size).

    Args:
        input_size, hidden_size, num_layers, bias, dropout, bidirectional: as in PyTorch.
        nonlinearity: "tanh" or "relu".
        batch_first: inputs and outputs are (batch, time, features).
    """

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.nonlinearity = nonlinearity

    def _run(self, x: Any, parts: Any, biases: Any, state: Any, reverse: bool) -> Any:
        w, u = map(ops.transpose, parts)
        b = None if biases is None else biases[0] + biases[1]
        return ops.simple_rnn(x, w, u, b, *state, activation=self.nonlinearity, go_backwards=reverse, result="states")


class LSTM(_Recurrent):
    """Long short-term memory: output, (h, c) = lstm(x, (h_0, c_0)). Arguments and shapes: see `RNN`.

    >>> from nnfast import nn
    >>> from nnfast.nn import torch
    >>> y, (h, c) = nn.LSTM(3, 4, batch_first=True)(torch.randn(2, 5, 3))
    >>> y.shape, h.shape
    ((2, 5, 4), (1, 2, 4))
    """

    gates = 4

    def _run(self, x: Any, parts: Any, biases: Any, state: Any, reverse: bool) -> Any:
        w, u = map(ops.transpose, parts)
        b = None if biases is None else biases[0] + biases[1]
        return ops.lstm(x, w, u, b, *state, go_backwards=reverse, result="states")


class GRU(_Recurrent):
    """Gated recurrent unit: output, h = gru(x, h_0). Arguments and shapes: see `RNN`."""

    gates = 3

    def _run(self, x: Any, parts: Any, biases: Any, state: Any, reverse: bool) -> Any:
        n = self.hidden_size

        def gates(p: Any) -> Any:
            """PyTorch's r, z, n as the kernel's z, r, n."""
            return ops.concat([p[n : 2 * n], p[:n], p[2 * n :]], axis=0)

        w, u = (ops.transpose(gates(p)) for p in parts)
        b = None if biases is None else ops.stack([gates(p) for p in biases])
        return ops.gru(x, w, u, b, *state, go_backwards=reverse, result="states")
