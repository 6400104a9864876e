# %% [markdown]
# # Coursework 8. Structure elsewhere
#
# Six exercises on [lesson 8](../08_structure_preservation.ipynb): when an iteration must come to rest and where, symmetric compositions, areas, sums, and your own plug-and-play.

# %% tags=["setup"]
# setup

# %%
import math

import matplotlib.pyplot as plt
import torch

from chapter_checks import check, passed
from chapter_utils import plotting

plotting.use_house_style()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# %% [markdown]
# ## Exercise 8.1
#
# *Why it matters: before you start an iteration for a whole night, you want to know that it will come to rest, and when at the latest.*
#
# One iteration of plug-and-play for $F(x)=\tfrac12\|Bx-y\|^2$ consists of a gradient step $x-\tau\nabla F(x)$, then a denoiser of several non-expansive layers with steps $c=c_1,c_2,\dots$ (each between 0 and 2),
# and then, perhaps, the clipping to $[0,1]$ (Section 8.4 and Section 8.5). Write two functions:
#
# * `iteration_alpha(tau, norm_B, steps, clipped)`: an $\alpha$ for which the whole iteration is $\alpha$-averaged, from $\tau$, the spectral norm $\|B\|$, the list $[c_1,c_2,\dots]$, and whether it clips (`True` or `False`).
#   Use the $\alpha$ of each part that the lesson gives, and the composition of Claim 5.4. You may assume $\tau\|B\|^2<2$.
# * `sure_after(alpha, distance, target)`: the first $k\ge0$ for which Claim 8.10 promises $\|x_{k+1}-x_k\|\le$ `target`, if $\|x_0-x^*\|$ is at most `distance`.
#
# <details><summary>Hint 1</summary>
#
# What is the Lipschitz constant of $\nabla F(x)=B^\top(Bx-y)$? For a mask it is 1, but $B$ is any matrix here. A typical mistake is to forget a square or a half.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The number $\frac\alpha{1-\alpha}$ simply adds up over the parts. At the end solve $\frac\alpha{1-\alpha}=s$ for $\alpha$. It is also the number in Claim 8.10.
#
# </details>


# %% tags=["answer:8.1"]
def iteration_alpha(tau, norm_B, steps, clipped):
    """How averaged is: gradient step, layers with the given steps c, clipping if `clipped`? A number between 0 and 1."""
    ### BEGIN SOLUTION
    parts = [tau * norm_B**2 / 2] + [c / 2 for c in steps] + ([0.5] if clipped else [])
    added = sum(part / (1 - part) for part in parts)
    return added / (1 + added)
    ### END SOLUTION


def sure_after(alpha, distance, target):
    """The first k for which the bound of Claim 8.10 is at most `target`."""
    ### BEGIN SOLUTION
    return max(0, math.ceil(alpha / (1 - alpha) * (distance / target) ** 2) - 1)
    ### END SOLUTION


# %%
if passed("8.1"):
    alpha = iteration_alpha(1.0, 1.0, [1.0] * 4, clipped=False)
    print(f"tau = 1, four layers with c = 1, no clipping: alpha = {alpha:.4f}")
    for tau in (0.5, 1.0, 1.9):
        alpha = iteration_alpha(tau, 1.0, [1.0] * 4, clipped=True)
        k = sure_after(alpha, 20.0, 0.1)
        print(
            f"400 pixels, tau = {tau}: alpha = {alpha:.4f}; it moves by less than 0.1 after {k:,}"
        )
    print("A late promise. The lesson's iterations rested much sooner, but that we had to measure.")

# %% [markdown]
# ## Exercise 8.2
#
# *Why it matters: half a step moved to the other end costs almost nothing and buys a whole order of accuracy.*
#
# The **flow** of a field is given as a function `flow(x, t)`: where the states `x` of shape `(B, d)` are after a time $t\ge0$. Let two fields have the flows $\varphi^1$ and $\varphi^2$. Write:
#
# * `strang(flow_1, flow_2, x, T, N)`: $N$ Strang steps of $h=T/N$. Each of them lets $\varphi^1$ act for $\tfrac h2$, then $\varphi^2$ for $h$, then $\varphi^1$ again for $\tfrac h2$.
# * `error_ratio(A, B, x, T, N)`: an experiment with the linear fields $Ax$ and $Bx$ and one state `x` of shape `(d,)`. Let $e(N)$ be the Euclidean distance of the result of $N$ Strang steps ($A$ in the role of $\varphi^1$)
#   from the exact solution of $x'=(A+B)x$ at the time $T$. Return $e(N)/e(2N)$.
#
# <details><summary>Hint 1</summary>
#
# Two half steps at the ends are not one step at one end. And each of the $N$ steps lasts $T/N$, not $T$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The exact flow of $x'=Kx$ is $e^{tK}x$: `torch.linalg.matrix_exp(t * K) @ x` for one state. In general $e^{A+B}\ne e^Ae^B$.
#
# </details>


# %% tags=["answer:8.2"]
def strang(flow_1, flow_2, x, T, N):
    """The states x (B, d) after N Strang steps of T / N: half of flow_1, flow_2, half of flow_1."""
    ### BEGIN SOLUTION
    h = T / N
    for _ in range(N):
        x = flow_1(flow_2(flow_1(x, h / 2), h), h / 2)
    return x
    ### END SOLUTION


def error_ratio(A, B, x, T, N):
    """e(N) / e(2 N) for the matrices A and B (d, d) and one state x (d,)."""

    ### BEGIN SOLUTION
    def exact_flow(K):
        return lambda z, t: torch.linalg.matrix_exp(t * K) @ z

    right = exact_flow(A + B)(x, T)
    coarse, fine = (strang(exact_flow(A), exact_flow(B), x, T, n) - right for n in (N, 2 * N))
    return (coarse.norm() / fine.norm()).item()
    ### END SOLUTION


# %%
if passed("8.2"):
    random = torch.Generator().manual_seed(0)
    M, S = (torch.randn(3, 3, generator=random) for _ in range(2))
    calm, turn, x = -M @ M.T / 3, S - S.T, torch.ones(3)
    for N in (5, 10, 20, 40):
        forth, back = error_ratio(calm, turn, x, 1.0, N), error_ratio(turn, calm, x, 1.0, N)
        print(
            f"N = {N:2d}: {forth:.3f} with half steps of the first, {back:.3f} of the other field"
        )
    print("4 is the square of 2: the method has order 2, whichever field gets the half steps.")

# %% [markdown]
# ## Exercise 8.3
#
# *Why it matters: an averaged map does not only come to rest. For a rotation you can say exactly when, and where.*
#
# Let $T=(1-\alpha)I+\alpha R$ with $0<\alpha<1$ and an orthogonal matrix $R$, and $x_{k+1}=Tx_k$ (Section 8.4). Write:
#
# * `length_after(alpha, theta, n)`: the length $\|x_n\|$ if $\|x_0\|=1$ and $R$ turns the plane by the angle $\theta$ (in radians);
# * `resting_place(R, x)`: for any orthogonal $R$ of shape `(d, d)` and $\alpha=\tfrac12$, the limit of $x_k$ from the start `x` of shape `(d,)`. An error of $10^{-6}$ is fine.
#   In our tests every rotation inside $R$ turns by at least 0.5 radians, and $R$ may leave some directions as they are.
#
# <details><summary>Hint 1</summary>
#
# In the plane a rotation is the multiplication by the complex number $e^{i\theta}$. What does $T$ multiply by?
#
# </details>
# <details><summary>Hint 2</summary>
#
# You may simply repeat, but 100 times is not enough for the slowest turn allowed: each repetition shrinks it only by $\cos(0.25)\approx0.969$.
# Or think: which part of `x` does $T$ never change, and what becomes of the rest? The limit is not always 0.
#
# </details>


# %% tags=["answer:8.3"]
def length_after(alpha, theta, n):
    """Length of x_n if x_0 has length 1 and R is the rotation of the plane by theta."""
    ### BEGIN SOLUTION
    squared = 1 - 2 * alpha * (1 - alpha) * (1 - math.cos(theta))
    return squared ** (n / 2)
    ### END SOLUTION


def resting_place(R, x):
    """The limit (d,) of the repeated map (I + R) / 2 from x (d,), for an orthogonal R (d, d)."""
    ### BEGIN SOLUTION
    # The fixed directions are those with (R + R^T) / 2 v = v. The rest shrinks to nothing.
    values, vectors = torch.linalg.eigh((R + R.T) / 2)
    fixed = vectors[:, values > 1 - 1e-6]
    return fixed @ (fixed.T @ x)
    ### END SOLUTION


# %%
if passed("8.3"):
    length = length_after(0.5, math.pi / 2, 100)
    print(f"a quarter turn, alpha = 1/2, 100 repetitions: length {length:.3g}")
    theta = torch.linspace(0.01, math.pi, 100).tolist()
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for alpha, style in ((0.5, "-"), (0.7, "--"), (0.9, ":")):
        axis.plot(
            theta, [length_after(alpha, t, 10) for t in theta], style, label=f"alpha = {alpha}"
        )
    axis.set(
        xlabel=r"angle $\theta$ of the rotation", ylabel="length", title="after 10 repetitions"
    )
    axis.legend()
    plotting.show(
        figure,
        "The length after ten repetitions falls from 1 as the angle grows; for alpha = 1/2 it reaches 0, for 0.9 it stays above 0.1. "
        "Small angles take long for every alpha.",
    )

# %% [markdown]
# ## Exercise 8.4
#
# *Why it matters: one line of code, old value or new, decides whether a simulation blows areas up.*
#
# Let $x=(q,p)$ hold $n$ positions and then $n$ momenta. Write:
#
# * `kick_then_drift(x, g, k, h)`: first the kick $p\leftarrow p-h\,g(q)$, then the drift $q\leftarrow q+h\,k(p)$ with the **new** $p$. The states `x` have shape `(B, 2n)`; `g` and `k` map `(B, n)` to `(B, n)`. The result is again $(q,p)$.
# * `volume_factor(step, x)`: the factor, not negative, by which any map `step` from $\mathbb R^d$ to $\mathbb R^d$ changes small volumes (areas, if $d=2$) at the point `x` of shape `(d,)`. You can call `step`, and PyTorch can differentiate it.
#
# <details><summary>Hint 1</summary>
#
# `x.chunk(2, dim=1)` gives $q$ and $p$. A typical mistake: `q, p = q + h * k(p), p - h * g(q)` computes both right sides from old values. And do not change `x` itself.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What a map does to small volumes is the determinant of its derivative, `torch.autograd.functional.jacobian(step, x)`. A map may also reflect.
#
# </details>


# %% tags=["answer:8.4"]
def kick_then_drift(x, g, k, h):
    """One symplectic Euler step for states x (B, 2n) = (q, p): kick by g, then drift by k."""
    ### BEGIN SOLUTION
    q_old, p_old = x.chunk(2, dim=1)
    p_new = p_old - h * g(q_old)
    return torch.cat([q_old + h * k(p_new), p_new], dim=1)
    ### END SOLUTION


def volume_factor(step, x):
    """By which factor does the map `step` change small volumes at x (d,)?"""
    ### BEGIN SOLUTION
    return torch.autograd.functional.jacobian(step, x).det().abs().item()
    ### END SOLUTION


# %%
if passed("8.4"):

    def at_once(x):
        return kick_then_drift(x[None], torch.sin, lambda p: p, 0.3)[0]

    def from_old_values(x):
        return x + 0.3 * torch.stack([x[1], -torch.sin(x[0])])

    x = torch.tensor([0.5, 1.0])
    print(f"pendulum, h = 0.3, new p at once: areas times {volume_factor(at_once, x):.4f}")
    factor = volume_factor(from_old_values, x)
    print(f"both from old values: {factor:.4f} = 1 + h^2 cos q = {1 + 0.09 * math.cos(0.5):.4f}")

# %% [markdown]
# ## Exercise 8.5
#
# *Why it matters: a network that keeps the sum in each layer and drops some entries at its end has kept nothing.*
#
# A state $x\in\mathbb R^m$ is to be projected to $\mathbb R^n$, $1\le n\le m$ (Claim 8.3). Write a map `sum_projection(x, n)` for batches `x` of shape `(B, m)` which
#
# * keeps the sum of the entries of every row,
# * is linear,
# * undoes the lift: a row whose entries after the first $n$ are all 0 keeps its first $n$ entries,
# * and has the smallest norm that is possible, $\sqrt{m/n}$.
#
# <details><summary>Hint 1</summary>
#
# What is dropped must go somewhere. If one entry gets all of it, the norm is too large; if all grow by a common *factor*, the map is not linear.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each row is a state of its own: sum along `dim=1`, with `keepdim=True`, so that a batch of one row and a batch of many both work. And count over how many entries you spread.
#
# </details>


# %% tags=["answer:8.5"]
def sum_projection(x, n):
    """(B, m) -> (B, n): linear, keeps the sum of each row, with the smallest possible norm."""
    ### BEGIN SOLUTION
    return x[:, :n] + x[:, n:].sum(dim=1, keepdim=True) / n
    ### END SOLUTION


# %%
if passed("8.5"):
    people = torch.tensor([[0.5, 0.2, 0.1, 0.15, 0.05]])
    print(f"{people[0].tolist()} -> {sum_projection(people, 2)[0].tolist()}")
    for m, n in ((8, 3), (8, 1), (8, 8)):
        norm = torch.linalg.matrix_norm(sum_projection(torch.eye(m), n), 2).item()
        print(f"from {m} to {n} entries: norm {norm:.4f}, sqrt(m/n) = {math.sqrt(m / n):.4f}")

# %% [markdown]
# ## Exercise 8.6
#
# *Why it matters: this loop is how a denoiser, which knows nothing about your instrument, repairs what the instrument has spoiled.*
#
# A signal $x\in[0,1]^d$ was measured as $y=Bx$ with a known matrix $B$ of shape `(m, d)`, for example a blur. Let $F(x)=\tfrac12\|Bx-y\|^2$. Write:
#
# * `restore(B, y, denoiser, tau, start, n)`: the result of $n$ iterations of plug-and-play (Section 8.5) from `start`. In each of them descend along the gradient of $F$ with step $\tau$, then apply `denoiser`, which maps `(d,)` to `(d,)`, then clip to $[0,1]$.
# * `step_limit(B)`: the number below which Claim 8.13 allows every $\tau>0$.
#
# <details><summary>Hint 1</summary>
#
# In the lesson $B$ was a mask and $\nabla F(x)=m(x-y)$. For a matrix the chain rule gives a $B^\top$ in front. Why is `y - x` impossible here, already by its shape?
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\nabla F$ is Lipschitz with $L_F=\|B^\top B\|$. The spectral norm is `torch.linalg.matrix_norm(B, 2)`; without the 2 it is another norm.
#
# </details>


# %% tags=["answer:8.6"]
def restore(B, y, denoiser, tau, start, n):
    """The signal (d,) after n iterations: gradient step for |B x - y|^2 / 2, denoiser, clipping."""
    ### BEGIN SOLUTION
    signal = start
    for _ in range(n):
        misfit = B @ signal - y
        signal = denoiser(signal - tau * B.T @ misfit).clamp(0, 1)
    return signal
    ### END SOLUTION


def step_limit(B):
    """The limit 2 / L_F of the step of plug-and-play for a matrix B (m, d)."""
    ### BEGIN SOLUTION
    return 2 / torch.linalg.matrix_norm(B, 2).item() ** 2
    ### END SOLUTION


# %%
if passed("8.6"):
    place = torch.arange(60.0)
    truth = ((place > 12) & (place < 25)) + 0.6 * ((place > 35) & (place < 50))
    blur = torch.exp(-((place - place[:, None]) ** 2) / 8)
    blur = 1.5 * blur / blur.sum(1, keepdim=True)
    measured = blur @ truth + 0.02 * torch.randn(60, generator=torch.Generator().manual_seed(0))

    def smooth(x):  # a firmly non-expansive denoiser: it moves each value towards its neighbours
        return x + 0.1 * (x.roll(1) + x.roll(-1) - 2 * x)

    limit, results = step_limit(blur), {}
    for factor in (0.95, 1.5):
        x = [restore(blur, measured, smooth, factor * limit, 0 * truth, n) for n in (200, 201)]
        results[factor] = x[1]
        print(f"tau = {factor} of the limit: iteration 201 moves by {(x[1] - x[0]).norm():.1e}")
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    axis.plot(place, truth, ":", color=plotting.BLACK, label="true")
    axis.plot(place, measured, "--", color=plotting.ORANGE, label="measured")
    axis.plot(place, results[0.95], color=plotting.BLUE, label="restored")
    axis.set(xlabel="place", ylabel="value", title="a blurred signal and its repair")
    axis.legend(ncols=3, loc="upper center", fontsize=8)
    axis.set_ylim(-0.1, 2.0)
    plotting.show(
        figure,
        "A true signal with two boxes, its measurement, brighter and smeared, and the restored signal, close to the boxes with rounded edges.",
    )
