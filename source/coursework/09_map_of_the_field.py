# %% [markdown]
# # Coursework 9. A map of the field
#
# Five exercises on [lesson 9](../09_map_of_the_field.ipynb): five ways to make a network stable that you can check.

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
# ## Exercise 9.1
#
# *Why it matters: "antisymmetric weights are stable" is true of the flow. Your network takes steps, and how long they may be is a number.*
#
# Let $S=-S^\top$ be a $d\times d$ matrix and $\gamma\ge0$. A network repeats the linear layer $x\mapsto x+h(S-\gamma I)x$ (Section 9.2) $N$ times.
# Return the **longest** $h\ge0$ for which **all $N$ layers together** increase no distance by more than the factor $g\ge1$. An error of 1 % is fine. You may assume $S\ne0$.
#
# $g=1$ is the threshold of Claim 9.2. Without friction nothing but $h=0$ keeps distances ($g=1$), but some growth may be affordable.
#
# <details><summary>Hint 1</summary>
#
# The layer is a *normal* matrix: the norm of its $N$-th power is the $N$-th power of its norm. So how much may one layer stretch?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The square of one layer's norm is $(1-h\gamma)^2+h^2\omega^2$ with $\omega=\|S\|$, the spectral norm, `torch.linalg.matrix_norm(S, 2)`. Bisection, or a quadratic equation: take its larger root, and square what one layer may do.
#
# </details>


# %% tags=["answer:9.1"]
def longest_antisymmetric_step(S, gamma, layers, growth):
    """Largest h for which `layers` times I + h (S - gamma I) stretch no vector by more than the factor `growth` >= 1, S (d, d)."""
    ### BEGIN SOLUTION
    # (1 - h gamma)^2 + (h omega)^2 = g^2, that is (gamma^2 + omega^2) h^2 - 2 gamma h - (g^2 - 1) = 0
    of_one_layer = growth ** (1 / layers)
    lead = gamma**2 + torch.linalg.matrix_norm(S, 2).item() ** 2
    return (gamma + math.sqrt(gamma**2 + lead * (of_one_layer**2 - 1))) / lead
    ### END SOLUTION


# %%
if passed("9.1"):
    S = 3 * torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    print(f"gamma = 0.5, |S| = 3: longest step {longest_antisymmetric_step(S, 0.5, 1, 1.0):.5f}")
    depths = [10, 20, 50, 100, 200, 500, 1000]
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for gamma, line in ((0.0, "--"), (0.5, "-")):
        steps = [longest_antisymmetric_step(S, gamma, N, 2.0) for N in depths]
        axis.loglog(depths, steps, linestyle=line, marker="o", label=rf"friction $\gamma={gamma}$")
    axis.axhline(1 / 9.25, color=plotting.BLACK, linewidth=0.8, linestyle=":")
    axis.set(
        xlabel="number of layers $N$",
        ylabel="longest step $h$",
        title="distances at most doubled",
    )
    axis.legend()
    plotting.show(
        figure,
        "With friction the longest step settles at 0.108, however many layers there are. Without friction it goes to zero like one over the square root of N.",
    )

# %% [markdown]
# ## Exercise 9.2
#
# *Why it matters: it makes any network stable, after training and without retraining.*
#
# Write the projected field of Section 9.4 for any field `f_hat` and any Lyapunov function `V`. Both are functions that you can only call, on batches `x` of shape $(B,d)$: `f_hat(x)` has shape $(B,d)$, `V(x)` has shape $(B,)$.
# So you need the gradient of `V`, at each state of the batch. `V` is positive and its gradient is not zero, except at the origin, and there the field shall be 0. A state at the origin may be in the batch.
#
# <details><summary>Hint 1</summary>
#
# Each $V(x_i)$ depends on its own row only. So the gradient of `V(x).sum()` with respect to `x` has $\nabla V(x_i)$ in row $i$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\nabla V^\top\hat f$ is one number for each state: a sum over the components, `dim=1`. At the origin the quotient is $0/0$. `torch.where` or a mask helps, but give `torch.where` no nan.
#
# </details>


# %% tags=["answer:9.2"]
def projected_field(f_hat, V, alpha, x):
    """The field f_hat, repaired so that V falls at least at the rate alpha, at the states x (B, d); shape (B, d)."""
    ### BEGIN SOLUTION
    at = x.detach().clone().requires_grad_()
    height = V(at)
    (uphill,) = torch.autograd.grad(height.sum(), at)
    with torch.no_grad():
        flat = (uphill == 0).all(dim=1, keepdim=True)
        speed = f_hat(x)
        too_much = torch.relu((uphill * speed).sum(dim=1) + alpha * height)[:, None]
        safe = torch.where(flat, 1.0, uphill.square().sum(dim=1, keepdim=True))
        return torch.where(flat, 0.0, speed - uphill * too_much / safe)
    ### END SOLUTION


# %%
if passed("9.2"):
    K = torch.tensor([[0.5, 1.0], [-1.0, 0.5]])  # the unstable spiral of Section 9.4

    def half_square(x):
        return 0.5 * x.square().sum(1)

    def repaired(x):
        return projected_field(lambda x: x @ K.T, half_square, 0.5, x)

    start = torch.tensor([[1.0, 0.0]])
    for method, steps in (("euler", 100), ("euler", 5000), ("rk4", 100)):
        x = start
        for _ in range(steps):
            x = runge_kutta.runge_kutta_step(repaired, x, 5 / steps, runge_kutta.TABLEAUS[method])
        print(f"{method:5s} {steps:4d} steps: V(5)/V(0) = {x.square().sum():.4f}")
    print(
        f"bound for the flow e^(-2.5) = {math.exp(-2.5):.4f}; without projection e^5 = {math.exp(5):.0f}"
    )

# %% [markdown]
# ## Exercise 9.3
#
# *Why it matters: an equilibrium network is infinitely deep. Repeating its layer may go on for ever; the right iteration always ends.*
#
# Section 9.8 defines the monotone equilibrium network: $z=\mathrm{relu}(Wz+Ux+b)$ with $W=(1-m)I-A^\top A+B-B^\top$ and $m>0$. Compute its equilibrium for a batch of inputs, to about eight digits:
# `A` has shape $(r,d)$, `B` $(d,d)$, `U` $(d,k)$, `b` $(d,)$, `x` $(n,k)$, and the result `z` $(n,d)$. Each row of `x` is one input.
#
# <details><summary>Hint 1</summary>
#
# For a batch of rows, $Wz$ becomes `z @ W.T`. Plain repetition of the layer may cycle. Claim 9.11 has an iteration that converges, and says for which $a$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Half the limit, $a=m/\|I-W\|^2$ with the spectral norm, is the best proven step. The relu stands inside the loop, in each turn. A few thousand turns are cheap; or stop when `z` changes by less than $10^{-12}$.
#
# </details>


# %% tags=["answer:9.3"]
def equilibrium(A, B, m, U, b, x):
    """The z (n, d) with z = relu(W z + U x + b) and W = (1 - m) I - A'A + B - B', for inputs x (n, k)."""
    ### BEGIN SOLUTION
    monotone = m * torch.eye(len(b)) + A.T @ A - B + B.T  # I - W
    source = x @ U.T + b
    length = m / torch.linalg.matrix_norm(monotone, 2) ** 2
    z, change = torch.zeros_like(source), math.inf
    while change > 1e-12:
        before = z
        z = (z - length * (z @ monotone.T - source)).relu()
        change = (z - before).abs().max()
    return z
    ### END SOLUTION


# %%
if passed("9.3"):
    A, B = torch.tensor([[1.0, 0.5], [0.0, 0.5]]), torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    U, b = torch.eye(2), torch.zeros(2)
    x = torch.tensor([[1.0, 1.0], [1.1, 1.0]])
    z = equilibrium(A, B, 0.5, U, b, x)
    print(f"x = (1, 1): z = ({z[0, 0]:.4f}, {z[0, 1]:.4f}), where plain repetition cycles for ever")
    gain = ((z[1] - z[0]).norm() / (x[1] - x[0]).norm()).item()
    print(
        f"a change of x by 0.1 changes z by {gain:.3f} times as much; bound |U|/m = {1 / 0.5:.1f}"
    )

# %% [markdown]
# ## Exercise 9.4
#
# *Why it matters: after SODEF's training you must check that the features attract, and the answer depends on the norm.*
#
# Given a field `f` and feature points `z` of shape $(n,d)$. Let $M$ be the Jacobian of `f` at a feature point: row $i$ holds the derivatives of $f_i$. Return **two tensors of shape $(n,)$**: $\mu_\infty(M)$ of Claim 9.6, and $\mu_2(M)$, the logarithmic norm
# for the Euclidean norm, each at every feature point.
# The function `f` works for a batch $(n,d)$ and for one point $(d,)$, row by row, and PyTorch can differentiate it.
#
# <details><summary>Hint 1</summary>
#
# The Jacobians: `torch.autograd.functional.jacobian(f, point)` for one point at a time, or `torch.func.vmap(torch.func.jacrev(f))(z)` for all.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\mu_\infty$: in each row the diagonal entry keeps its sign, the others lose theirs; the largest row counts. $\mu_2$: the largest eigenvalue of a *symmetric* matrix, and `torch.linalg.eigvalsh` only looks at one half of what it gets.
#
# </details>


# %% tags=["answer:9.4"]
def logarithmic_norms(f, z):
    """(mu_inf, mu_2), each of shape (n,), of the Jacobians of f at the points z (n, d)."""
    ### BEGIN SOLUTION
    slopes = torch.stack([torch.autograd.functional.jacobian(f, point) for point in z])
    on_diagonal = torch.diag_embed(slopes.diagonal(dim1=1, dim2=2))
    rows = on_diagonal + (slopes - on_diagonal).abs()
    symmetric_part = 0.5 * slopes + 0.5 * slopes.mT
    return rows.sum(2).amax(1), torch.linalg.eigvalsh(symmetric_part)[:, -1]
    ### END SOLUTION


# %%
if passed("9.4"):
    for coupling in (0.5, 0.95, 1.5):
        M = torch.tensor([[-1.0, coupling], [0.0, -0.1]])
        mu_inf, mu_2 = logarithmic_norms(lambda x, M=M: x @ M.T, torch.zeros(1, 2))
        print(
            f"coupling {coupling:4.2f}: mu_inf = {mu_inf.item():6.3f}   mu_2 = {mu_2.item():6.3f}"
        )
    print(
        "At 0.95 the maximum norm of every solution shrinks, but the Euclidean norm of some grows at first."
    )

# %% [markdown]
# ## Exercise 9.5
#
# *Why it matters: a disturbance that grows in one norm may shrink in another. Change the norm before you give up the network.*
#
# The rows of $M=\begin{pmatrix}-1&1.5\\0&-0.1\end{pmatrix}$ are not dominant, so $\mu_\infty(M)>0$. Now measure with $\max_i|x_i|/w_i$, where $w_1,\dots,w_d>0$ are weights. In this norm every solution of $x'=Mx$ shrinks if
#
# $$M_{ii}\,w_i+\sum_{j\ne i}|M_{ij}|\,w_j<0\qquad\text{in every row } i .$$
#
# Return such weights for a $d\times d$ matrix $M$. You may assume that some exist.
#
# <details><summary>Hint 1</summary>
#
# Let $\hat M$ be $M$ with $|M_{ij}|$ in place of $M_{ij}$ for $i\ne j$; the diagonal stays. The condition says: all entries of $\hat Mw$ are negative.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Just demand that all of them be $-1$. If any weights exist, then the solution of this linear equation is positive (why? $x'=\hat Mx$ keeps positive states positive).
#
# </details>


# %% tags=["answer:9.5"]
def shrinking_weights(M):
    """Positive weights w (d,) with M_ii w_i + sum over j != i of |M_ij| w_j < 0 in every row of M (d, d)."""
    ### BEGIN SOLUTION
    diagonal_part = torch.diag(M.diag())
    worst_case = diagonal_part + (M - diagonal_part).abs()
    return torch.linalg.solve(worst_case, -torch.ones(len(M)))
    ### END SOLUTION


# %%
if passed("9.5"):
    M = torch.tensor([[-1.0, 1.5], [0.0, -0.1]])
    w = shrinking_weights(M)
    t = torch.linspace(0, 20, 201)
    x = torch.linalg.matrix_exp(t[:, None, None] * M) @ torch.tensor([1.0, 1.0])
    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.plot(t, x.abs().amax(1), linestyle="--", label=r"$\max_i\,|x_i|$")
    axis.plot(
        t, (x / w).abs().amax(1) * w[1], linestyle="-", label=r"$\max_i\,|x_i|/w_i$ (times $w_2$)"
    )
    axis.set(xlabel="time $t$", ylabel="norm of $x(t)$", title="two norms of one solution")
    axis.legend()
    plotting.show(
        figure,
        "From (1, 1) the maximum norm grows at first and then decays. The weighted norm of the same solution falls all the time.",
    )
