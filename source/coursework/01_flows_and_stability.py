# %% [markdown]
# # Coursework 1. When do nearby states stay near?
#
# Six exercises on [lesson 1](../01_flows_and_stability.ipynb): how fast neighbours can separate at first and at worst, and how to choose the system, or the norm, so that they do not.

# %% tags=["setup"]
# setup

# %%
import math

import matplotlib.pyplot as plt
import torch

from chapter_checks import check, passed
from chapter_utils import ode, plotting

plotting.use_house_style()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# %% [markdown]
# ## Exercise 1.1
#
# *Why it matters: all eigenvalues of a recurrent network may promise decay, while on the way a tiny error becomes large enough to flip the answer.*
#
# Let $A$ be a $d\times d$ matrix whose eigenvalues all have negative real parts, so that every solution $x(t)=e^{At}x(0)$ of $x'=Ax$ ends in the origin.
# Take all starts of length 1 and look at the longest solution, of length $\|e^{At}\|$ (Section 1.6). Write two functions:
#
# * `first_rate(A)`: the slope of $\|e^{At}\|$ at $t=0$. This is the number $\mu$ of Claim 1.8.
# * `peak(A)`: the largest value of $\|e^{At}\|$ over all $t\ge0$, with an error of at most 1 %. The check also uses very slow and very fast matrices: a fixed list of times will not do.
#
# <details><summary>Hint 1</summary>
#
# The norm is the spectral norm, `torch.linalg.matrix_norm(M, 2)`. The exponential of a matrix is `torch.linalg.matrix_exp`; it takes a whole batch of matrices $(K,d,d)$. `torch.exp` would act on each entry by itself.
#
# </details>
# <details><summary>Hint 2</summary>
#
# How far must the times reach? A solution that has decayed does not come back. The slowest eigenvalue decays like $e^{\alpha t}$ with the spectral abscissa $\alpha$, so times up to $20/|\alpha|$ are plenty.
# `torch.linalg.eigvals` finds it. And do not forget $t=0$.
#
# </details>


# %% tags=["answer:1.1"]
def first_rate(A):
    """Slope at t = 0 of the spectral norm of exp(At), for a matrix A (d, d)."""
    ### BEGIN SOLUTION
    symmetric_part = 0.5 * (A + A.T)
    return torch.linalg.eigvalsh(symmetric_part).max().item()
    ### END SOLUTION


def peak(A):
    """Largest spectral norm of exp(At) over all t >= 0, for a matrix A (d, d) with eigenvalues left of the imaginary axis."""
    ### BEGIN SOLUTION
    slowest = torch.linalg.eigvals(A).real.max().abs()
    times = torch.linspace(0, 20, 1501)[:, None, None] / slowest
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(times * A), 2).max().item()
    ### END SOLUTION


# %%
if passed("1.1"):
    for k in (0.0, 2.0, 5.0, 10.0, 100.0):
        A = torch.tensor([[-1.0, k], [0.0, -2.0]])
        print(f"k = {k:5.1f}: first rate {first_rate(A):7.3f}, peak {peak(A):7.3f}")
    print("The eigenvalues are -1 and -2 in each of these matrices.")

# %% [markdown]
# ## Exercise 1.2
#
# *Why it matters: a layer that is to be trained needs weights without constraints. Here every choice of weights is stable.*
#
# Given any square matrix $W$ and a number $\gamma\ge0$, build a matrix $A$ such that all solutions of $x'=Ax$ have **exactly** the length $\|x(t)\|=e^{-\gamma t}\|x(0)\|$ (Section 1.9).
# Nothing may be lost: if $W$ runs through all square matrices, every skew-symmetric matrix must occur as the part of $A$ that turns. And $W$ will be trained: PyTorch's gradients must get through to it.
#
# <details><summary>Hint 1</summary>
#
# Only the symmetric part of $A$ changes lengths. What must it be? And how do you get a matrix with $S^\top=-S$ out of any $W$?
#
# </details>
# <details><summary>Hint 2</summary>
#
# In PyTorch `S - gamma` subtracts $\gamma$ from *every* entry. And leave `W` as it is: work on new matrices, without `W -= ...`, `.detach()` or numpy.
#
# </details>


# %% tags=["answer:1.2"]
def fading_rotation(W, gamma):
    """A matrix A (d, d), made from W (d, d), with |exp(At) x| = exp(-gamma t) |x| for all x and t."""
    ### BEGIN SOLUTION
    return W - W.T - gamma * torch.eye(len(W))
    ### END SOLUTION


# %%
if passed("1.2"):
    W = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    for name, A in (("W", W), ("fading rotation", fading_rotation(W, 0.5))):
        lengths = torch.linalg.matrix_norm(
            torch.linalg.matrix_exp(A * torch.arange(4.0)[:, None, None]), 2
        )
        numbers = ", ".join(f"{length:.3f}" for length in lengths)
        print(
            f"{name:16s} mu = {ode.logarithmic_norm(A):6.3f}   longest at t = 0, 1, 2, 3: {numbers}"
        )

# %% [markdown]
# ## Exercise 1.3
#
# *Why it matters: to tame a trained field with as little friction as possible, you must know its $\mu$, and a field is given by code, not by a formula.*
#
# A field $g$ in the plane swirls. Add a pull to the centre, $f(x)=-cx+g(x)$. What is the **least** $c$ for which the one-sided constant of $f$ on the disc $\|x\|\le R$ is not positive, so that no two states inside separate?
#
# You can only call `g`: it maps a point of shape `(2,)` or a batch `(B, 2)` to the same shape, and PyTorch can differentiate it. An error of 2 % is fine.
# The whirl of Section 1.10 is $g(x)=5\|x\|\,Gx$ with the rotation by 90°, $G=\begin{pmatrix}0&-1\\1&0\end{pmatrix}$. There, a pull of $c=\tfrac12$ brought everybody to the centre, and yet pairs separated.
#
# <details><summary>Hint 1</summary>
#
# Claim 1.4: how does $-cx$ change $\lambda_{\max}(\mathrm{sym}\,Df)$? So which number of $g$ do you need?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The supremum over the disc can be approximated by the maximum over a fine grid. Leave out the points outside the disc. The worst place may be on the edge or inside.
# `torch.func.vmap(torch.func.jacrev(g))(points)` gives all Jacobians, of shape `(B, 2, 2)`, at once.
#
# </details>


# %% tags=["answer:1.3"]
def least_pull(g, R):
    """Least c such that -c x + g(x) has a one-sided constant of at most 0 on the disc of radius R."""
    ### BEGIN SOLUTION
    radii, angles = torch.linspace(0, R, 41), torch.linspace(0, 2 * math.pi, 49)[:-1]
    directions = torch.stack([angles.cos(), angles.sin()], 1)
    disc = (radii[:, None, None] * directions).reshape(-1, 2)
    Dg = torch.func.vmap(torch.func.jacrev(g))(disc)
    return ode.logarithmic_norm(Dg).max().item()
    ### END SOLUTION


# %%
if passed("1.3"):

    def whirl(x):
        return 5 * x.norm(dim=-1, keepdim=True) * torch.stack([-x[..., 1], x[..., 0]], -1)

    pair, times = torch.tensor([[0.8, 0.0], [1.0, 0.0]]), torch.linspace(0, 2.5, 126)
    least = least_pull(whirl, 1.0)
    print(f"least pull on the unit disc: {least:.3f}")
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for c in (0.5, least):
        states = ode.flow(lambda x, c=c: -c * x + whirl(x), pair, times)
        axis.plot(times, (states[:, 0] - states[:, 1]).norm(dim=1), label=f"c = {c:.2f}")
    axis.set(xlabel="time $t$", ylabel="distance of the pair", ylim=(0, None))
    axis.legend()
    plotting.show(
        figure,
        "Two states that start 0.2 apart. With c = 0.5 the distance first rises to more than twice that; with the least pull it never rises.",
    )

# %% [markdown]
# ## Exercise 1.4
#
# *Why it matters: a network that is stable in a norm that fits it keeps all of its speed. In the Euclidean norm you would have to slow it down.*
#
# The Lyapunov equation (Claim 1.10) gives a positive definite $P$ with $\mu_P(A)<0$. But its rate may be poor: the matrix of Section 1.6 with $k=10$ has the eigenvalues $-1$ and $-2$, and this $P$ promises only $e^{-0.056t}$.
#
# Given $A$ with spectral abscissa $\alpha(A)<0$ and a rate $\beta$ with $0<\beta<-\alpha(A)$, find a symmetric positive definite $P$ with $\mu_P(A)\le-\beta$. There are many; any of them is right.
#
# <details><summary>Hint 1</summary>
#
# Let $y(t)=e^{\beta t}x(t)$. It solves $y'=By$ with a matrix $B$. Which one? If no length of $y$ grows in the norm of $P$, the lengths of $x$ shrink at least like $e^{-\beta t}$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# So solve the Lyapunov equation of Claim 1.10 for $B$. It is linear in the entries of $P$: build the big matrix with `torch.kron`
# (which needs `B.T.contiguous()` instead of `B.T`), use `scipy.linalg.solve_continuous_lyapunov`, or sum up the integral $\int_0^\infty e^{B^\top t}e^{Bt}dt$.
# Check the side of the transposition: $B^\top P+PB=-I$ and $BP+PB^\top=-I$ have different solutions.
#
# </details>


# %% tags=["answer:1.4"]
def norm_with_rate(A, rate):
    """Symmetric positive definite P (d, d) with mu_P(A) <= -rate, for A (d, d) with all eigenvalues left of -rate."""
    ### BEGIN SOLUTION
    identity = torch.eye(len(A))
    B = (A + rate * identity).T.contiguous()
    big = torch.kron(B, identity) + torch.kron(identity, B)
    P = torch.linalg.solve(big, -identity.reshape(-1)).view_as(A)
    return 0.5 * (P + P.T)
    ### END SOLUTION


# %%
if passed("1.4"):
    for name, A in (
        ("damped pendulum near the bottom", torch.tensor([[0.0, 1.0], [-1.0, -0.3]])),
        ("the matrix of Section 1.6", torch.tensor([[-1.0, 10.0], [0.0, -2.0]])),
    ):
        limit = -torch.linalg.eigvals(A).real.max().item()
        print(f"{name}: the eigenvalues allow every rate below {limit:.2f}")
        for rate in (1e-9, limit / 2, 0.9 * limit, 0.99 * limit):
            P = norm_with_rate(A, rate)
            spread = torch.linalg.eigvalsh(P)
            price = (spread[-1] / spread[0]).sqrt()
            print(
                f"   rate {rate:.3f}: mu_P = {ode.logarithmic_norm(A, weight=P):.4f}, price sqrt(kappa) = {price:.1f}"
            )

# %% [markdown]
# ## Exercise 1.5
#
# *Why it matters: layers built from convex valleys cannot separate two inputs. Here you measure what a ridge between two valleys does.*
#
# A landscape is given as a function `V` that maps points of shape `(2,)` or `(B, 2)` to heights `()` or `(B,)`. PyTorch can differentiate it.
# Two balls start at `x` and `y`, both of shape `(2,)`, and roll downhill for the time `t`, as in Claim 1.13. By what **factor** has their distance changed? An error of 1 % is fine.
#
# `ode.flow(field, starts, [0.0, t], max_step=0.02)` follows a field from a batch of starts `(B, 2)` and returns the states at all the times, `(2, B, 2)`. You may also write your own loop, with steps small enough.
#
# <details><summary>Hint 1</summary>
#
# Which velocity has a ball at $x$? `torch.func.grad(V)` is the gradient of `V` for one point; `torch.func.vmap(torch.func.grad(V))` for a batch. Mind the sign.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With plain Euler steps the error is proportional to the step size. Halve it: does your result still move?
#
# </details>


# %% tags=["answer:1.5"]
def separation(V, x, y, t):
    """|x(t) - y(t)| / |x(0) - y(0)| for the gradient flow of V from the points x (2,) and y (2,)."""
    ### BEGIN SOLUTION
    slope = torch.func.vmap(torch.func.grad(V))
    both = torch.stack([x, y])
    end = ode.flow(lambda z: -slope(z), both, [0.0, t], max_step=0.04)[-1]
    return ((end[0] - end[1]).norm() / (x - y).norm()).item()
    ### END SOLUTION


# %%
if passed("1.5"):
    left, right = torch.tensor([-0.01, 0.5]), torch.tensor([0.01, 0.5])
    for gamma in (0.0, 0.5, 1.0, 1.5):

        def landscape(x, gamma=gamma):
            return x[..., 0] ** 4 / 4 + (gamma - 1) * x[..., 0] ** 2 / 2 + x[..., 1] ** 2

        factor = separation(landscape, left, right, 8.0)
        print(
            f"ridge filled up by gamma = {gamma}: after t = 8 the distance is multiplied by {factor:.3f}"
        )

# %% [markdown]
# ## Exercise 1.6
#
# *Why it matters: a network is often judged by "the eigenvalues are on the right side". On the imaginary axis this is not enough.*
#
# For $x'=Ax$ with a square matrix $A$ return one of the three texts `"asymptotically stable"`, `"stable"` (but not asymptotically), `"unstable"`, as Claim 1.7 defines them.
# Computed eigenvalues are never exactly on the imaginary axis: count one as on it if its real part is less than $10^{-6}$ in size. In the check the others are at least 0.1 away from it.
#
# <details><summary>Hint 1</summary>
#
# The spectral abscissa settles all cases but one: abscissa 0. There, solutions either stay bounded or grow like $t$, and you can do the experiment: how long is $e^{At}$ at $t=1000$?
#
# </details>
# <details><summary>Hint 2 (without an experiment)</summary>
#
# For an eigenvalue $\lambda$ on the axis compare how often it occurs with the dimension of its eigenspace, $d$ minus the rank of $A-\lambda I$. A missing eigenvector moves the computed $\lambda$ by up to about $10^{-7}$, so give `torch.linalg.matrix_rank` a tolerance, `atol=1e-4`.
#
# </details>


# %% tags=["answer:1.6"]
def stability(A):
    """ "asymptotically stable", "stable" or "unstable": the origin for x' = Ax, with A (d, d)."""
    ### BEGIN SOLUTION
    rightmost = torch.linalg.eigvals(A).real.max().item()
    if abs(rightmost) > 1e-6:
        return "asymptotically stable" if rightmost < 0 else "unstable"
    after_a_long_time = torch.linalg.matrix_exp(1000 * A)
    return "stable" if after_a_long_time.abs().max() < 100 else "unstable"
    ### END SOLUTION


# %%
if passed("1.6"):
    for name, A in (
        ("rotation", torch.tensor([[0.0, -1.0], [1.0, 0.0]])),
        ("rotation with friction", torch.tensor([[-0.1, -1.0], [1.0, -0.1]])),
        ("drift", torch.tensor([[0.0, 1.0], [0.0, 0.0]])),
        ("a resting body", torch.zeros(2, 2)),
    ):
        print(f"{name:24s} {stability(A)}")
