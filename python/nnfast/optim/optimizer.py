"""The optimizers. Where PyTorch's rule and Keras's differ, this is PyTorch's; each class says what it computes."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.tape import no_grad
from nnfast.tensor import Tensor, Variable


class Optimizer:
    """Base class: groups of parameters with options of their own, and what each parameter remembers.

    Args:
        params: Parameters, e.g. `net.parameters()`; or dicts {"params": [...], "lr": ...} with options for each group.
        defaults: options of the groups that do not give their own.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self.defaults = defaults
        self.state: dict[Any, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        tag = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(f"[{tag}] params must be a list of Parameters. Received: one tensor. Use [p]")
        given = list(params)
        if not given:
            raise ValueError(
                f"[{tag}] there is nothing to train. Received: an empty list of parameters. "
                "Are the layers attributes of the Module, and not in a plain list? Use nn.ModuleList"
            )
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds Parameters with options of their own."""
        group = {**self.defaults, **param_group}
        listed = group["params"]
        group["params"] = [listed] if isinstance(listed, Tensor) else list(listed)
        tag = type(self).__name__
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in group["params"]:
            if not isinstance(p, Variable):
                raise TypeError(f"[{tag}] only Parameters can be trained. Received: {type(p).__name__}")
            if id(p) in known:
                raise ValueError(f"[{tag}] each Parameter belongs to one group. Received: shape {p.shape} twice")
            known.add(id(p))
        if not group["lr"] >= 0:
            raise ValueError(f"[{tag}] lr must not be negative. Received: lr={group['lr']}")
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients: `backward` adds to them."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes every parameter that has a gradient. closure: computes the loss (and gradients) first."""
        loss = closure() if closure is not None else None
        with no_grad():
            for group in self.param_groups:
                by_count: dict[int, list[Any]] = {}
                for p in group["params"]:
                    if getattr(p, "grad", None) is not None:
                        state = self.state.setdefault(p, {"step": 0})
                        by_count.setdefault(state["step"], []).append(p)
                for count, params in by_count.items():
                    grads = [-p.grad if group.get("maximize") else p.grad for p in params]
                    self._update(group, params, grads, count)
                    for p in params:
                        self.state[p]["step"] = count + 1
        return loss

    def _update(self, group: dict[str, Any], params: list[Any], grads: list[Any], count: int) -> None:
        """One step of parameters that have done `count` steps before, downhill: with maximize the grads are turned."""
        raise NotImplementedError(f"[{type(self).__name__}] an optimizer must define _update")

    def _buffers(self, name: str, params: Iterable[Any], value: float = 0.0) -> list[Variable]:
        """What each parameter remembers under a name; made at its first step."""
        found = []
        for p in params:
            state = self.state[p]
            if name not in state:
                state[name] = Variable(np.full(p.shape, value, p.dtype), trainable=False, name=name)
            found.append(state[name])
        return found

    # ---- state ----
    def state_dict(self) -> dict[str, Any]:
        """What is remembered, by the number of each parameter, and the options of the groups: plain arrays."""
        numbers: dict[Any, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                numbers[p] = len(numbers)
        state = {
            numbers[p]: {k: v.numpy() if isinstance(v, Tensor) else v for k, v in s.items()}
            for p, s in self.state.items()
        }
        groups = [{**g, "params": [numbers[p] for p in g["params"]]} for g in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        sizes = [len(g["params"]) for g in state_dict["param_groups"]]
        mine = [len(g["params"]) for g in self.param_groups]
        if sizes != mine:
            raise ValueError(f"[load_state_dict] this optimizer has groups of {mine} parameters. Received: {sizes}")
        params = [p for g in self.param_groups for p in g["params"]]
        for own, theirs in zip(self.param_groups, state_dict["param_groups"]):
            own.update({k: v for k, v in theirs.items() if k != "params"})
        self.state = {
            params[int(i)]: {
                k: Variable(v, trainable=False, name=k) if isinstance(v, np.ndarray) else v for k, v in s.items()
            }
            for i, s in state_dict["state"].items()
        }

    def __repr__(self) -> str:
        lines = [
            f"  group {i}: " + ", ".join(f"{k}={v}" for k, v in g.items() if k != "params")
            for i, g in enumerate(self.param_groups)
        ]
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


def _rate(group: dict[str, Any]) -> np.ndarray:
    return np.array(float(group["lr"]))


class SGD(Optimizer):
    """g += weight_decay * w; b = momentum * b + (1 - dampening) * g; w -= lr * b (nesterov: lr * (g + momentum * b)).

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        momentum, dampening, nesterov: see above; in the first step b = g.
        weight_decay: strength of an L2 penalty.
        maximize: go uphill.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "[SGD] nesterov needs a momentum and no dampening. "
                f"Received: momentum={momentum}, dampening={dampening}"
            )
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Any], grads: list[Any], count: int) -> None:
        ops.sgd(
            params,
            grads,
            self._buffers("momentum_buffer", params) if group["momentum"] else None,
            _rate(group),
            momentum=group["momentum"],
            dampening=group["dampening"] if group["momentum"] and count else 0.0,
            nesterov=group["nesterov"],
            l2=group["weight_decay"],
            pytorch=True,
        )


class Adam(Optimizer):
    """g += weight_decay * w; m, v average g, g^2; w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: how slowly m and v forget.
        eps: keeps the division away from 0. It is added after the correction of v, where Keras adds it before.
        weight_decay: strength of an L2 penalty.
        amsgrad: divide by the largest v so far.
        maximize: go uphill.
    """

    decoupled = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        for i, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"[{type(self).__name__}] betas must be in [0, 1). Received: betas[{i}]={beta}")
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Any], grads: list[Any], count: int) -> None:
        beta_1, beta_2 = group["betas"]
        ops.adam(
            params,
            grads,
            self._buffers("exp_avg", params),
            self._buffers("exp_avg_sq", params),
            self._buffers("max_exp_avg_sq", params) if group["amsgrad"] else None,
            _rate(group),
            np.array(count),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=group["eps"],
            weight_decay=group["weight_decay"] if self.decoupled else 0.0,
            l2=0.0 if self.decoupled else group["weight_decay"],
            pytorch=True,
        )


class AdamW(Adam):
    """Adam whose weight decay does not pass through m and v: w -= lr * weight_decay * w first. See `Adam`."""

    decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class RMSprop(Optimizer):
    """v = alpha * v + (1 - alpha) * g^2; w -= lr * g / (sqrt(v) + eps): eps outside the root; Keras has it inside.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        alpha: how slowly v forgets.
        eps: keeps the division away from 0.
        weight_decay: strength of an L2 penalty.
        momentum: b = momentum * b + g / (sqrt(v) + eps); w -= lr * b.
        centered: subtract the squared mean of the gradient from v.
        maximize: go uphill.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Any], grads: list[Any], count: int) -> None:
        ops.rmsprop(
            params,
            grads,
            self._buffers("square_avg", params),
            self._buffers("momentum_buffer", params) if group["momentum"] else None,
            self._buffers("grad_avg", params) if group["centered"] else None,
            _rate(group),
            rho=group["alpha"],
            momentum=group["momentum"],
            epsilon=group["eps"],
            l2=group["weight_decay"],
            pytorch=True,
        )


class Adagrad(Optimizer):
    """s += g^2; w -= lr / (1 + count * lr_decay) * g / (sqrt(s) + eps): eps outside the root; Keras has it inside.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        lr_decay: see above.
        weight_decay: strength of an L2 penalty.
        initial_accumulator_value: what s begins with.
        eps: keeps the division away from 0.
        maximize: go uphill.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "eps": eps,
                "initial_accumulator_value": initial_accumulator_value,
                "maximize": maximize,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Any], grads: list[Any], count: int) -> None:
        ops.adagrad(
            params,
            grads,
            self._buffers("sum", params, group["initial_accumulator_value"]),
            np.array(group["lr"] / (1 + count * group["lr_decay"])),
            epsilon=group["eps"],
            l2=group["weight_decay"],
            pytorch=True,
        )
