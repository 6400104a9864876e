import itertools
import math

import numpy as np
import torch

from chapter_utils import ode


def vjp(f, x, theta, p):
    """(J' p in x, J' p in theta), used by the wrong answers below."""
    return torch.autograd.functional.vjp(f, (x, theta), p)[1]


def W_of(A, B, m):
    return (1 - m) * torch.eye(B.shape[0], dtype=A.dtype) - A.T @ A + B - B.T


def forward_backward(W, q, steps=3000, a=None):
    G = torch.eye(len(W), dtype=W.dtype) - W
    if a is None:
        a = torch.linalg.eigvalsh(G + G.T)[0].item() / 2 / torch.linalg.matrix_norm(G, 2) ** 2
    z = torch.zeros_like(q)
    for _ in range(steps):
        z = torch.relu(z - a * (z @ G.T - q))
    return z


def jacobians(f, z):
    return torch.func.vmap(torch.func.jacrev(f))(z)


def good_mu_2(M):
    return torch.linalg.eigvalsh((M + M.mT) / 2)[:, -1]


def good_mu_inf(M):
    return ode.logarithmic_norm(M, math.inf)


def good_with(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        gx, gt = vjp(f, x, theta, p)
        rows.append(h * gt)
        p = p + h * gx
    return torch.stack(rows[::-1]), p


def good_without(f, x, thetas, h, p):
    rows = []
    for theta in thetas.flip(0):
        gx, gt = vjp(f, x, theta, p)
        rows.append(h * gt)
        x, p = x - h * f(x, theta), p + h * gx
    return torch.stack(rows[::-1]), p


# %% 4.1 right: vector-Jacobian products
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = p + h * gx
    return torch.stack(rows), p


def gradients_without_memory(f, x, thetas, h, p):
    rows = []
    for theta in thetas.flip(0):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        x, p = x - h * f(x, theta), p + h * gx
    return torch.stack(rows), p


# %% 4.1 right: whole Jacobians
def gradients_with_memory(f, states, thetas, h, p):
    out = torch.empty_like(thetas)
    for n in range(len(thetas) - 1, -1, -1):
        Jx, Jt = torch.autograd.functional.jacobian(f, (states[n], thetas[n]))
        out[n] = h * Jt.T @ p
        p = (torch.eye(len(p)) + h * Jx).T @ p
    return out, p


def gradients_without_memory(f, x, thetas, h, p):
    out = torch.empty_like(thetas)
    for n in range(len(thetas) - 1, -1, -1):
        Jx, Jt = torch.autograd.functional.jacobian(f, (x, thetas[n]))
        out[n] = h * Jt.T @ p
        p = (torch.eye(len(p)) + h * Jx).T @ p
        x = x - h * f(x, thetas[n])
    return [out, p]


# %% 4.1 right: autograd of the whole network, and of a network through the recomputed states
def gradients_with_memory(f, states, thetas, h, p):
    x = start = states[0].clone().requires_grad_()
    thetas = thetas.clone().requires_grad_()
    for theta in thetas:
        x = x + h * f(x, theta)
    return torch.autograd.grad(p @ x, (thetas, start))


def gradients_without_memory(f, x, thetas, h, p):
    lost = [x]
    for theta in thetas.flip(0):
        lost.insert(0, lost[0] - h * f(lost[0], theta))
    thetas = thetas.clone().requires_grad_()
    y = start = torch.zeros_like(x).requires_grad_()
    for at, theta in zip(lost[1:], thetas):
        y = y + h * f(at + y - y.detach(), theta)
    return torch.autograd.grad(p @ y, (thetas, start))


# %% 4.1 right: one function for both, grad of a scalar
def one_layer_back(f, x, theta, h, p):
    x, theta = x.detach().requires_grad_(), theta.detach().requires_grad_()
    y = f(x, theta)
    gx, gt = torch.autograd.grad(y @ p, [x, theta])
    print("norm of p", p.norm())
    return y.detach(), p + h * gx, h * gt


def gradients_with_memory(f, states, thetas, h, p):
    rows = {}
    for n in reversed(range(len(thetas))):
        _, p, rows[n] = one_layer_back(f, states[n], thetas[n], h, p)
    return torch.stack([rows[n] for n in range(len(thetas))]), p


def gradients_without_memory(f, x, thetas, h, p):
    rows = {}
    for n in reversed(range(len(thetas))):
        y, p, rows[n] = one_layer_back(f, x, thetas[n], h, p)
        x = x - h * y
    return torch.stack([rows[n] for n in range(len(thetas))]), p


# %% 4.1 right: backward() on leaves, layer by layer
def gradients_with_memory(f, states, thetas, h, p):
    out = []
    for n in range(len(thetas))[::-1]:
        x = states[n].clone().requires_grad_()
        theta = thetas[n].clone().requires_grad_()
        (x + h * f(x, theta)).backward(p)
        out.append(theta.grad)
        p = x.grad
    return torch.stack(out).flip(0), p


def gradients_without_memory(f, x, thetas, h, p):
    out = []
    for n in range(len(thetas))[::-1]:
        x = x.clone().requires_grad_()
        theta = thetas[n].clone().requires_grad_()
        speed = f(x, theta)
        (x + h * speed).backward(p)
        out.append(theta.grad)
        p = x.grad
        x = (x - h * speed).detach()
    return torch.stack(out).flip(0), p


# %% 4.1 wrong: p is changed before the gradient -> change p too early
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        p = p + h * vjp(f, x, theta, p)[0]
        rows.insert(0, h * vjp(f, x, theta, p)[1])
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: not transposed -> *transposed*
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        Jx, Jt = torch.autograd.functional.jacobian(f, (x, theta))
        rows.insert(0, h * Jt.T @ p)
        p = p + h * Jx @ p
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: no skip connection -> skip connection
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = h * gx
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: minus h, as the adjoint equation has a minus -> walks backwards
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = p - h * gx
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: output of the layer for its input -> belong to its *input*
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[1:].flip(0), thetas.flip(0)):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = p + h * gx
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: rows in the order of the loop -> reverse order
def gradients_with_memory(f, states, thetas, h, p):
    rows, p = good_with(f, states, thetas, h, p)
    return rows.flip(0), p


gradients_without_memory = good_without


# %% 4.1 wrong: h forgotten in the gradient -> factor h is missing
def gradients_with_memory(f, states, thetas, h, p):
    rows, p = good_with(f, states, thetas, h, p)
    return rows / h, p


gradients_without_memory = good_without


# %% 4.1 wrong: h forgotten in p -> lost its factor h
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = p + gx
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: p stays -> p never changes
def gradients_with_memory(f, states, thetas, h, p):
    rows = [h * vjp(f, x, theta, p)[1] for x, theta in zip(states[:-1], thetas)]
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: thetas from the front -> with 4 layers the gradients are wrong
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = p + h * gx
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: one gradient for all layers together -> has shape
def gradients_with_memory(f, states, thetas, h, p):
    rows, p = good_with(f, states, thetas, h, p)
    return rows.sum(0), p


gradients_without_memory = good_without

# %% 4.1 wrong: the states are recomputed exactly -> *true* states
gradients_with_memory = good_with


def gradients_without_memory(f, x, thetas, h, p):
    states = [x]
    for theta in thetas.flip(0):
        y = x
        for _ in range(500):
            y = y - 0.5 * (y + h * f(y, theta) - x)
        x = y
        states.insert(0, x)
    return good_with(f, torch.stack(states), thetas, h, p)


# %% 4.1 wrong: back first, derivatives then -> differentiate then
gradients_with_memory = good_with


def gradients_without_memory(f, x, thetas, h, p):
    rows = []
    for theta in thetas.flip(0):
        x = x - h * f(x, theta)
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = p + h * gx
    return torch.stack(rows), p


# %% 4.1 wrong: x is not moved -> state never moves
gradients_with_memory = good_with


def gradients_without_memory(f, x, thetas, h, p):
    rows = []
    for theta in thetas.flip(0):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p = p + h * gx
    return torch.stack(rows), p


# %% 4.1 wrong: x moves forwards -> the last layer's gradient is right
gradients_with_memory = good_with


def gradients_without_memory(f, x, thetas, h, p):
    rows = []
    for theta in thetas.flip(0):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        x, p = x + h * f(x, theta), p + h * gx
    return torch.stack(rows), p


# %% 4.1 wrong: p is changed in place -> in place
def gradients_with_memory(f, states, thetas, h, p):
    rows = []
    for x, theta in zip(states[:-1].flip(0), thetas.flip(0)):
        gx, gt = vjp(f, x, theta, p)
        rows.insert(0, h * gt)
        p += h * gx
    return torch.stack(rows), p


gradients_without_memory = good_without


# %% 4.1 wrong: starts from ones, not from p -> are wrong
def gradients_with_memory(f, states, thetas, h, p):
    return good_with(f, states, thetas, h, torch.ones_like(p))


gradients_without_memory = good_without
