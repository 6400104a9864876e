import math

import numpy as np
import torch

from chapter_utils import structure


# %% 8.1 right: odds
def iteration_alpha(tau, norm_B, steps, clipped):
    s = tau * norm_B**2 / (2 - tau * norm_B**2)
    for c in steps:
        s += c / (2 - c)
    if clipped:
        s += 1
    return s / (s + 1)


def sure_after(alpha, distance, target):
    k = alpha * distance**2 / ((1 - alpha) * target**2) - 1
    return max(0, math.ceil(k))


# %% 8.1 right: Claim 5.4 two at a time, counting
def iteration_alpha(tau, norm_B, steps, clipped):
    alpha = tau * norm_B**2 / 2
    for other in [c / 2 for c in steps] + [0.5] * int(clipped):
        alpha = (alpha + other - 2 * alpha * other) / (1 - alpha * other)
    return alpha


def sure_after(alpha, distance, target):
    k = 0
    while math.sqrt(alpha / ((1 - alpha) * (k + 1))) * distance > target:
        k += 1
    return k


# %% 8.1 right: tensors, and bisection
def iteration_alpha(tau, norm_B, steps, clipped):
    a = torch.tensor([tau * norm_B**2 / 2, *(c / 2 for c in steps), *([0.5] if clipped else [])])
    return 1 - 1 / (1 + (a / (1 - a)).sum())


def sure_after(alpha, distance, target):
    low, high = -1, 10**9
    while high - low > 1:
        k = (low + high) // 2
        if alpha * distance**2 <= target**2 * (1 - alpha) * (k + 1):
            high = k
        else:
            low = k
    return high


# %% 8.1 right: numpy
def iteration_alpha(tau, norm_B, steps, clipped):
    a = np.array([tau * norm_B * norm_B] + list(steps) + ([1.0] if clipped else [])) / 2
    print("alphas", a)
    return 1 - 1 / (1 + np.sum(a / (1 - a)))


def sure_after(alpha, distance, target):
    return np.ceil(np.square(distance / target) * alpha / (1 - alpha)) - 1


# %% 8.1 right: recursion, floor
def iteration_alpha(tau, norm_B, steps, clipped):
    if clipped:
        a, b = iteration_alpha(tau, norm_B, steps, False), 0.5
    elif steps:
        a, b = iteration_alpha(tau, norm_B, steps[1:], False), steps[0] / 2
    else:
        return tau * norm_B**2 / 2
    return (a + b - 2 * a * b) / (1 - a * b)


def sure_after(alpha, distance, target):
    return math.floor((distance / target) ** 2 * alpha / (1 - alpha))


# %% 8.1 wrong: odds not solved -> Solve for alpha
def iteration_alpha(tau, norm_B, steps, clipped):
    return sum(c / (2 - c) for c in [tau * norm_B**2, *steps]) + clipped


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: norm not squared -> square
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau * norm_B, *steps]) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: tau alone -> Lipschitz constant of the gradient
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau, *steps]) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: product of alphas -> do not multiply
def iteration_alpha(tau, norm_B, steps, clipped):
    return math.prod(c / 2 for c in steps) * tau * norm_B**2 / 2 * (0.5 if clipped else 1)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: largest alpha -> worst part
def iteration_alpha(tau, norm_B, steps, clipped):
    return max([tau * norm_B**2 / 2, *(c / 2 for c in steps), 0.5 if clipped else 0.0])


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: gradient step forgotten -> forgot the gradient step
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in steps) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: clipping always -> exactly if `clipped` is True
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau * norm_B**2, *steps]) + 1
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: clipping forgotten -> exactly if `clipped` is True
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau * norm_B**2, *steps])
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: mean -> mean of the alphas
def iteration_alpha(tau, norm_B, steps, clipped):
    return np.mean([tau * norm_B**2 / 2, *(c / 2 for c in steps), *([0.5] if clipped else [])])


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: all layers firmly non-expansive -> Which alpha has each part
def iteration_alpha(tau, norm_B, steps, clipped):
    s = tau * norm_B**2 / (2 - tau * norm_B**2) + len(steps) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1


# %% 8.1 wrong: k for k + 1 -> one off
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau * norm_B**2, *steps]) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return math.ceil(alpha / (1 - alpha) * (distance / target) ** 2)


# %% 8.1 wrong: root forgotten -> root
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau * norm_B**2, *steps]) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return max(0, math.ceil(alpha / (1 - alpha) * distance / target - 1))


# %% 8.1 wrong: not whole -> whole
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau * norm_B**2, *steps]) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return alpha / (1 - alpha) * (distance / target) ** 2 - 1


# %% 8.1 wrong: alpha upside down -> larger alpha needs more
def iteration_alpha(tau, norm_B, steps, clipped):
    s = sum(c / (2 - c) for c in [tau * norm_B**2, *steps]) + clipped
    return s / (1 + s)


def sure_after(alpha, distance, target):
    return max(0, math.ceil((1 - alpha) / alpha * (distance / target) ** 2) - 1)


# %% 8.1 wrong: gives up after ten thousand -> the bound is still
def iteration_alpha(tau, norm_B, steps, clipped):
    parts = [tau * norm_B**2 / 2] + [c / 2 for c in steps] + ([0.5] if clipped else [])
    added = sum(p / (1 - p) for p in parts)
    return added / (1 + added)


def sure_after(alpha, distance, target):
    return min(10**4, max(0, math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1))


# %% 8.1 wrong: at least one iteration -> one off
def iteration_alpha(tau, norm_B, steps, clipped):
    parts = [tau * norm_B**2 / 2] + [c / 2 for c in steps] + ([0.5] if clipped else [])
    added = sum(p / (1 - p) for p in parts)
    return added / (1 + added)


def sure_after(alpha, distance, target):
    return max(1, math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1)


# %% 8.1 wrong: empties the list -> in place
def iteration_alpha(tau, norm_B, steps, clipped):
    steps.append(tau * norm_B**2)
    if clipped:
        steps.append(1.0)
    added = sum(c / 2 / (1 - c / 2) for c in steps)
    return added / (1 + added)


def sure_after(alpha, distance, target):
    return max(0, math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1)


# %% 8.2 right: three calls
def strang(flow_1, flow_2, x, T, N):
    for k in range(N):
        x = flow_1(x, T / N / 2)
        x = flow_2(x, T / N)
        x = flow_1(x, T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    def error(n):
        E = torch.linalg.matrix_exp
        step = E(A * T / n / 2) @ E(B * T / n) @ E(A * T / n / 2)
        return torch.linalg.norm(torch.linalg.matrix_power(step, n) @ x - E(T * (A + B)) @ x)

    return error(N) / error(2 * N)


# %% 8.2 right: neighbouring half steps merged
def strang(flow_1, flow_2, x, T, N):
    h = T / N
    x = flow_1(x, h / 2)
    for k in range(N):
        x = flow_2(x, h)
        x = flow_1(x, h if k < N - 1 else h / 2)
    return x


def error_ratio(A, B, x, T, N):
    flows = [lambda z, t, K=K: z @ torch.matrix_exp(t * K).T for K in (A, B, A + B)]
    e = [
        (strang(flows[0], flows[1], x, T, n) - flows[2](x, T)).square().sum().sqrt()
        for n in (N, 2 * N)
    ]
    return float(e[0] / e[1])


# %% 8.2 right: numpy and scipy
def strang(flow_1, flow_2, x, T, N):
    h = T / N
    pieces = [(flow_1, h / 2), (flow_2, h), (flow_1, h / 2)] * N
    for flow, time in pieces:
        x = flow(x, time)
    return x


def error_ratio(A, B, x, T, N):
    from scipy.linalg import expm

    A, B, x = A.numpy(), B.numpy(), x.numpy()

    def error(n):
        h, z = T / n, x
        for _ in range(n):
            z = expm(h / 2 * A) @ (expm(h * B) @ (expm(h / 2 * A) @ z))
        return np.linalg.norm(z - expm(T * (A + B)) @ x)

    return error(N) / error(2 * N)


# %% 8.2 right: recursion, states as rows
def strang(flow_1, flow_2, x, T, N):
    if N == 0:
        return x
    h = T / N
    return strang(flow_1, flow_2, flow_1(flow_2(flow_1(x, h / 2), h), h / 2), T - h, N - 1)


def error_ratio(A, B, x, T, N):
    def make(K):
        return lambda z, t: (torch.linalg.matrix_exp(t * K) @ z.T).T

    exact = make(A + B)(x[None], T)
    return torch.dist(strang(make(A), make(B), x[None], T, N), exact) / torch.dist(
        strang(make(A), make(B), x[None], T, 2 * N), exact
    )


# %% 8.2 wrong: Lie -> Lie's splitting: the first flow all at once
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_2(flow_1(x, T / N), T / N)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: Lie, the other one in front -> the second flow in front
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(x, T / N), T / N)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: exchanged -> exchanged the flows
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_2(flow_1(flow_2(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: no halves -> twice as long
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N), T / N), T / N)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: all halves -> lacks half of its time
def strang(flow_1, flow_2, x, T, N):
    h = T / N / 2
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, h), h), h)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: last half missing -> last half step
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_2(flow_1(x, T / N / 2), T / N)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: one step only -> This is one
def strang(flow_1, flow_2, x, T, N):
    h = T / N
    return flow_1(flow_2(flow_1(x, h / 2), h), h / 2)


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: one long step -> one long step
def strang(flow_1, flow_2, x, T, N):
    return flow_1(flow_2(flow_1(x, T / 2), T), T / 2)


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: T for every step -> N times too far
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / 2), T), T / 2)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: off by one in the loop -> these are not N steps
def strang(flow_1, flow_2, x, T, N):
    h = T / N
    for _ in range(1, N):
        x = flow_1(flow_2(flow_1(x, h / 2), h), h / 2)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: the limit -> what the ratio tends to
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    return 4.0


# %% 8.2 wrong: upside down -> Upside down
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    f = [lambda z, t, K=K: torch.matrix_exp(t * K) @ z for K in (A, B)]
    exact = torch.matrix_exp(T * (A + B)) @ x
    return (strang(*f, x, T, 2 * N) - exact).norm() / (strang(*f, x, T, N) - exact).norm()


# %% 8.2 wrong: squared errors -> squared
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    f = [lambda z, t, K=K: torch.matrix_exp(t * K) @ z for K in (A, B)]
    exact = torch.matrix_exp(T * (A + B)) @ x
    return ((strang(*f, x, T, N) - exact) ** 2).sum() / (
        (strang(*f, x, T, 2 * N) - exact) ** 2
    ).sum()


# %% 8.2 wrong: the order -> logarithm of the ratio
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    f = [lambda z, t, K=K: torch.matrix_exp(t * K) @ z for K in (A, B)]
    exact = torch.matrix_exp(T * (A + B)) @ x
    return torch.log2(
        (strang(*f, x, T, N) - exact).norm() / (strang(*f, x, T, 2 * N) - exact).norm()
    )


# %% 8.2 wrong: largest entry of the error -> Euclidean length
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    f = [lambda z, t, K=K: torch.matrix_exp(t * K) @ z for K in (A, B)]
    exact = torch.matrix_exp(T * (A + B)) @ x
    return (strang(*f, x, T, N) - exact).abs().max() / (strang(*f, x, T, 2 * N) - exact).abs().max()


# %% 8.2 wrong: product of exponentials as the exact solution -> the errors have the ratio
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    f = [lambda z, t, K=K: torch.matrix_exp(t * K) @ z for K in (A, B)]
    exact = torch.matrix_exp(T * A) @ torch.matrix_exp(T * B) @ x
    return (strang(*f, x, T, N) - exact).norm() / (strang(*f, x, T, 2 * N) - exact).norm()


# %% 8.2 wrong: Euler steps for the flows -> the errors have the ratio
def strang(flow_1, flow_2, x, T, N):
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, T / N / 2), T / N), T / N / 2)
    return x


def error_ratio(A, B, x, T, N):
    f = [lambda z, t, K=K: z + t * K @ z for K in (A, B)]
    exact = torch.matrix_exp(T * (A + B)) @ x
    return (strang(*f, x, T, N) - exact).norm() / (strang(*f, x, T, 2 * N) - exact).norm()


# %% 8.3 right: complex number, null space
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    U, s, V = torch.linalg.svd(R - torch.eye(len(R)))
    kept = V[s < 1e-8]
    return kept.T @ (kept @ x)


# %% 8.3 right: simulation and many repetitions
def length_after(alpha, theta, n):
    x, y = 1.0, 0.0
    c, s = math.cos(theta), math.sin(theta)
    for _ in range(n):
        x, y = (1 - alpha) * x + alpha * (c * x - s * y), (1 - alpha) * y + alpha * (s * x + c * y)
    return math.hypot(x, y)


def resting_place(R, x):
    for _ in range(600):
        x = (x + R @ x) / 2
    return x


# %% 8.3 right: matrix powers
def length_after(alpha, theta, n):
    c, s = math.cos(theta), math.sin(theta)
    T = (1 - alpha) * torch.eye(2) + alpha * torch.tensor([[c, -s], [s, c]])
    return torch.linalg.matrix_power(T, n)[:, 0].norm()


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 right: pseudo-inverse
def length_after(alpha, theta, n):
    return np.power(np.abs(1 + alpha * (np.exp(1j * theta) - 1)), n)


def resting_place(R, x):
    D = torch.eye(len(R)) - R
    return x - torch.linalg.pinv(D, rtol=1e-8) @ (D @ x)


# %% 8.3 right: repeat until nothing moves
def length_after(alpha, theta, n):
    return (1 - 4 * alpha * (1 - alpha) * math.sin(theta / 2) ** 2) ** (n / 2)


def resting_place(R, x):
    while True:
        new = 0.5 * x + 0.5 * R @ x
        if (new - x).norm() < 1e-10:
            return new
        x = new


# %% 8.3 wrong: squared length -> squared length
def length_after(alpha, theta, n):
    return (1 - 2 * alpha * (1 - alpha) * (1 - math.cos(theta))) ** n


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 wrong: the bound -> Claim 8.10
def length_after(alpha, theta, n):
    return math.sqrt(alpha / ((1 - alpha) * (n + 1)))


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 wrong: the residual -> next move
def length_after(alpha, theta, n):
    z = complex(math.cos(theta), math.sin(theta))
    return abs((1 - alpha + alpha * z) ** n * alpha * (z - 1))


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 wrong: for one half only -> alpha = 1/2 only
def length_after(alpha, theta, n):
    return abs(math.cos(theta / 2)) ** n


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 wrong: the number for the demo -> By what factor
def length_after(alpha, theta, n):
    return 2.0 ** (-n / 2)


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 wrong: real part -> the point also turns
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * math.cos(theta)) ** n


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 wrong: single precision -> By what factor
def length_after(alpha, theta, n):
    c, s = math.cos(theta), math.sin(theta)
    T = torch.tensor(
        [[1 - alpha + alpha * c, -alpha * s], [alpha * s, 1 - alpha + alpha * c]],
        dtype=torch.float32,
    )
    x = torch.tensor([1.0, 0.0], dtype=torch.float32)
    for _ in range(n):
        x = (T @ x * 1e3).round() / 1e3
    return x.norm()


def resting_place(R, x):
    return torch.linalg.matrix_power((torch.eye(len(R)) + R) / 2, 10_000) @ x


# %% 8.3 wrong: zero -> R leaves some directions
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    return torch.zeros_like(x)


# %% 8.3 wrong: 100 repetitions -> does not rest there
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    for _ in range(100):
        x = (x + R @ x) / 2
    return x


# %% 8.3 wrong: R repeated -> Repeat (I + R) / 2
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    for _ in range(100):
        x = R @ x
    return x


# %% 8.3 wrong: the start -> That is the start
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    return x.clone()


# %% 8.3 wrong: one repetition -> after one repetition
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    return 0.5 * (x + R @ x)


# %% 8.3 wrong: a fixed direction, not the projection -> does not come there
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    values, vectors = torch.linalg.eigh((R + R.T) / 2)
    return vectors[:, -1] if values[-1] > 1 - 1e-9 else 0 * x


# %% 8.3 wrong: projection onto one direction of several -> does not come there
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    values, vectors = torch.linalg.eigh((R + R.T) / 2)
    v = vectors[:, -1] * (values[-1] > 1 - 1e-9)
    return (v @ x) * v


# %% 8.3 wrong: average of 100 powers of R -> does not rest there
def length_after(alpha, theta, n):
    return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta))) ** n


def resting_place(R, x):
    total = 0
    for _ in range(100):
        total, x = total + x, R @ x
    return total / 100


# %% 8.3 wrong: angles up to a half turn -> By what factor
def length_after(alpha, theta, n):
    theta = min(max(theta, 0.0), math.pi)
    return (1 - 2 * alpha * (1 - alpha) * (1 - math.cos(theta))) ** (n / 2)


def resting_place(R, x):
    v, V = torch.linalg.eigh((R + R.T) / 2)
    V = V[:, v > 1 - 1e-6]
    return V @ (V.T @ x)


# %% 8.3 wrong: at least one repetition -> n + 1 repetitions
def length_after(alpha, theta, n):
    return (1 - 2 * alpha * (1 - alpha) * (1 - math.cos(theta))) ** (max(n, 1) / 2)


def resting_place(R, x):
    v, V = torch.linalg.eigh((R + R.T) / 2)
    V = V[:, v > 1 - 1e-6]
    return V @ (V.T @ x)


# %% 8.3 wrong: 250 repetitions -> does not rest there
def length_after(alpha, theta, n):
    return (1 - 2 * alpha * (1 - alpha) * (1 - math.cos(theta))) ** (n / 2)


def resting_place(R, x):
    for _ in range(250):
        x = (x + R @ x) / 2
    return x


# %% 8.4 right: chunk and jacobian
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    q = q + h * k(p)
    return torch.cat((q, p), 1)


def volume_factor(step, x):
    J = torch.func.jacrev(step)(x)
    return torch.linalg.det(J).abs()


# %% 8.4 right: on a copy, row by row
def kick_then_drift(x, g, k, h):
    x = x.clone()
    n = x.shape[1] // 2
    x[:, n:] -= h * g(x[:, :n])
    x[:, :n] += h * k(x[:, n:])
    return x


def volume_factor(step, x):
    z = x.clone().requires_grad_()
    y = step(z)
    rows = [torch.autograd.grad(y[i], z, retain_graph=True)[0] for i in range(len(x))]
    return abs(torch.stack(rows).det().item())


# %% 8.4 right: singular values
def kick_then_drift(x, g, k, h):
    n = x.size(-1) // 2
    new = x[:, n:] - h * g(x[:, :n])
    return torch.hstack([x[:, :n] + h * k(new), new])


def volume_factor(step, x):
    return torch.linalg.svdvals(torch.func.jacfwd(step)(x)).prod().item()


# %% 8.4 right: finite differences and eigenvalues
def kick_then_drift(x, g, k, h):
    q, p = torch.tensor_split(x, 2, dim=1)
    p1 = torch.sub(p, g(q), alpha=h)
    return torch.cat([torch.add(q, k(p1), alpha=h), p1], -1)


def volume_factor(step, x):
    e = 1e-5 * torch.eye(len(x), dtype=x.dtype)
    J = torch.stack([(step(x + d) - step(x - d)) / 2e-5 for d in e], 1).numpy()
    print(J.shape)
    return np.abs(np.prod(np.linalg.eigvals(J)))


# %% 8.4 wrong: simultaneous -> This is Euler's method
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    q, p = q + h * k(p), p - h * g(q)
    return torch.cat([q, p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: drift first -> The kick comes first
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    q = q + h * k(p)
    p = p - h * g(q)
    return torch.cat([q, p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: momenta in front -> starts with the momenta
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    q = q + h * k(p)
    return torch.cat([p, q], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: g and k exchanged -> exchanged g and k
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * k(q)
    q = q + h * g(p)
    return torch.cat([q, p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: plus -> with a minus
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p + h * g(q)
    q = q + h * k(p)
    return torch.cat([q, p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: in place -> in place
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p -= h * g(q)
    q += h * k(p)
    return torch.cat([q, p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: batch cut instead of state -> shape
def kick_then_drift(x, g, k, h):
    q, p = x[0::2], x[1::2]
    return torch.cat([q, p])[: len(x) // 2]


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: Verlet -> Not yet
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h / 2 * g(q)
    q = q + h * k(p)
    p = p - h / 2 * g(q)
    return torch.cat([q, p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: h forgotten in the drift -> Not yet
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + k(p), p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: drift with p itself -> Not yet
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + h * p, p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det().abs()


# %% 8.4 wrong: sign of the determinant kept -> not negative
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + h * k(p), p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).det()


# %% 8.4 wrong: spectral norm -> a norm of the derivative
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + h * k(p), p], 1)


def volume_factor(step, x):
    return torch.linalg.matrix_norm(torch.func.jacrev(step)(x), 2)


# %% 8.4 wrong: trace -> trace
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + h * k(p), p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(x).trace()


# %% 8.4 wrong: one for all -> small volumes
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + h * k(p), p], 1)


def volume_factor(step, x):
    return 1.0


# %% 8.4 wrong: determinant of J'J -> square of the factor
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + h * k(p), p], 1)


def volume_factor(step, x):
    J = torch.func.jacrev(step)(x)
    return (J.T @ J).det()


# %% 8.4 wrong: derivative at 0 -> place matters
def kick_then_drift(x, g, k, h):
    q, p = x.chunk(2, 1)
    p = p - h * g(q)
    return torch.cat([q + h * k(p), p], 1)


def volume_factor(step, x):
    return torch.func.jacrev(step)(torch.zeros_like(x)).det().abs()


# %% 8.5 right: spread evenly
def sum_projection(x, n):
    kept, dropped = x[:, :n], x[:, n:]
    return kept + dropped.sum(1, keepdim=True) / n


# %% 8.5 right: what is missing
def sum_projection(x, n):
    kept = x[:, :n]
    missing = x.sum(-1) - kept.sum(-1)
    return kept + missing[:, None] / n


# %% 8.5 right: a matrix
def sum_projection(x, n):
    m = x.shape[1]
    P = torch.full((n, m), 1 / n, dtype=x.dtype)
    P[:, :n] = torch.eye(n, dtype=x.dtype)
    return x @ P.T


# %% 8.5 wrong: the library -> write it yourself
def sum_projection(x, n):
    return structure.SumPreservingProjection(x.shape[1], n)(x)


# %% 8.5 right: a loop over rows
def sum_projection(x, n):
    rows = []
    for row in x:
        new = row[:n].clone()
        new += row[n:].sum() / n
        rows.append(new)
    print(len(rows))
    return torch.stack(rows)


# %% 8.5 right: one block after the other, if it fits
def sum_projection(x, n):
    if x.shape[1] % n == 0:
        return x.reshape(len(x), -1, n).sum(1)
    return x[:, :n] + x[:, n:].mean(1, keepdim=True) * (x.shape[1] - n) / n


# %% 8.5 wrong: entries dropped -> their sum is lost
def sum_projection(x, n):
    return x[:, :n]


# %% 8.5 wrong: spread over m -> number of all entries
def sum_projection(x, n):
    return x[:, :n] + x[:, n:].sum(1, keepdim=True) / x.shape[1]


# %% 8.5 wrong: mean added -> mean of what you drop
def sum_projection(x, n):
    if n == x.shape[1]:
        return x
    return x[:, :n] + x[:, n:].mean(1, keepdim=True)


# %% 8.5 wrong: whole sum counted -> counted twice
def sum_projection(x, n):
    return x[:, :n] + x.sum(1, keepdim=True) / n


# %% 8.5 wrong: all to one entry -> is possible
def sum_projection(x, n):
    new = x[:, :n].clone()
    new[:, -1] += x[:, n:].sum(1)
    return new


# %% 8.5 wrong: folded unevenly -> is possible
def sum_projection(x, n):
    new = x[:, :n].clone()
    for j in range(n, x.shape[1]):
        new[:, j % n] += x[:, j]
    return new


# %% 8.5 wrong: scaled -> not linear
def sum_projection(x, n):
    kept = x[:, :n]
    return kept * (x.sum(1, keepdim=True) / kept.sum(1, keepdim=True))


# %% 8.5 wrong: sum over the batch -> whole batch
def sum_projection(x, n):
    return x[:, :n] + x[:, n:].sum() / (n * len(x))


# %% 8.5 wrong: only the mean is left -> should keep its first n entries
def sum_projection(x, n):
    return (x.sum(1, keepdim=True) / n).expand(-1, n)


# %% 8.5 wrong: the whole sum to each -> whole sum to each
def sum_projection(x, n):
    return x[:, :n] + x[:, n:].sum(1, keepdim=True)


# %% 8.5 wrong: norm 1 at any price -> has lost
def sum_projection(x, n):
    kept = x[:, :n] + x[:, n:].sum(1, keepdim=True) / n
    return kept * math.sqrt(n / x.shape[1])


# %% 8.5 wrong: in place -> in place
def sum_projection(x, n):
    x[:, :n] += x[:, n:].sum(1, keepdim=True) / n
    return x[:, :n]


# %% 8.5 wrong: double precision in any case -> keep the dtype
def sum_projection(x, n):
    x = x.double()
    return x[:, :n] + x[:, n:].sum(1, keepdim=True) / n


# %% 8.5 wrong: the last entries are kept -> first n entries
def sum_projection(x, n):
    m = x.shape[1]
    return x[:, m - n :] + x[:, : m - n].sum(1, keepdim=True) / n


# %% 8.5 wrong: single precision inside -> precision of the input
def sum_projection(x, n):
    x32 = x.float()
    return (x32[:, :n] + x32[:, n:].sum(dim=1, keepdim=True) / n).to(x.dtype)


# %% 8.6 right: loop
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = torch.clamp(denoiser(x - tau * (B.T @ (B @ x - y))), 0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 right: autograd
def restore(B, y, denoiser, tau, start, n):
    x = start.clone()
    for _ in range(n):
        x = x.detach().requires_grad_()
        F = 0.5 * (B @ x - y).square().sum()
        F.backward()
        with torch.no_grad():
            x = denoiser(x - tau * x.grad).clip(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.eigvalsh(B.T @ B).max()


# %% 8.6 right: normal equations, minimum and maximum
def restore(B, y, denoiser, tau, start, n):
    H, r = B.T @ B, B.T @ y
    for _ in range(n):
        start = denoiser(start - tau * (H @ start - r))
        start = torch.minimum(torch.maximum(start, torch.zeros_like(start)), torch.ones_like(start))
    return start


def step_limit(B):
    return 2 / np.linalg.norm(B.numpy(), 2) ** 2


# %% 8.6 right: recursion
def restore(B, y, denoiser, tau, start, n):
    if n == 0:
        return start
    x = restore(B, y, denoiser, tau, start, n - 1)
    step = tau * (y - B @ x) @ B
    return denoiser(x + step).clamp(min=0).clamp(max=1)


def step_limit(B):
    s = torch.linalg.svdvals(B)[0].item()
    print("norm", s)
    return 2 / (s * s)


# %% 8.6 wrong: uphill -> You climb
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x + tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: clipped before -> clip last
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser((x - tau * B.T @ (B @ x - y)).clamp(0, 1))
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: not clipped -> not clipped
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x - tau * B.T @ (B @ x - y))
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: denoiser first -> denoise first
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x)
        x = (x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: no denoiser -> no denoiser
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = (x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: the transpose is missing -> Not the iteration
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        r = B @ x - y
        x = denoiser(x - tau * (B @ r if len(B) == len(x) else B.T @ r)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: the mask's gradient -> has shape
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x - tau * B.T @ B * (x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: factor two -> no factor 2
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x - 2 * tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: one too many -> the result of 2
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n + 1):
        x = denoiser(x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: only one -> one iteration. Repeat it
def restore(B, y, denoiser, tau, start, n):
    return denoiser(start - tau * B.T @ (B @ start - y)).clamp(0, 1)


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: begins at 0 -> Begin at `start`
def restore(B, y, denoiser, tau, start, n):
    x = torch.zeros_like(start)
    for _ in range(n):
        x = denoiser(x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: averages of all iterates -> Not the iteration
def restore(B, y, denoiser, tau, start, n):
    x, total = start, 0
    for _ in range(n):
        x = denoiser(x - tau * B.T @ (B @ x - y)).clamp(0, 1)
        total = total + x
    return total / n


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2) ** 2


# %% 8.6 wrong: norm not squared -> square
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.matrix_norm(B, 2)


# %% 8.6 wrong: Frobenius -> Frobenius
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2 / torch.linalg.norm(B) ** 2


# %% 8.6 wrong: limit of the mask -> The 2 of a mask
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 2.0


# %% 8.6 wrong: one over L -> half of the limit
def restore(B, y, denoiser, tau, start, n):
    x = start
    for _ in range(n):
        x = denoiser(x - tau * B.T @ (B @ x - y)).clamp(0, 1)
    return x


def step_limit(B):
    return 1 / torch.linalg.eigvalsh(B @ B.T).max()


# %% 8.6 wrong: limit for a norm of at least 1 -> another norm
def restore(B, y, denoiser, tau, start, n):
    s = start
    for _ in range(n):
        s = denoiser(s - tau * B.T @ (B @ s - y)).clamp(0, 1)
    return s


def step_limit(B):
    return 2 / max(1.0, torch.linalg.matrix_norm(B, 2).item() ** 2)
