"""The modules: weights with PyTorch's shapes, names and initial values, and a call into `functional`."""

import math
from typing import Any

from nnfast import ops
from nnfast.nn import functional as F
from nnfast.nn import init
from nnfast.nn.module import Module
from nnfast.nn.tensor import Parameter


def _pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _positive(module: Module, **sizes: Any) -> None:
    for name, value in sizes.items():
        for n in value if isinstance(value, tuple) else (value,):
            if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
                raise ValueError(f"[{type(module).__name__}] {name} must be a positive integer. Received: {value!r}")


def _new(shape: Any, dtype: Any, limit: float) -> Parameter:
    p = Parameter(ops.zeros(shape, None if dtype is None else str(dtype)))
    init.uniform_(p, -limit, limit)
    return p


class Linear(Module):
    """y = x @ weight.T + bias; both begin uniform within 1 / sqrt(in_features).

    >>> from nnfast import nn
    >>> layer = nn.Linear(784, 10)
    >>> layer.weight.shape, sum(p.numel() for p in layer.parameters())
    ((10, 784), 7850)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        _positive(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        limit = 1 / math.sqrt(in_features)
        self.weight = _new((out_features, in_features), dtype, limit)
        self.register_parameter("bias", _new((out_features,), dtype, limit) if bias else None)

    def forward(self, input: Any) -> Any:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Conv2d(Module):
    """Convolution of images (N, C, H, W) with filters weight (out, in / groups, rows, columns).

    >>> from nnfast import nn
    >>> nn.Conv2d(1, 32, 3).weight.shape
    (32, 1, 3, 3)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f"[Conv2d] only padding_mode='zeros' is supported. Received: {padding_mode!r}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, _pair(kernel_size)
        _positive(self, in_channels=in_channels, out_channels=out_channels, kernel_size=self.kernel_size, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                "[Conv2d] groups must divide in_channels and out_channels. "
                f"Received: groups={groups}, in_channels={in_channels}, out_channels={out_channels}"
            )
        self.stride, self.dilation, self.groups = _pair(stride), _pair(dilation), groups
        self.padding = padding if isinstance(padding, str) else _pair(padding)
        limit = 1 / math.sqrt(in_channels // groups * math.prod(self.kernel_size))
        self.weight = _new((out_channels, in_channels // groups, *self.kernel_size), dtype, limit)
        self.register_parameter("bias", _new((out_channels,), dtype, limit) if bias else None)

    def forward(self, input: Any) -> Any:
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        return text + ("" if self.padding in ((0, 0), "valid") else f", padding={self.padding}")


class _Pool(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, **options: Any):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.options = options

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The largest of each window of (N, C, H, W)."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ):
        super().__init__(kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)

    def forward(self, input: Any) -> Any:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, **self.options)


class AvgPool2d(_Pool):
    """The mean of each window of (N, C, H, W)."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad)

    def forward(self, input: Any) -> Any:
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, **self.options)


class AdaptiveAvgPool2d(Module):
    """The mean of windows chosen so that the output has this size; (1, 1): of each channel as a whole."""

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class Flatten(Module):
    """The dimensions from start_dim to end_dim as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Any:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One dimension as several."""

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        d = self.dim % input.ndim
        return input.view(*input.shape[:d], *self.unflattened_size, *input.shape[d + 1 :])


class Identity(Module):
    """What comes in."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Embedding(Module):
    """A row of weight (num_embeddings, embedding_dim) for each integer; the row padding_idx is 0 and does not learn."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: Any = None):
        super().__init__()
        _positive(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = _new((num_embeddings, embedding_dim), dtype, 0.0)
        init.normal_(self.weight)
        if padding_idx is not None:
            row = [[0.0 if i == padding_idx % num_embeddings else 1.0] for i in range(num_embeddings)]
            self.register_buffer("_kept", ops.cast(row, self.weight.dtype.name), persistent=False)
            self.weight.assign(self.weight.detach() * self._kept)

    def forward(self, input: Any) -> Any:
        y = F.embedding(input, self.weight)
        return y if self.padding_idx is None else y * F.embedding(input, self._kept)

    def extra_repr(self) -> str:
        extra = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{extra}"


# ---- dropout and activations ----


class Dropout(Module):
    """In training zero with probability p, and the rest divided by 1 - p."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"[{type(self).__name__}] p must be in [0, 1). Received: p={p}")
        self.p = p

    def forward(self, input: Any) -> Any:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """In training whole channels are zero with probability p."""

    def forward(self, input: Any) -> Any:
        return F.dropout2d(input, self.p, self.training)


class _Activation(Module):
    def __init__(self, inplace: bool = False):
        super().__init__()


class ReLU(_Activation):
    """max(x, 0)."""

    def forward(self, input: Any) -> Any:
        return F.relu(input)


class Sigmoid(_Activation):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Any) -> Any:
        return F.sigmoid(input)


class Tanh(_Activation):
    """The hyperbolic tangent."""

    def forward(self, input: Any) -> Any:
        return F.tanh(input)


class SiLU(_Activation):
    """x * sigmoid(x)."""

    def forward(self, input: Any) -> Any:
        return F.silu(input)


class Softplus(_Activation):
    """log(1 + exp(x))."""

    def forward(self, input: Any) -> Any:
        return F.softplus(input)


class GELU(Module):
    """x times the normal distribution function of x."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return F.gelu(input, self.approximate)


class LeakyReLU(Module):
    """x where it is positive, else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Any:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where it is positive, else alpha * (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        return F.elu(input, self.alpha)


class Softmax(Module):
    """Softmax along dim. `CrossEntropyLoss` wants scores without it."""

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """log(softmax) along dim."""

    def forward(self, input: Any) -> Any:
        return F.log_softmax(input, self.dim)


# ---- losses ----


class _Loss(Module):
    def __init__(self, reduction: str = "mean"):
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"[{type(self).__name__}] reduction must be 'mean', 'sum' or 'none'. Received: {reduction!r}"
            )
        self.reduction = reduction


class MSELoss(_Loss):
    """Mean of (input - target)^2. The shapes must be equal."""

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """Mean of |input - target|. The shapes must be equal."""

    def forward(self, input: Any, target: Any) -> Any:
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """Squared below beta, absolute above, see `functional.smooth_l1_loss`."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class BCELoss(_Loss):
    """Cross-entropy of 0 or 1 with probabilities."""

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight = weight

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Cross-entropy of 0 or 1 with sigmoid(input)."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class CrossEntropyLoss(_Loss):
    """Cross-entropy of class numbers with softmax(input), see `functional.cross_entropy`.

    >>> from nnfast import nn
    >>> round(nn.CrossEntropyLoss()([[2.0, 25.0, 13.0], [54.0, 3.0, 11.0]], [2, 1]).item(), 4)
    31.5
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        super().__init__(reduction)
        self.weight, self.ignore_index, self.label_smoothing = weight, ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(_Loss):
    """-input[target] of log-probabilities."""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight, self.ignore_index = weight, ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)
