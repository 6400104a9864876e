"""Functions and networks that a check hands to a student's function, in any process."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chapter_utils import plain_layers

from .wire import sendable

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}


@sendable
def linear_map(matrix: Tensor):
    """x (..., n) -> matrix x (..., m); the adjoint is linear_map(matrix.T)."""
    return lambda x: x @ matrix.to(x).mT


@sendable
def convolution(weight: Tensor, padding: int):
    """Zero-padded convolution of images (B, C, H, W) with weight (D, C, k, k)."""
    return lambda x: F.conv2d(x, weight.to(x), padding=padding)


@sendable
def adjoint_convolution(weight: Tensor, padding: int):
    """The adjoint of `convolution` with stride 1."""
    return lambda y: F.conv_transpose2d(y, weight.to(y), padding=padding)


@sendable
def ridge_field(W: Tensor, bias: Tensor, drift: Tensor):
    """Minus the gradient of a convex potential: x (..., d) -> drift - W' relu(W x + bias)."""
    return lambda x: drift.to(x) - torch.relu(x @ W.to(x).mT + bias.to(x)) @ W.to(x)


@sendable
def tanh_field(W: Tensor, b: Tensor, V: Tensor):
    """The field x (..., d) -> V tanh(W x + b), in general no gradient."""
    return lambda x: torch.tanh(x @ W.to(x).T + b.to(x)) @ V.to(x).T


@sendable
def dense_network(weights: list[Tensor], biases: list[Tensor], activation: str) -> nn.Sequential:
    """Linear layers with an activation between them; inputs (B, ...) are flattened."""
    layers: list[nn.Module] = [nn.Flatten()]
    for weight, bias in zip(weights, biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


@sendable
def whirl_field(M: Tensor, speed: float, width: float):
    """x (..., 2) -> M x + speed |x| exp(-(|x| / width)^2) G x, with the quarter turn G."""

    def field(x):
        r = x.norm(dim=-1, keepdim=True)
        rate = speed * r * (-((r / width) ** 2)).exp()
        quarter_turn = torch.stack([-x[..., 1], x[..., 0]], -1)
        return x @ M.to(x).mT + rate * quarter_turn

    return field


@sendable
def quartic_potential(quartic: Tensor, quadratic: Tensor, tilt: Tensor):
    """V(x) = sum_i quartic_i x_i^4 / 4 + x' quadratic x / 2 + tilt' x of points x (..., 2)."""

    def potential(x):
        fourth = quartic.to(x) * x**4 / 4
        square = x * (x @ quadratic.to(x)) / 2
        return (fourth + square + tilt.to(x) * x).sum(-1)

    return potential


@sendable
def built(parts: list) -> nn.Sequential:
    """Network from a list of parts: ["linear", W, b], ["ReLU"], ["residual", parts] and so on."""
    made: list[nn.Module] = []
    for kind, *rest in parts:
        if kind == "linear":
            W, b = rest
            made.append(nn.Linear(W.shape[1], W.shape[0], dtype=W.dtype))
            made[-1].load_state_dict({"weight": W, "bias": b})
        elif kind == "layernorm":
            made.append(nn.LayerNorm(rest[0]))
        elif kind == "sequential":
            made.append(built(rest[0]))
        elif kind == "residual":
            made.append(plain_layers.ResidualBlock(built(rest[0])))
        else:
            made.append(getattr(nn, kind)())
    return nn.Sequential(*made)


@sendable
def curve(kind: str, height: float, squeeze: float, centre: float):
    """The activation t -> height * kind(squeeze * (t - centre)) of tensors of any shape."""
    kinds = {
        "gelu": F.gelu,
        "silu": F.silu,
        "mish": F.mish,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "step": lambda t: torch.tanh(t) + 0.02 * torch.sin(t / 200),
        "hat": lambda t: torch.exp(-(t**2)),
        "vee": lambda t: torch.relu(t) - 1.5 * torch.relu(-t),
        "hook": lambda t: torch.relu(t) + 2 * torch.relu(-t),
    }
    return lambda t: height * kinds[kind](squeeze * (t - centre))


@sendable
def steered_field(W: Tensor, V: Tensor):
    """f(x, theta) = tanh(W x + V theta) for x (..., d) and theta (..., k)."""
    return lambda x, theta: torch.tanh(x @ W.T + theta @ V.T)


@sendable
def relu_layers(matrices: list[Tensor], biases: list[Tensor], steps: list[float]):
    """Layers x - tau A' relu(A x + b) with tau |A|^2 = c, one after the other, for x (B, d)."""

    def network(x: Tensor) -> Tensor:
        for A, b, c in zip(matrices, biases, steps, strict=True):
            tau = c / torch.linalg.matrix_norm(A, 2).item() ** 2
            x = x - tau * (A.T @ torch.relu(A @ x.T + b[:, None])).T
        return x

    return network


@sendable
def larger_size(start: float, one: float, other: float):
    """t -> the larger of |start + one t| and |start + other t|, for numbers, tensors and arrays."""

    def largest(t):
        first = abs(start + one * t)
        second = abs(start + other * t)
        return (first + second + abs(first - second)) / 2

    return largest


@sendable
def root_of_parabola(c: float, b: float, a: float):
    """t -> the root of a t^2 + b t + c, for numbers, tensors and arrays."""
    return lambda t: (a * t**2 + b * t + c) ** 0.5


@sendable
def linear_flow(K: Tensor):
    """The exact flow of x' = K x for states x (B, d) or (d,), as a function of x and t."""
    return lambda x, t: x @ torch.linalg.matrix_exp(t * K).mT


@sendable
def cubic_flow(rates: Tensor):
    """The exact flow of x_i' = -rates_i x_i^3, minus a gradient, as a function of x and t >= 0."""
    return lambda x, t: x / (1 + 2 * t * rates * x**2).sqrt()


@sendable
def hidden_layer(K: Tensor, b: Tensor, W: Tensor):
    """z (..., n) -> W tanh(K z + b) (..., m)."""
    return lambda z: torch.tanh(z @ K.mT + b) @ W.mT


@sendable
def stretched_layer(M: Tensor, K: Tensor, b: Tensor, W: Tensor):
    """x (..., d) -> M x + W tanh(K x + b): a nonlinear map of R^d."""
    return lambda x: x @ M.mT + torch.tanh(x @ K.mT + b) @ W.mT


@sendable
def pendulum_step(h: float, symplectic: bool):
    """A step of Euler's method, or of the symplectic one, for the pendulum; states (..., 2)."""

    def step(x: Tensor) -> Tensor:
        q = x[..., 0]
        p = x[..., 1]
        later = p - h * torch.sin(q)
        return torch.stack([q + h * (later if symplectic else p), later], -1)

    return step


@sendable
def gradient_denoiser(A: Tensor, b: Tensor):
    """x (..., d) -> x - A' relu(A x + b) / |A|^2, an averaged map."""
    tau = 1 / torch.linalg.matrix_norm(A, 2) ** 2
    return lambda x: x - tau * torch.relu(x @ A.mT + b) @ A


@sendable
def bowl(P: Tensor, c: float):
    """V(x) = x'Px / 2 + c (x_1^4 + ... + x_d^4) / 4 for x (..., d)."""
    return lambda x: 0.5 * (x * (x @ P)).sum(-1) + c / 4 * (x**4).sum(-1)
