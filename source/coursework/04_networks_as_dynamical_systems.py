# %% [markdown]
# # Coursework 4. Networks as dynamical systems
#
# One exercise on [lesson 4](../04_networks_as_dynamical_systems.ipynb): backpropagation by hand.

# %% tags=["setup"]
# setup

# %%
import math

import matplotlib.pyplot as plt
import torch

from chapter_checks import check, passed
from chapter_utils import plotting, runge_kutta

plotting.use_house_style()
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
