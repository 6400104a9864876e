import math

import numpy as np
import torch


def vjp(f, x, theta, p):
    """(J' p in x, J' p in theta), used by the wrong answers below."""
    return torch.autograd.functional.vjp(f, (x, theta), p)[1]


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


def good_speed(V, W):
    v = torch.linalg.matrix_norm(V, 2)
    return v * V.shape[1] ** 0.5, v * torch.linalg.matrix_norm(W, 2)


def good_layers(V, W, T, tol):
    F, L = good_speed(V, W)
    return math.ceil(0.5 * T * F * math.expm1(L * T) / tol)


def good_cost(A, rate, T):
    mu = rate + torch.linalg.matrix_norm(A, 2).item() ** 2
    return -rate, mu, T * mu / math.log(10)


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


# %% 4.1 wrong: single precision -> digits are lost
def gradients_with_memory(f, states, thetas, h, p):
    rows = torch.zeros_like(thetas)
    for n in reversed(range(len(thetas))):
        g = torch.autograd.functional.vjp(f, (states[n], thetas[n]), p)[1]
        rows[n] = (h * g[1]).float()
        p = p + h * g[0]
    return rows, p


def gradients_without_memory(f, x, thetas, h, p):
    rows = torch.zeros_like(thetas)
    for n in reversed(range(len(thetas))):
        speed, g = torch.autograd.functional.vjp(f, (x, thetas[n]), p)
        rows[n] = h * g[1]
        x, p = x - h * speed, p + h * g[0]
    return rows, p


# %% 4.2 right: norms, then the formula solved for N
def speed_and_slope(V, W):
    v = torch.linalg.matrix_norm(V, 2)
    return v * len(W) ** 0.5, v * torch.linalg.matrix_norm(W, 2)


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    return math.ceil(T * F * (math.exp(L * T) - 1) / 2 / tol)


# %% 4.2 right: singular values, and a search
def speed_and_slope(V, W):
    return [
        float(torch.linalg.svdvals(V)[0] * math.sqrt(V.shape[1])),
        float(torch.linalg.svdvals(V)[0] * torch.linalg.svdvals(W)[0]),
    ]


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    N = 1
    while 0.5 * T / N * F * math.expm1(L * T) > tol:
        N += 1
    return N


# %% 4.2 right: numpy, and bisection
def speed_and_slope(V, W):
    V, W = V.numpy(), W.numpy()
    return np.sqrt(V.shape[1] * np.linalg.eigvalsh(V @ V.T)[-1]).item(), float(
        np.linalg.norm(V, 2) * np.linalg.norm(W, 2)
    )


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    low, high = 0, 1
    good = lambda N: T * F * math.expm1(L * T) <= 2 * N * tol
    while not good(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high


# %% 4.2 right: a tensor, rounded up
def speed_and_slope(V, W):
    norms = torch.stack([torch.linalg.norm(V, 2), torch.linalg.norm(W, 2)])
    return torch.stack([norms[0] * torch.ones(V.shape[1]).norm(), norms.prod()])


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    return torch.ceil(0.5 * T * F * torch.expm1(L * T) / tol)


# %% 4.2 wrong: tanh is at most 1 -> may be longer than 1
def speed_and_slope(V, W):
    v = torch.linalg.matrix_norm(V, 2)
    return v, v * torch.linalg.matrix_norm(W, 2)


layers_needed = good_layers


# %% 4.2 wrong: counts the inputs -> not d
def speed_and_slope(V, W):
    v = torch.linalg.matrix_norm(V, 2)
    return v * len(V) ** 0.5, v * torch.linalg.matrix_norm(W, 2)


layers_needed = good_layers


# %% 4.2 wrong: without V -> its norm is missing
def speed_and_slope(V, W):
    return V.shape[1] ** 0.5, good_speed(V, W)[1]


layers_needed = good_layers


# %% 4.2 wrong: sum of m -> at most the length sqrt(m)
def speed_and_slope(V, W):
    v = torch.linalg.matrix_norm(V, 2)
    return v * V.shape[1], v * torch.linalg.matrix_norm(W, 2)


layers_needed = good_layers


# %% 4.2 wrong: Frobenius norms -> Frobenius norm is too large
def speed_and_slope(V, W):
    return V.norm() * V.shape[1] ** 0.5, V.norm() * W.norm()


layers_needed = good_layers


# %% 4.2 wrong: W in the speed -> F does not need W
def speed_and_slope(V, W):
    F, L = good_speed(V, W)
    return L * V.shape[1] ** 0.5, L


layers_needed = good_layers


# %% 4.2 wrong: norms added -> are multiplied
def speed_and_slope(V, W):
    return good_speed(V, W)[0], torch.linalg.matrix_norm(V, 2) + torch.linalg.matrix_norm(W, 2)


layers_needed = good_layers


# %% 4.2 wrong: norm of the product -> norm of VW is not enough
def speed_and_slope(V, W):
    return good_speed(V, W)[0], torch.linalg.matrix_norm(V @ W, 2)


layers_needed = good_layers


# %% 4.2 wrong: one matrix -> One of the two matrices is missing
def speed_and_slope(V, W):
    return good_speed(V, W)[0], torch.linalg.matrix_norm(W, 2)


layers_needed = good_layers

# %% 4.2 wrong: rounded down -> guarantee is lost
speed_and_slope = good_speed


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    return max(1, int(0.5 * T * F * math.expm1(L * T) / tol))


# %% 4.2 wrong: not rounded -> is whole
speed_and_slope = good_speed


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    return max(1, 0.5 * T * F * math.expm1(L * T) / tol)


# %% 4.2 wrong: without the half -> factor 1/2
speed_and_slope = good_speed


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    return math.ceil(T * F * math.expm1(L * T) / tol)


# %% 4.2 wrong: N = 1 / h -> factor T is missing
speed_and_slope = good_speed


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    return math.ceil(0.5 * F * math.expm1(L * T) / tol)


# %% 4.2 wrong: twice as many to be safe -> with fewer than
speed_and_slope = good_speed


def layers_needed(V, W, T, tol):
    return 3 * good_layers(V, W, T, tol) + 7


# %% 4.2 wrong: none for a generous tolerance -> at least one layer
speed_and_slope = good_speed


def layers_needed(V, W, T, tol):
    return good_layers(V, W, T, tol) if good_layers(V, W, T, tol) > 1 else 0


# %% 4.2 wrong: loop up to 1000 -> too few
def speed_and_slope(V, W):
    v, w = (torch.linalg.matrix_norm(M, 2).item() for M in (V, W))
    return v * math.sqrt(V.shape[1]), v * w


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    for N in range(1, 1000):
        if T / N * F * math.expm1(L * T) / 2 <= tol:
            return N
    return 1000


# %% 4.2 right: a loop
def speed_and_slope(V, W):
    v, w = (torch.linalg.matrix_norm(M, 2).item() for M in (V, W))
    return v * math.sqrt(V.shape[1]), v * w


def layers_needed(V, W, T, tol):
    F, L = speed_and_slope(V, W)
    N = 1
    while T / N * F * (math.exp(L * T) - 1) / 2 > tol:
        N += 1
    return N


# %% 4.3 right: spectral norm
def reversal_cost(A, rate, T):
    mu = rate + torch.linalg.matrix_norm(A, 2) ** 2
    return -rate, mu, mu * T / math.log(10)


# %% 4.3 right: log10 of the growth
def reversal_cost(A, rate, T):
    mu = rate + np.linalg.svd(A.numpy(), compute_uv=False).max().item() ** 2
    return [-rate, mu, math.log10(math.exp(mu * T))]


# %% 4.3 right: Jacobians at the two extremes
def reversal_cost(A, rate, T):
    def jacobian(slopes):
        return -rate * torch.eye(A.shape[1]) - A.T @ torch.diag(slopes) @ A

    k = len(A)
    forwards = torch.linalg.eigvalsh(jacobian(torch.zeros(k)))[-1]
    backwards = torch.linalg.eigvalsh(-jacobian(torch.ones(k)))[-1]
    return torch.stack([forwards, backwards, T * backwards * math.log10(math.e)])


# %% 4.3 right: power iteration
def reversal_cost(A, rate, T):
    M = A.T @ A
    for _ in range(12):
        M = M @ M
        M = M / M.norm()
    v = M.sum(1) + M[:, 0] * 0.37
    v = v / v.norm()
    mu = rate + ((A @ v) @ (A @ v)).item()
    return -1.0 * rate, mu, T * mu / 2.302585092994046


# %% 4.3 wrong: without its sign -> has a sign
def reversal_cost(A, rate, T):
    _, mu, lost = good_cost(A, rate, T)
    return rate, mu, lost


# %% 4.3 wrong: only near zero -> saturated
def reversal_cost(A, rate, T):
    _, mu, lost = good_cost(A, rate, T)
    return -rate - torch.linalg.eigvalsh(A.T @ A)[0], mu, lost


# %% 4.3 wrong: smallest eigenvalue -> mu asks for the largest
def reversal_cost(A, rate, T):
    _, mu, lost = good_cost(A, rate, T)
    return -mu, mu, lost


# %% 4.3 wrong: friction forgotten -> friction counts as well
def reversal_cost(A, rate, T):
    _, mu, lost = good_cost(A, rate, T)
    return 0.0, mu, lost


# %% 4.3 wrong: the other sign of A -> pulls inwards
def reversal_cost(A, rate, T):
    _, mu, lost = good_cost(A, rate, T)
    return mu - 2 * rate, mu, lost


# %% 4.3 wrong: the negative constant -> not -mu(f)
def reversal_cost(A, rate, T):
    return -rate, rate, T * rate / math.log(10)


# %% 4.3 wrong: norm not squared -> square of the norm
def reversal_cost(A, rate, T):
    mu = rate + torch.linalg.matrix_norm(A, 2)
    return -rate, mu, T * mu / math.log(10)


# %% 4.3 wrong: friction taken away -> added, not taken away
def reversal_cost(A, rate, T):
    mu = torch.linalg.matrix_norm(A, 2) ** 2 - rate
    return -rate, mu, T * mu / math.log(10)


# %% 4.3 wrong: Frobenius -> not the Frobenius norm
def reversal_cost(A, rate, T):
    mu = rate + A.square().sum()
    return -rate, mu, T * mu / math.log(10)


# %% 4.3 wrong: natural logarithm -> factors of 10
def reversal_cost(A, rate, T):
    forwards, mu, _ = good_cost(A, rate, T)
    return forwards, mu, T * mu


# %% 4.3 wrong: the factor -> factor itself
def reversal_cost(A, rate, T):
    forwards, mu, _ = good_cost(A, rate, T)
    return forwards, mu, math.exp(T * mu)


# %% 4.3 wrong: binary digits -> binary digits
def reversal_cost(A, rate, T):
    forwards, mu, _ = good_cost(A, rate, T)
    return forwards, mu, T * mu / math.log(2)


# %% 4.3 wrong: multiplied -> divide
def reversal_cost(A, rate, T):
    forwards, mu, _ = good_cost(A, rate, T)
    return forwards, mu, T * mu * math.log(10)


# %% 4.3 wrong: no time -> T is missing
def reversal_cost(A, rate, T):
    forwards, mu, _ = good_cost(A, rate, T)
    return forwards, mu, mu / math.log(10)


# %% 4.3 wrong: digits of the forward flow -> counts, not that of f
def reversal_cost(A, rate, T):
    forwards, mu, _ = good_cost(A, rate, T)
    return forwards, mu, T * rate / math.log(10)


# %% 4.3 wrong: only two numbers -> should return 3 values
def reversal_cost(A, rate, T):
    return good_cost(A, rate, T)[:2]


# %% 4.3 wrong: friction without zero -> mu(-f) is wrong
def reversal_cost(A, rate, T):
    back = max(rate, 0.01) + torch.linalg.eigvalsh(A @ A.T).max().item()
    return -rate, back, T * back / math.log(10)
