"""Layers that give their input mean 0 and variance 1: over the batch, or within each sample."""

from typing import Any

from nnfast import initializers, ops
from nnfast.layers.layer import ElementwiseLayer, Shape
from nnfast.layers.weights import add, keep_options
from nnfast.tensor import Tensor, Variable


class BatchNormalization(ElementwiseLayer):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, channel by channel (Ioffe and Szegedy, 2015).

    In training mean and (biased) variance are those of the batch, and moving_mean and moving_variance follow them:
    moving = momentum * moving + (1 - momentum) * batch. Otherwise, and where the layer is frozen (trainable=False), the
    moving ones are used.

    Args:
        axis: which axis has the channels; 1 for channels_first.
        momentum: how slowly the moving statistics follow. (PyTorch calls 1 - momentum its momentum.)
        epsilon: keeps the root away from 0.
        center, scale: is there a beta, a gamma?
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: the first values.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: as in `Dense`.
        renorm, renorm_clipping, renorm_momentum: batch renormalization is not supported.
        synchronized: not supported.

    Called with mask= it counts the masked steps too.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.BatchNormalization(epsilon=0)(np.array([[1.0], [3.0]]), training=True).numpy().tolist()
    [[-1.0], [1.0]]
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value in (("renorm", renorm), ("synchronized", synchronized)):
            if value:
                raise ValueError(
                    f"[BatchNormalization] {name} is not supported. Received: {name}={value!r}. Leave it out"
                )
        if isinstance(axis, (list, tuple)) and len(axis) == 1:  # how Keras 2 wrote it
            (axis,) = axis
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            raise ValueError(f"[BatchNormalization] axis must be an integer. Received: axis={axis!r}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"[BatchNormalization] momentum is from 0 to 1. Received: momentum={momentum!r}")
        self.axis = int(axis)
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.center, self.scale = center, scale
        keep_options(self, "beta", beta_initializer, beta_regularizer, beta_constraint)
        keep_options(self, "gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.renorm, self.renorm_clipping, self.renorm_momentum = renorm, renorm_clipping, renorm_momentum
        self.synchronized = synchronized
        self.gamma: Variable | None = None
        self.beta: Variable | None = None
        self.moving_mean: Any = None
        self.moving_variance: Any = None

    def check_input(self, shape: Shape) -> None:
        if not -len(shape) <= self.axis < len(shape):
            raise self._mismatch(f"has axis={self.axis}, which its input has not", shape)
        channels = shape[self.axis]
        if channels is None:
            raise self._mismatch(f"needs the size of its axis {self.axis}", shape, "Give it in input_shape=")
        if self.moving_mean is not None and channels != self.moving_mean.shape[0]:
            raise self._mismatch(
                f"was built for {self.moving_mean.shape[0]} channels along axis {self.axis}",
                shape,
                "Channels first are axis=1",
            )

    def build(self, input_shape: Any) -> None:
        shape = (input_shape[self.axis],)
        if self.scale:
            self.gamma = add(self, "gamma", shape)
        if self.center:
            self.beta = add(self, "beta", shape)
        self.moving_mean = self.add_weight(shape, self.moving_mean_initializer, trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(
            shape, self.moving_variance_initializer, trainable=False, name="moving_variance"
        )

    def call(self, x: Tensor, training: bool = False, mask: Any = None) -> Tensor:
        how: dict[str, Any] = {"axis": self.axis, "epsilon": self.epsilon}
        if not training or not self.trainable:
            return ops.batch_norm(x, self.gamma, self.beta, self.moving_mean, self.moving_variance, **how)
        y, mean, variance = ops.batch_norm(x, self.gamma, self.beta, statistics=True, **how)
        if x.size:
            ops.moving_average(self.moving_mean, mean, self.momentum)
            ops.moving_average(self.moving_variance, variance, self.momentum)
        return y


class LayerNormalization(ElementwiseLayer):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta within each sample (Ba et al., 2016).

    Args:
        axis: which axes are normalized together: mean and variance are taken over them, and gamma and beta have their
            sizes.
        epsilon: added to the variance.
        center, scale: is there a beta, a gamma?
        beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: as
            in `Dense`.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.LayerNormalization(epsilon=0)(np.array([[1.0, 3.0]])).numpy().tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        if kwargs.pop("rms_scaling", False):  # in the configs of Keras
            raise ValueError("[LayerNormalization] rms_scaling is not supported. Received: rms_scaling=True")
        super().__init__(**kwargs)
        axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
        if not axes or any(isinstance(a, bool) or not hasattr(a, "__index__") for a in axes):
            raise TypeError(f"[LayerNormalization] axis is an integer or a list of them. Received: axis={axis!r}")
        self.axis = list(axes) if isinstance(axis, (list, tuple)) else axis
        self.epsilon = float(epsilon)
        self.center, self.scale = center, scale
        keep_options(self, "beta", beta_initializer, beta_regularizer, beta_constraint)
        keep_options(self, "gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.gamma: Variable | None = None
        self.beta: Variable | None = None
        self._sizes: Any = None

    def _axes(self, shape: Shape) -> list[int]:
        """Which axes, from 0, rising."""
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        if any(not -len(shape) <= a < len(shape) for a in axes) or len({a % len(shape) for a in axes}) != len(axes):
            raise self._mismatch(f"has axis={self.axis}, which must be different axes of its input", shape)
        return sorted(a % len(shape) for a in axes)

    def check_input(self, shape: Shape) -> None:
        sizes = tuple(shape[a] for a in self._axes(shape))
        if None in sizes:
            raise self._mismatch(f"needs the sizes of its axes {self.axis}", shape, "Give them in input_shape=")
        if self._sizes is not None and sizes != self._sizes:
            raise self._mismatch(f"was built for sizes {self._sizes} of the axes {self.axis}", shape)

    def build(self, input_shape: Any) -> None:
        self._sizes = tuple(input_shape[a] for a in self._axes(input_shape))
        if self.scale:
            self.gamma = add(self, "gamma", self._sizes)
        if self.center:
            self.beta = add(self, "beta", self._sizes)

    def call(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.gamma, self.beta, axis=self.axis, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rms_scaling": False}
