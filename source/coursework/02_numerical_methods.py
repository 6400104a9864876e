# %% [markdown]
# # Coursework 2. Steps that keep the promise
#
# Five exercises on [lesson 2](../02_numerical_methods.ipynb): how a step grows, when two solutions stay together, and what it costs to ignore the theory.

# %% tags=["setup"]
# setup

# %%
import math

import matplotlib.pyplot as plt
import torch

from chapter_checks import check, passed
from chapter_utils import ode, plotting, runge_kutta

plotting.use_house_style()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# %% [markdown]
# ## Exercise 2.1
#
# *Why it matters: a residual network is a chain of Euler steps. If each of them magnifies a little, how deep may the network be?*
#
# A point rotates around 0 with angular speed $\omega$. Euler's method with step size $h$ makes its distance from 0 grow in every step (Section 2.1).
# After how many steps is the point for the first time **at least twice** as far away as at the start? Return a whole number.
#
# <details><summary>Hint 1</summary>
#
# Claim 2.3 gives the factor by which one step multiplies the length.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A factor $g$ per step doubles the length after $n$ steps if $g^n\ge2$. Take logarithms, or count in a loop.
#
# </details>


# %% tags=["answer:2.1"]
def steps_to_double(h, omega):
    """The first n for which n Euler steps of size h have at least doubled the length of a state that rotates with speed omega."""
    ### BEGIN SOLUTION
    factor_per_step = math.sqrt(1 + (h * omega) ** 2)
    return math.ceil(math.log(2) / math.log(factor_per_step))
    ### END SOLUTION


# %%
if passed("2.1"):
    for h in (0.1, 0.05, 0.025):
        steps = steps_to_double(h, 1.0)
        print(f"h = {h}: doubled after {steps} steps, at time {steps * h:.1f}")
    print(
        "Half the step size doubles the time, not more: Euler's method is wrong by a first power of h."
    )

# %% [markdown]
# ## Exercise 2.2
#
# *Why it matters: this one number tells how long the step of a layer may be before it can move two inputs apart.*
#
# Write the function behind Claim 2.5: the circle-contractivity radius $r$ of a method with stage matrix `A` of shape $(s,s)$ and weights `b` of shape $(s,)$.
# It is the largest $r$ for which $M+\tfrac1rB$ has no negative eigenvalue, where $B=\mathrm{diag}(b)$ and $M=BA+A^\top B-bb^\top$. Return `math.inf` if $M$ itself has none, and 0 if a weight is negative or no $r>0$ will do.
#
# Bisection is welcome. Can you also do it with eigenvalues alone?
#
# <details><summary>Hint 1</summary>
#
# If $M+\tfrac1rB$ is positive semidefinite, it is so for every smaller $r$ too. That is what bisection needs. Allow eigenvalues down to $-10^{-12}$: rounding.
#
# </details>
# <details><summary>Hint 2 (eigenvalues alone)</summary>
#
# If all $b_i>0$, multiply from both sides with $B^{-1/2}$: the condition becomes $B^{-1/2}MB^{-1/2}+\tfrac1rI\ge0$.
# If some $b_i=0$, the whole row $i$ of $M$ must be 0, otherwise $r=0$ (why?).
#
# </details>


# %% tags=["answer:2.2"]
def contractivity_radius(A, b):
    """Largest r with M + diag(b) / r positive semidefinite: math.inf if M is, 0 if there is none."""
    ### BEGIN SOLUTION
    M = b[:, None] * A + A.T * b - torch.outer(b, b)
    used = b != 0
    if b.min() < 0 or M[~used].abs().sum() > 1e-12:
        return 0.0
    root = b[used].sqrt()
    most_negative = torch.linalg.eigvalsh(M[used][:, used] / torch.outer(root, root)).min().item()
    return math.inf if most_negative > -1e-10 else -1 / most_negative
    ### END SOLUTION


# %%
if passed("2.2"):
    three_euler_steps = runge_kutta.substeps(runge_kutta.TABLEAUS["euler"], 3)
    for name, method in (runge_kutta.TABLEAUS | {"three Euler steps": three_euler_steps}).items():
        print(f"{name:18s} r = {contractivity_radius(method.A, method.b):.4f}")

# %% [markdown]
# ## Exercise 2.3
#
# *Why it matters: a bound of 1 that is almost true is no bound. In a deep network the excess is multiplied once a layer.*
#
# The **stretch** of a step at a point $x$ is the largest factor by which it stretches a very short pair at $x$: the spectral norm of its Jacobian. (In the names of this exercise it is called slope.)
# Return the stretch of one step of the explicit **midpoint rule** $x\mapsto x+h\,f\big(x+\tfrac h2f(x)\big)$. The field `f` maps a tensor of shape `(2,)` to one of shape `(2,)`; PyTorch can differentiate it.
#
# <details><summary>Hint 1</summary>
#
# Write the step as a function of `x` first. `torch.autograd.functional.jacobian` or `torch.func.jacrev` gives its Jacobian.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The spectral norm is `torch.linalg.matrix_norm(J, 2)`. The plain `torch.linalg.norm(J)` is another one.
#
# </details>


# %% tags=["answer:2.3"]
def midpoint_slope(f, x, h):
    """Spectral norm of the Jacobian of one midpoint step of size h at the point x (2,)."""

    ### BEGIN SOLUTION
    def midpoint_step(z):
        halfway = z + h / 2 * f(z)
        return z + h * f(halfway)

    return torch.linalg.matrix_norm(torch.autograd.functional.jacobian(midpoint_step, x), 2).item()
    ### END SOLUTION


# %%
if passed("2.3"):
    ramps = torch.tensor([[0.5, 3**0.5 / 2], [1.0, 0.0]])  # the rows w and u of Section 2.4
    tilt = torch.linalg.solve(ramps, torch.tensor([20.0, -20.0]))

    def two_ramps(x):
        return -(tilt + torch.relu(x @ ramps.T) @ ramps)

    for hL in (0.1, 0.5, 1.0, 2.0):
        start = torch.linalg.solve(ramps, torch.tensor([5 * hL / 1.5, -5 * hL / 1.5]))
        slope = midpoint_slope(two_ramps, start, hL / 1.5)
        print(f"hL = {hL}: slope {slope:.6f}; 50 such layers in a row: up to {slope**50:.3f}")

# %% [markdown]
# ## Exercise 2.4
#
# *Why it matters: "A-stable" sounds like "safe for every step size". For nonlinear layers it is not.*
#
# Let $f(x)=-L\max(x,0)$, for each entry of `x`. One step of the **trapezoidal rule** leads from $x_0$ to the $x_1$ with
#
# $$x_1=x_0+\tfrac h2\big(f(x_0)+f(x_1)\big).$$
#
# First write this step, exactly: the equation has one solution, and you can find it with pencil and paper. Then return the factor by which it changes the distance of two **positive** points.
#
# <details><summary>Hint 1</summary>
#
# Compute the explicit half $y=x_0+\tfrac h2f(x_0)$ first. What remains is $x_1=y+\tfrac h2f(x_1)$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# If $y\le0$, then $x_1=y$ solves it. If $y>0$, then $x_1$ is positive too, and the equation is linear.
#
# </details>


# %% tags=["answer:2.4"]
def trapezoidal_step(x, h, L):
    """One step of the trapezoidal rule for x' = -L max(x, 0), for a tensor x of any shape."""
    ### BEGIN SOLUTION
    explicit_half = x - h * L / 2 * x.clamp(min=0)
    return torch.where(explicit_half > 0, explicit_half / (1 + h * L / 2), explicit_half)
    ### END SOLUTION


def trapezoidal_slope(h, L):
    """|x_1 - y_1| / |x_0 - y_0| for two positive points x_0 and y_0."""
    ### BEGIN SOLUTION
    one_and_two = trapezoidal_step(torch.tensor([1.0, 2.0]), h, L)
    return one_and_two.diff().abs().item()
    ### END SOLUTION


# %%
if passed("2.4"):
    hL = torch.linspace(0.1, 8, 80)
    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.plot(hL, [trapezoidal_slope(a, 1.0) for a in hL.tolist()], label="two positive points")
    axis.plot(hL, ((1 - hL / 2) / (1 + hL / 2)).abs(), linestyle="--", label="linear theory")
    axis.axhline(1, color=plotting.BLACK, linewidth=0.8)
    axis.set(xlabel="$hL$", ylabel="slope", title="A-stable, and yet expansive beyond $hL=4$")
    axis.legend()
    plotting.show(
        figure,
        "The slope between positive points falls to 0 at hL = 2, then rises and passes 1 at hL = 4. "
        "Linear theory promises less than 1 for ever.",
    )

# %% [markdown]
# ## Exercise 2.5
#
# *Why it matters: many architectures use $x'=Kx$ with a $K$ that is no gradient. Then $h\le2/L$ protects nobody.*
#
# Given a $d\times d$ matrix $K$ with logarithmic norm $\mu(K)<0$. What is the **longest** step $h$ for which Euler's step $x\mapsto x+hKx$ increases no distance? An error of 1 % is fine.
#
# Try it on the spiral of Section 2.5 first. A formula in $m=-\mu(K)$ and $L=\|K\|$ alone is not enough for other matrices: run an experiment on $K$ itself.
#
# <details><summary>Hint 1</summary>
#
# The step multiplies some distance by $\|I+hK\|$. How does this number change as $h$ grows from 0?
#
# </details>
# <details><summary>Hint 2</summary>
#
# $h\mapsto\|I+hK\|$ is convex, starts at 1 and falls at first. So it crosses 1 upwards exactly once: bisection finds the place.
# For a formula look at $\|x+hKx\|^2-\|x\|^2$ with $x=K^{-1}w$.
#
# </details>


# %% tags=["answer:2.5"]
def longest_euler_step(K):
    """Largest h with spectral norm of I + hK at most 1, for a matrix K (d, d) with negative logarithmic norm."""
    ### BEGIN SOLUTION
    # |x + hKx|^2 <= |x|^2 means h |w|^2 <= -2 <K^-1 w, w> with w = Kx: so h = -2 mu(K^-1).
    return -2 * ode.logarithmic_norm(torch.linalg.inv(K)).item()
    ### END SOLUTION


# %%
if passed("2.5"):
    spiral = torch.tensor([[-1.0, 3.0], [-3.0, -1.0]])
    random = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    shifted = random - (ode.logarithmic_norm(random) + 0.5) * torch.eye(5)
    for name, K in (("spiral", spiral), ("random", shifted)):
        m, L = -ode.logarithmic_norm(K).item(), torch.linalg.matrix_norm(K, 2).item()
        print(
            f"{name}: longest step {longest_euler_step(K):.4f}   2m/L^2 = {2 * m / L**2:.4f}   2/L = {2 / L:.4f}"
        )
