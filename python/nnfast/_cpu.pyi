"""Kernels of nnfast for one device. Every function takes and returns its arrays. Written by tools/make_stubs.py."""

from typing import Any

import numpy as np

class Plan:
    """The kernels of a step, recorded while it ran, to be run again."""
    def __init__(self: Plan) -> None: ...
    def begin(self: Plan, status: Any = None, cursor: Any = None, constant: bool = False) -> None:
        """Records what this thread launches from now on."""
    @property
    def bytes(self) -> Any: ...
    def end(self: Plan) -> int:
        """Ends the recording; returns how many of the arrays made meanwhile are alive."""
    @property
    def kept(self) -> Any: ...
    @property
    def launches(self) -> Any: ...
    def pause(self: Plan) -> None:
        """What follows is not recorded, until `resume`."""
    def profile(
        self: Plan, bindings: list[tuple[Slot, Any]] = ..., start: int = -1
    ) -> tuple[list[tuple[str, float]], Any]:
        """Runs the kernels once. Returns the time of each, as pairs (op, seconds), and what the status held."""
    def replay(
        self: Plan,
        n: int = 1,
        seconds: float = 1.7976931348623157e308,
        bindings: list[tuple[Slot, Any]] = ...,
        start: int = -1,
        wait: bool = True,
    ) -> tuple[int, Any]:
        """Runs the kernels n times. Returns how often they set no status (-1: busy), and what it held."""
    def resume(self: Plan) -> None: ...
    def spoil(self: Plan, reason: str) -> None:
        """Forbids replays."""
    @property
    def spoiled(self) -> Any: ...

class Slot:
    """A place for an array with rows, which a plan reaches when it is replayed."""
    def __init__(self: Slot, array: Any) -> None: ...
    def bind(self: Slot, array: Any) -> None: ...
    def unbind(self: Slot) -> None: ...

def abs(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def abs_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def accumulate(
    sums: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    scale: float = 1.0,
    status: np.ndarray | None = None,
) -> None:
    """sums (float64, (2,)) += (scale * sum(weights * values), scale * sum(weights)); without weights, each counts 1."""

def adadelta(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    vs: list[np.ndarray],
    moves: list[np.ndarray],
    lr: np.ndarray,
    *,
    rho: float = 0.95,
    epsilon: float = 1e-07,
    weight_decay: float = 0.0,
    status: np.ndarray | None = None,
) -> None:
    """v = rho v + (1 - rho) g^2; step = sqrt(move + epsilon) g / sqrt(v + epsilon); w -= lr step."""

def adafactor(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    rows: list[np.ndarray],
    columns: list[np.ndarray],
    vs: list[np.ndarray],
    lr: np.ndarray,
    step: np.ndarray,
    *,
    beta_2_decay: float = -0.8,
    epsilon_1: float = 1e-30,
    epsilon_2: float = 0.001,
    clip_threshold: float = 1.0,
    weight_decay: float = 0.0,
    status: np.ndarray | None = None,
) -> None:
    """w -= rate u / max(1, rms(u) / clip_threshold), where u = g / sqrt(v)."""

def adagrad(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    sums: list[np.ndarray],
    lr: np.ndarray,
    *,
    epsilon: float = 1e-07,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: np.ndarray | None = None,
) -> None:
    """g += l2 w; sum += g^2; w -= lr g / sqrt(sum + epsilon), with pytorch w -= lr (g / (sqrt(sum) + epsilon))."""

def adam(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    ms: list[np.ndarray],
    vs: list[np.ndarray],
    vhats: list[np.ndarray] | None,
    lr: np.ndarray,
    step: np.ndarray,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-07,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: np.ndarray | None = None,
) -> None:
    """g += l2 w; m += (1 - b1)(g - m); v += (1 - b2)(g^2 - v); w -= rate m / (sqrt(v) + epsilon)."""

def adamax(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    ms: list[np.ndarray],
    us: list[np.ndarray],
    lr: np.ndarray,
    step: np.ndarray,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-07,
    weight_decay: float = 0.0,
    status: np.ndarray | None = None,
) -> None:
    """m += (1 - b1)(g - m); u = max(b2 u, |g|); w -= lr / (1 - b1^t) m / (u + epsilon), where t = step + 1."""

def add(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def add_gradient(
    dy: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]: ...
def advance(counter: np.ndarray, amount: int = 1, *, status: np.ndarray | None = None) -> None:
    """counter (int64) += amount."""

def argmax(x: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
    """Index (int64) of the first largest element along axis; the first NaN wins."""

def argmin(x: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
    """Index (int64) of the first smallest element along axis; the first NaN wins."""

def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    key: np.ndarray | None = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    rate: float = 0.0,
    precision: int = 0,
) -> np.ndarray:
    """y[B,T,H,E] = dropout(softmax(scale * q k^T)) v for each batch and head."""

def attention_gradient(
    dy: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    key: np.ndarray | None = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    rate: float = 0.0,
    precision: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dq, dk, dv)."""

def average_weights(
    ws: list[np.ndarray],
    averages: list[np.ndarray],
    step: np.ndarray,
    *,
    momentum: float = 0.99,
    overwrite_every: int = 0,
    status: np.ndarray | None = None,
) -> None:
    """average = momentum average + (1 - momentum) w; in the first step (step is 0) it is w."""

def avg_pool2d(
    x: np.ndarray,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    channels_first: bool = False,
) -> np.ndarray:
    """The mean of each window, over the cells inside the input (or, count_include_pad, over the padding too)."""

def avg_pool2d_gradient(
    dy: np.ndarray,
    x_shape: Any,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    channels_first: bool = False,
) -> np.ndarray:
    """dx of avg_pool2d: each cell of a window gets dy / count."""

def batch_norm(
    x: np.ndarray, gamma: np.ndarray | None, beta: np.ndarray | None, *, axis: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, mean, variance): each channel, an entry along axis, gets mean beta and variance gamma^2."""

def batch_norm_gradient(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray | None,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    axis: int,
    epsilon: float,
    through_statistics: bool = True,
    needs_dx: bool = True,
    needs_dgamma: bool = True,
    needs_dbeta: bool = True,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """(dx, dgamma, dbeta). through_statistics: mean and variance are those of x, so x moves them too."""

def batch_norm_inference(
    x: np.ndarray,
    gamma: np.ndarray | None,
    beta: np.ndarray | None,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    axis: int,
    epsilon: float,
) -> np.ndarray:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with one number of each per channel."""

def bias_activation_gradient(
    dy: np.ndarray,
    y: np.ndarray | None,
    *,
    activation: int = 0,
    slope: float = 0.0,
    axis: int = -1,
    needs_db: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Backwards through y = activation(z + bias): dz, and the sum of dz over all axes but `axis` (db)."""

def cast(x: np.ndarray, dtype: Any, scale: float = 1.0) -> np.ndarray:
    """x in another dtype; a float also times scale. Floats to integers truncate; anything but 0 is True."""

def check_finite(x: np.ndarray, *, status: np.ndarray) -> None:
    """Sets the status if x holds NaN or Inf."""

def class_hits(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Is the first largest of each row x[..., :] at the class number labels[...]? NaN counts as largest."""

def clip(x: np.ndarray, p: float, q: float, *, out: np.ndarray | None = None) -> np.ndarray: ...
def clip_gradient(dy: np.ndarray, s: np.ndarray, p: float, q: float) -> np.ndarray: ...
def clip_gradients(
    gs: list[np.ndarray],
    *,
    scale: float = 1.0,
    value: float = 0.0,
    norm: float = 0.0,
    global_norm: float = 0.0,
    status: np.ndarray | None = None,
) -> list[np.ndarray]:
    """scale g, with elements cut to [-value, value], or shrunk so that the norm of each, or of all, is no larger."""

def concat(arrays: list[np.ndarray], axis: int) -> np.ndarray:
    """Arrays one after another along axis."""

def contiguous(x: np.ndarray) -> np.ndarray:
    """x in C order; x itself if it is already."""

def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    strides: Any = ...,
    pads: Any = ...,
    dilation: Any = ...,
    groups: int = 1,
    channels_first: bool = False,
    activation: int = 0,
    slope: float = 0.0,
    out: np.ndarray | None = None,
    precision: int = 0,
) -> np.ndarray:
    """y[n,p,q,f] = activation(sum over r,s,c of x[n,i,j,c] w[r,s,c,f] + b[f]), 0 outside x."""

def conv2d_filter_gradient(
    x: np.ndarray,
    dz: np.ndarray,
    w_shape: Any,
    *,
    strides: Any = ...,
    pads: Any = ...,
    dilation: Any = ...,
    groups: int = 1,
    channels_first: bool = False,
    precision: int = 0,
) -> np.ndarray:
    """dw of conv2d, of shape w_shape."""

def conv2d_input_gradient(
    dz: np.ndarray,
    w: np.ndarray,
    x_shape: Any,
    *,
    strides: Any = ...,
    pads: Any = ...,
    dilation: Any = ...,
    groups: int = 1,
    channels_first: bool = False,
    precision: int = 0,
) -> np.ndarray:
    """dx of conv2d, of shape x_shape, from dz = the gradient of the sum before the activation."""

def copy(source: np.ndarray, target: np.ndarray, *, status: np.ndarray | None = None) -> None:
    """target[...] = source, of one shape, converted to the target's dtype; nothing if the status is set."""

def div(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def div_gradient(
    dy: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]: ...
def dropout(x: np.ndarray, key: np.ndarray, *, rate: float, noise_shape: Any = None) -> np.ndarray:
    """x / (1 - rate) where u >= rate, else 0; u is the float32 uniform of the element (of noise_shape, broadcast)."""

def elu(x: np.ndarray, p: float, *, out: np.ndarray | None = None) -> np.ndarray: ...
def elu_gradient(dy: np.ndarray, s: np.ndarray, p: float) -> np.ndarray: ...
def empty(shape: Any, dtype: Any, for_life: bool = False) -> np.ndarray:
    """A new array, not initialised. for_life: the memory of a Variable, which has a version."""

def empty_cache() -> int:
    """Gives the memory at rest back to the system; returns how many bytes."""

def equal(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def erf(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def erf_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def every_nth(
    step: np.ndarray, n: int, turns: np.ndarray, gate: np.ndarray, *, status: np.ndarray | None = None
) -> None:
    """turns = step // n; gate (a status) lets what comes after it run in every nth step only."""

def exp(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def exp_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def expm1(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def expm1_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def extremum_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """dx of max or min: dy, shared equally among the elements that equal the result."""

def ftrl(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    sums: list[np.ndarray],
    linears: list[np.ndarray],
    lr: np.ndarray,
    *,
    power: float = -0.5,
    l1: float = 0.0,
    l2: float = 0.0,
    l2_shrinkage: float = 0.0,
    beta: float = 0.0,
    weight_decay: float = 0.0,
    status: np.ndarray | None = None,
) -> None:
    """new = sum + g^2; linear += g + 2 l2_shrinkage w - (new^-power - sum^-power) / lr w; sum = new."""

def full(shape: Any, dtype: Any, value: float) -> np.ndarray:
    """An array of one value."""

def gelu(x: np.ndarray, p: float, *, out: np.ndarray | None = None) -> np.ndarray: ...
def gelu_gradient(dy: np.ndarray, s: np.ndarray, p: float) -> np.ndarray: ...
def gemm(
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    activation: int = 0,
    slope: float = 0.0,
    out: np.ndarray | None = None,
    precision: int = 0,
) -> np.ndarray:
    """y[...,M,N] = activation(alpha * a[...,M,K] @ b[...,K,N] + beta * out + bias[N]); beta == 0 never reads out."""

def gemm_gradient(
    a: np.ndarray,
    b: np.ndarray,
    y: np.ndarray | None = None,
    *,
    activation: int = 0,
    slope: float = 0.0,
    needs_sum: bool = False,
    precision: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """d = (a[M,K] @ b[K,N]) * activation'(from its result y[M,N]), and the sum of d over its rows, (N,) or None."""

def gemm_path(a: Any, b: Any) -> str:
    """How gemm goes about this product of matrices (benchmarks)."""

def greater(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def greater_equal(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def gru(
    x: np.ndarray,
    w: np.ndarray,
    u: np.ndarray,
    bias: np.ndarray | None = None,
    h: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    reset_after: bool = True,
    zero_masked: bool = False,
) -> tuple[np.ndarray, ...]:
    """Gates z, r, n in this order (Keras): h_t = z h_{t-1} + (1 - z) n."""

def gru_gradient(
    dy: np.ndarray | None,
    dh: np.ndarray | None,
    x: np.ndarray,
    w: np.ndarray,
    u: np.ndarray,
    saved: np.ndarray,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    reset_after: bool = True,
    zero_masked: bool = False,
    needs_x: bool = True,
) -> tuple[np.ndarray | None, ...]:
    """(dx, dw, du, dbias, dh)."""

def hard_sigmoid(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def hard_sigmoid_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def isa() -> str:
    """Name of the instruction set in use."""

def isas() -> list[str]:
    """Instruction sets that this CPU can run, best first."""

def layer_norm(
    x: np.ndarray, gamma: np.ndarray | None, beta: np.ndarray | None, *, axis: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, mean, rstd): each row, the axes from axis on, gets mean 0 and variance 1, then times gamma, plus beta."""

def layer_norm_gradient(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    *,
    axis: int,
    needs_dx: bool = True,
    needs_dgamma: bool = True,
    needs_dbeta: bool = True,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """(dx, dgamma, dbeta)."""

def leaky_relu(x: np.ndarray, p: float, *, out: np.ndarray | None = None) -> np.ndarray: ...
def leaky_relu_gradient(dy: np.ndarray, s: np.ndarray, p: float) -> np.ndarray: ...
def less(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def less_equal(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def lion(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    ms: list[np.ndarray],
    lr: np.ndarray,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    weight_decay: float = 0.0,
    status: np.ndarray | None = None,
) -> None:
    """w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g."""

def log(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def log1p(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def log1p_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def log_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray: ...
def log_softmax_gradient(dy: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray: ...
def logsumexp(x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    """log(sum(exp(x))), shifted by the largest element so that nothing overflows."""

def logsumexp_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray, axes: tuple[int, ...]) -> np.ndarray: ...
def lstm(
    x: np.ndarray,
    w: np.ndarray,
    u: np.ndarray,
    bias: np.ndarray | None = None,
    h: np.ndarray | None = None,
    c: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    zero_masked: bool = False,
) -> tuple[np.ndarray, ...]:
    """Gates i, f, g, o in this order (Keras): c_t = f c_{t-1} + i g, h_t = o activation(c_t)."""

def lstm_gradient(
    dy: np.ndarray | None,
    dh: np.ndarray | None,
    dc: np.ndarray | None,
    x: np.ndarray,
    w: np.ndarray,
    u: np.ndarray,
    saved: np.ndarray,
    c: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    zero_masked: bool = False,
    needs_x: bool = True,
) -> tuple[np.ndarray | None, ...]:
    """(dx, dw, du, dbias, dh, dc)."""

def matmul_unit(precision: int) -> str:
    """What multiplies float32 matrices as bfloat16 pieces at this precision; '': float32 does."""

def matmul_units() -> list[str]:
    """What could multiply bfloat16 pieces beside the instruction set in use."""

def max(x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray: ...
def max_pool2d(
    x: np.ndarray,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = False,
    channels_first: bool = False,
    indices: bool = False,
) -> Any:
    """The largest of each window; padding never wins, NaN always does."""

def max_pool2d_gradient(
    dy: np.ndarray,
    x: np.ndarray,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = False,
    channels_first: bool = False,
) -> np.ndarray:
    """dx of max_pool2d: dy goes to the winner of each window."""

def maximum(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def maximum_gradient(
    dy: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]: ...
def mean(x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray: ...
def mean_gradients(
    sums: list[np.ndarray],
    gs: list[np.ndarray],
    step: np.ndarray,
    n: int,
    *,
    scale: float = 1.0,
    status: np.ndarray | None = None,
) -> list[np.ndarray]:
    """sums += scale g; gives sums / n. In every nth step (step + 1 divisible by n) the sums are 0 again afterwards."""

def memory() -> dict[str, Any]:
    """Blocks in use; bytes in use, at rest in the cache, and at the highest."""

def min(x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray: ...
def minimum(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def minimum_gradient(
    dy: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]: ...
def moving_average(
    average: np.ndarray, value: np.ndarray, *, momentum: float, scale: float = 1.0, status: np.ndarray | None = None
) -> None:
    """average = momentum * average + (1 - momentum) * scale * value."""

def mul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def mul_gradient(
    dy: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]: ...
def nadam(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    ms: list[np.ndarray],
    vs: list[np.ndarray],
    product: np.ndarray,
    lr: np.ndarray,
    step: np.ndarray,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-07,
    weight_decay: float = 0.0,
    status: np.ndarray | None = None,
) -> None:
    """m and v as in adam; w -= lr ahead / (sqrt(v / (1 - b2^t)) + epsilon), where t = step + 1."""

def nadam_advance(
    product: np.ndarray, step: np.ndarray, *, beta_1: float = 0.9, status: np.ndarray | None = None
) -> None:
    """product *= b1 (1 - 0.96^t / 2), where t = step + 1: the end of a step of nadam, once for all variables."""

def neg(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def neg_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def next_rows(order: Any, cursor: Any, count: int) -> np.ndarray: ...
def not_equal(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def num_threads() -> int: ...
def one_hot(indices: np.ndarray, classes: int, dtype: Any, *, status: np.ndarray | None = None) -> np.ndarray:
    """(..., classes): 1 at the index, else 0. An index outside [0, classes) is an error."""

def pad(x: np.ndarray, widths: Any, value: float = 0.0) -> np.ndarray:
    """x with widths[i] = (before, after) cells of `value` added to axis i."""

def permutation(n: int, key: np.ndarray) -> np.ndarray:
    """0 .. n - 1 (int64) by their 64-bit random words (two of a Philox block, low first), equal ones by number."""

def pow(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def pow_gradient(
    dy: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]: ...
def prod(x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray: ...
def prod_gradient(dy: np.ndarray, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """dx of prod: dy times the product of all the others, also where elements are zero."""

def put_rows(x: Any, to: Any, cursor: Any) -> None: ...
def random_normal(shape: Any, dtype: Any, key: np.ndarray, *, mean: float = 0.0, stddev: float = 1.0) -> np.ndarray:
    """Box-Muller on pairs of uniforms (u, v): sqrt(-2 log(1 - u)) times cos and sin of 2 pi v, in float64."""

def random_truncated_normal(
    shape: Any, dtype: Any, key: np.ndarray, *, mean: float = 0.0, stddev: float = 1.0
) -> np.ndarray:
    """Normals within two standard deviations: of the draws (seed, draw + 2^32 j), j = 0, 1, ..., the first inside."""

def random_uniform(shape: Any, dtype: Any, key: np.ndarray, *, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """low + (high - low) u, u in [0, 1)."""

def reciprocal(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def reciprocal_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def relu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def relu_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def rmsprop(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    vs: list[np.ndarray],
    ms: list[np.ndarray] | None,
    means: list[np.ndarray] | None,
    lr: np.ndarray,
    *,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-07,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: np.ndarray | None = None,
) -> None:
    """g += l2 w; v = rho v + (1 - rho) g^2; step = lr g / sqrt(v + epsilon); w -= step."""

def rsqrt(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def rsqrt_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def selu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def selu_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def set_num_threads(n: int) -> None: ...
def sgd(
    ws: list[np.ndarray],
    gs: list[np.ndarray],
    ms: list[np.ndarray] | None,
    lr: np.ndarray,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: np.ndarray | None = None,
) -> None:
    """g += l2 w; m = momentum m - lr g; w += m, or with nesterov w += momentum m - lr g."""

def sigmoid(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def sigmoid_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def sigmoid_xent(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """loss = log(1 + exp(x)) - x t for each element, and its gradient by the logits, sigmoid(x) - t."""

def sign(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def sign_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def silu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def silu_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def simple_rnn(
    x: np.ndarray,
    w: np.ndarray,
    u: np.ndarray,
    bias: np.ndarray | None = None,
    h: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
    *,
    activation: int = 6,
    zero_masked: bool = False,
) -> tuple[np.ndarray, ...]:
    """h_t = activation(x_t w + h_{t-1} u + bias). saved: h_t, and the h_{t-1} that met u."""

def simple_rnn_gradient(
    dy: np.ndarray | None,
    dh: np.ndarray | None,
    x: np.ndarray,
    w: np.ndarray,
    u: np.ndarray,
    saved: np.ndarray,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
    *,
    activation: int = 6,
    zero_masked: bool = False,
    needs_x: bool = True,
) -> tuple[np.ndarray | None, ...]:
    """(dx, dw, du, dbias, dh)."""

def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """exp(x - max) / sum."""

def softmax_gradient(dy: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray: ...
def softmax_xent(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    class_weight: np.ndarray | None = None,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    status: np.ndarray | None = None,
    gradient: bool = True,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """loss_i = -weight_i sum_c t_ic log_softmax(logits)_ic; its gradient by the logits; the number of correct rows."""

def softplus(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def softplus_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def softsign(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def softsign_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def sqrt(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def sqrt_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def square(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def square_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def sub(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def sub_gradient(
    dy: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]: ...
def sum(x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray: ...
def sum_to(x: np.ndarray, shape: Any) -> np.ndarray:
    """Undoes broadcasting: sums x over the axes along which an array of `shape` was repeated."""

def take_rows(
    x: np.ndarray, indices: np.ndarray, *, dtype: Any = None, scale: float = 1.0, status: np.ndarray | None = None
) -> np.ndarray:
    """y[i] = scale * x[indices[i]], converted to dtype, for indices of any shape. An index outside [0, rows) is an"""

def take_rows_gradient(
    dy: np.ndarray, indices: np.ndarray, rows: int, *, status: np.ndarray | None = None
) -> np.ndarray:
    """dx (rows, ...): the sum of the dy that were taken from each row, in the order of the indices. An index outside"""

def tanh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def tanh_gradient(dy: np.ndarray, s: np.ndarray) -> np.ndarray: ...
def upsample2d(x: np.ndarray, *, size: Any, bilinear: bool = False, channels_first: bool = False) -> np.ndarray:
    """Images with size times as many rows and columns: copies of pixels, or values between their centres."""

def upsample2d_gradient(
    dy: np.ndarray, x_shape: Any, *, size: Any, bilinear: bool = False, channels_first: bool = False
) -> np.ndarray: ...
def use_gemm_path(name: str) -> None:
    """Forces packed, direct, columns, few rows or, below highest, pieces; automatic: none (benchmarks)."""

def use_isa(name: str) -> None:
    """Switch the instruction set (tests, benchmarks)."""

def use_matmul_unit(name: str) -> None:
    """Switch the unit, until the next use_isa (tests, benchmarks); '': none."""

def var(x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    """Mean squared distance from the mean (biased, as NumPy's var)."""

def var_gradient(dy: np.ndarray, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray: ...
def version(array: np.ndarray) -> int:
    """How often kernels have written to the Variable that owns this memory."""

def where(condition: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a where condition (bool) holds, else b; all three broadcast."""

def where_gradient(
    dy: np.ndarray, condition: np.ndarray, a: np.ndarray, b: np.ndarray, needs_a: bool = True, needs_b: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """dy where condition holds is da, the rest is db; each of its operand's shape."""
