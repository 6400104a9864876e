"""Functions and networks that a check hands to a student's function, in any process."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
