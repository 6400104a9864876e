# %% [markdown]
# # Coursework 4. Networks as dynamical systems
#
# Three exercises on [lesson 4](../04_networks_as_dynamical_systems.ipynb): backpropagation by hand, the depth that a tolerance needs, and what it costs to run a stable layer backwards.

# %% tags=["setup"]
# setup

# %%
import math

import torch

from chapter_checks import check, passed
from chapter_utils import ode

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# %% [markdown]
# ## Exercise 4.1
#
# *Why it matters: training a deep network costs memory because of the kept states. What does it cost to forget them?*
#
# A network has the layers $x_{n+1}=x_n+h\,f(x_n,\theta_n)$, $n=0,\dots,N-1$. You are given `f`, which you can call as `f(x, theta)` with tensors of shapes `(d,)` and `(k,)` and which PyTorch can differentiate,
# and the vector `p` $=p_N$, the gradient of the loss with respect to the last state. Section 4.2 shows how $p_n$ and the gradients follow, layer by layer.
#
# 1. `gradients_with_memory` gets all states $x_0,\dots,x_N$ and returns the gradients for all $\theta_n$ and $p_0$.
# 2. `gradients_without_memory` gets only the last state. In each turn of its loop it takes the derivatives **at the state that it has**, in place of the lost one, and then recomputes the state before: one Euler step with the same $\theta_n$, of length $-h$.
#
# Differentiate one layer at a time: that is the exercise.
#
# <details><summary>Hint 1</summary>
#
# `torch.autograd.functional.vjp(f, (x, theta), p)` returns the value of `f` and the pair $(\partial_xf)^\top p$, $(\partial_\theta f)^\top p$. No Jacobian is needed, and nothing to transpose.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The order matters. The gradient of $\theta_n$ needs $p_{n+1}$: compute it before you overwrite `p`. The loop meets the last layer first, but row $n$ of the result belongs to $\theta_n$.
#
# </details>


# %% tags=["answer:4.1"]
def gradients_with_memory(f, states, thetas, h, p):
    """Gradients for thetas (N, k) and p_0 (d,), from states (N + 1, d) and p = p_N (d,). Returns (gradients (N, k), p_0)."""
    ### BEGIN SOLUTION
    rows = torch.zeros_like(thetas)
    for n in reversed(range(len(thetas))):
        by_x, by_theta = torch.autograd.functional.vjp(f, (states[n], thetas[n]), p)[1]
        rows[n] = h * by_theta
        p = p + h * by_x
    return rows, p
    ### END SOLUTION


def gradients_without_memory(f, x, thetas, h, p):
    """The same with recomputed states, from the last state x = x_N (d,) alone. Returns (gradients (N, k), p_0)."""
    ### BEGIN SOLUTION
    rows = torch.zeros_like(thetas)
    for n in reversed(range(len(thetas))):
        speed, (by_x, by_theta) = torch.autograd.functional.vjp(f, (x, thetas[n]), p)
        rows[n] = h * by_theta
        x, p = x - h * speed, p + h * by_x
    return rows, p
    ### END SOLUTION


# %%
if passed("4.1"):
    generator = torch.Generator().manual_seed(0)
    W, start, target = (torch.randn(*size, generator=generator) for size in ((4, 4), (4,), (4,)))

    def own_network(x, theta):  # tanh(W x) with the weights in one long vector
        return torch.tanh(theta.reshape(4, 4) @ x)

    errors = []
    for depth in (40, 80):
        h, thetas = 1 / depth, W.flatten().repeat(depth, 1).requires_grad_()
        states = [start]
        for theta in thetas:
            states.append(states[-1] + h * own_network(states[-1], theta))
        loss = 0.5 * (states[-1] - target).square().sum()
        autograd = torch.autograd.grad(loss, thetas)[0]
        states, thetas = torch.stack(states).detach(), thetas.detach()
        kept = gradients_with_memory(own_network, states, thetas, h, states[-1] - target)[0]
        lost = gradients_without_memory(own_network, states[-1], thetas, h, states[-1] - target)[0]
        print(
            f"{depth} layers: with memory equal to autograd: {torch.allclose(kept, autograd, rtol=0, atol=1e-12)}"
        )
        errors.append(((lost - kept).norm() / kept.norm()).item())
        print(f"           without memory: relative error {errors[-1]:.4f}")
    print(f"twice the layers divide this error by {errors[0] / errors[1]:.1f}: it is O(h)")

# %% [markdown]
# ## Exercise 4.2
#
# *Why it matters: "deep enough" should be a number, and before you compute one you must know what your field can do.*
#
# All layers of a network are $x+h\,f(x)$ with the field $f(x)=V\tanh(Wx+b)$ and $h=T/N$. Here $W$ has the shape (m, d), $V$ the shape (d, m), and the bias $b$ is not known. Claim 4.1 bounds the distance to the flow at time $T$, wherever the network starts.
#
# 1. `speed_and_slope` returns two numbers $F$ and $L$ that are guaranteed for **every** $b$: $\|f(x)\|\le F$, and $f$ is $L$-Lipschitz. Use spectral norms of the two matrices, and the number of hidden units.
# 2. `layers_needed` returns the smallest whole number $N$ for which the claim, with these $F$ and $L$, guarantees a distance of at most `tol`.
#
# <details><summary>Hint 1</summary>
#
# $\tanh$ takes values between $-1$ and $1$. How long can a vector of $m$ such numbers be, and how much longer does $V$ make it? For $L$: the slope of $\tanh$ is at most 1, so it stretches nothing. Two matrices may.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Put $h=T/N$ into the bound, demand that it is at most `tol`, and solve for $N$. Then round in the direction in which the guarantee still holds. `math.expm1(z)` is $e^z-1$.
#
# </details>


# %% tags=["answer:4.2"]
def speed_and_slope(V, W):
    """(F, L) with |f| <= F and f L-Lipschitz for f(x) = V tanh(W x + b), whatever b is; V (d, m), W (m, d)."""
    ### BEGIN SOLUTION
    size_of_V, size_of_W = (torch.linalg.matrix_norm(M, 2).item() for M in (V, W))
    return size_of_V * math.sqrt(V.shape[1]), size_of_V * size_of_W
    ### END SOLUTION


def layers_needed(V, W, T, tol):
    """Smallest number of layers for which Claim 4.1 guarantees a distance of at most tol to the flow at time T."""
    ### BEGIN SOLUTION
    fastest, steepest = speed_and_slope(V, W)
    guaranteed_with_one = 0.5 * T * fastest * math.expm1(steepest * T)
    return max(1, math.ceil(guaranteed_with_one / tol))
    ### END SOLUTION


# %%
if passed("4.2"):
    generator = torch.Generator().manual_seed(1)
    V, W = (
        0.5 * torch.randn(2, 6, generator=generator),
        0.5 * torch.randn(6, 2, generator=generator),
    )
    b, start = torch.randn(6, generator=generator), torch.randn(100, 2, generator=generator)

    def field(x):
        return torch.tanh(x @ W.T + b) @ V.T

    end = ode.flow(field, start, [0, 1])[-1]
    for tol in (0.5, 0.1, 0.02):
        depth = layers_needed(V, W, 1.0, tol)
        by_layers = ode.flow(field, start, [0, 1], method="euler", max_step=1 / depth)[-1]
        distance = (by_layers - end).norm(dim=1).max().item()
        print(f"tol = {tol:4.2f}: {depth:4d} layers, largest distance {distance:.5f} <= {tol}")

# %% [markdown]
# ## Exercise 4.3
#
# *Why it matters: layers that pull states together lose digits when they are run backwards. You can know beforehand how many at most.*
#
# Take the field $f(x)=-\lambda x-A^\top\tanh(Ax+b)$ with $\lambda\ge0$. The matrix $A$ has the shape (k, d) with $k\le d$, and its rows are linearly independent. So $Ax+b$ takes every value in $\mathbb R^k$. Layers like these are the subject of lesson 5. Return three numbers:
#
# 1. the smallest one-sided Lipschitz constant $\mu(f)$ on $\mathbb R^d$,
# 2. the smallest one-sided Lipschitz constant $\mu(-f)$ of the reversed field,
# 3. the number of decimal digits that a recomputed start can lose at worst: $\log_{10}$ of the factor by which $\mu(-f)$ lets an error grow in time $T$.
#
# <details><summary>Hint 1</summary>
#
# The Jacobian is $Df(x)=-\lambda I-A^\top DA$ with the slopes of $\tanh$ on the diagonal of $D$. It is symmetric. The best constant is the supremum over $x$ of its largest eigenvalue (lesson 1).
#
# </details>
# <details><summary>Hint 2</summary>
#
# The slopes lie in $(0,1]$. Where are they all 1? Where are they all close to 0? One of the two decides $\mu(f)$, the other $\mu(-f)$. The largest eigenvalue of $A^\top A$ is the square of a norm of $A$.
#
# </details>


# %% tags=["answer:4.3"]
def reversal_cost(A, rate, T):
    """(mu of f, mu of -f, decimal digits lost in time T) for f(x) = -rate x - A' tanh(A x + b); A (k, d)."""
    ### BEGIN SOLUTION
    backwards = rate + torch.linalg.eigvalsh(A @ A.T).max().item()
    return -rate, backwards, T * backwards / math.log(10)
    ### END SOLUTION


# %%
if passed("4.3"):
    generator = torch.Generator().manual_seed(2)
    A, b = torch.randn(2, 3, generator=generator), torch.randn(2, generator=generator)
    start = torch.randn(1, 3, generator=generator)
    for rate in (1.0, 5.0, 10.0):

        def pull(x, rate=rate):
            return -rate * x - torch.tanh(x @ A.T + b) @ A

        end = ode.flow(pull, start, [0, 1], max_step=0.001)[-1]
        wrong = end + 1e-6 * torch.eye(3)  # the same error in each direction
        again = ode.flow(lambda x: -pull(x), torch.cat([end, wrong]), [0, 1], max_step=0.001)[-1]
        lost = math.log10((again[1:] - again[0]).norm(dim=1).max().item() / 1e-6)
        promised = reversal_cost(A, rate, 1.0)[2]
        print(f"rate {rate:4.1f}: {lost:.2f} digits lost, at worst {promised:.2f}")
