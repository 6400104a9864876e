# %% [markdown]
# # Coursework 6. Expansive steps inside a 1-Lipschitz network
#
# Five exercises on [lesson 6](../06_expansive_steps.ipynb): what a step down leaves, what a step up may give back, and how orthogonal a matrix has to be.

# %% tags=["setup"]
# setup

# %%
import math

import matplotlib.pyplot as plt
import torch

from chapter_checks import check, passed
from chapter_utils import norms, plotting

plotting.use_house_style()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

# %% [markdown]
# ## Exercise 6.1
#
# *Why it matters: whoever knows the exact factor of a layer may spend what others waste.*
#
# Let $\sigma$ be piecewise linear with the slopes $a$ and 1, $0<a<1$, like the leaky ReLU. Write two functions, for $h_1>0$:
#
# * `gradient_factor(A, h1, a)`: the Lipschitz constant of $x-h_1A^\top\sigma(Ax+b)$ for the worst $b$, that is, the largest over all $b$. Here `A` is **any** matrix, of shape `(m, d)`: not orthogonal, perhaps not square, and $h_1$ is the step itself, not measured in units of anything.
# * `monotone_factor(h1, a)`: the smallest number that is a Lipschitz constant of $x-h_1g(x)$ for **every** strongly monotone and 1-Lipschitz field $g$ of Claim 6.2, with $\langle g(x)-g(y),x-y\rangle\ge a\|x-y\|^2$.
#
# <details><summary>Hint 1</summary>
#
# As in the proof of Claim 6.1 look for the smallest and the largest eigenvalue that $A^\top DA$ can have, if the diagonal of $D$ lies between $a$ and 1. A long step reflects, so both ends count.
#
# </details>
# <details><summary>Hint 2</summary>
#
# If $A$ has fewer rows than columns, some directions are not seen at all. `torch.linalg.eigvalsh(A.T @ A)` gives all $d$ eigenvalues, smallest first; the singular values of such an $A$ are fewer.
#
# </details>


# %% tags=["answer:6.1"]
def gradient_factor(A, h1, a):
    """Largest Lipschitz constant of x - h1 A^T sigma(A x + b) over all b, for a matrix A (m, d) and slopes a and 1."""
    ### BEGIN SOLUTION
    eigenvalues = torch.linalg.eigvalsh(A.T @ A)
    gentlest, steepest = a * eigenvalues[0].item(), eigenvalues[-1].item()
    return max(abs(1 - h1 * gentlest), abs(1 - h1 * steepest))
    ### END SOLUTION


def monotone_factor(h1, a):
    """The sharp Lipschitz constant of x - h1 g(x) if g is only known to be strongly monotone with a, and 1-Lipschitz."""
    ### BEGIN SOLUTION
    return math.sqrt((h1 - a) ** 2 + 1 - a**2)
    ### END SOLUTION


# %%
if passed("6.1"):
    for h1 in (0.5, 1.0, 4 / 3):
        print(
            f"h1 = {h1:.3f}: gradient {gradient_factor(torch.eye(3), h1, 0.5):.4f}, "
            f"monotone {monotone_factor(h1, 0.5):.4f}"
        )
    nearly = torch.diag(torch.tensor([1.0, 1.0, 0.725**0.5]))
    print(f"one eigenvalue 0.725, h1 = 0.5: gradient {gradient_factor(nearly, 0.5, 0.5):.4f}")

# %% [markdown]
# ## Exercise 6.2
#
# *Why it matters: a network that only shrinks has nothing left to tell. This is the budget for giving distances back.*
#
# Several steps down with orthogonal matrices follow one another; their lengths are in the list `downs`, and the slopes of the activation are $a$ and 1. After them comes a step up of length $h_2\ge0$ in all, in $s$ equal parts of $h_2/s$ with a matrix of norm 1.
# Return the largest $h_2$ for which Claims 6.1 and 6.3 (the sharp rule) promise that the whole is 1-Lipschitz, and 0 if the steps down leave nothing to give. An error of 0.1 % is fine.
#
# <details><summary>Hint 1</summary>
#
# Factors of maps that follow one another multiply. Which factor has each step down? It is not always $|1-ah|$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The step up multiplies by at most $(1+h_2/s)^s$. Solve for $h_2$, or find it by bisection. A step longer than 2 does not shrink.
#
# </details>


# %% tags=["answer:6.2"]
def longest_up(downs, s, a):
    """The largest h2, in s parts, that keeps the chain 1-Lipschitz after steps down of the lengths `downs`."""
    ### BEGIN SOLUTION
    left = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    return max(0.0, s * (left ** (-1 / s) - 1))
    ### END SOLUTION


# %%
if passed("6.2"):
    print(f"after h1 = 0.5, in one part: h2 = {longest_up([0.5], 1, 0.5):.4f}")
    h = torch.linspace(0.02, 1.98, 99)
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for s, style in ((1, "-"), (2, "--"), (8, ":")):
        axis.plot(h, [longest_up([t], s, 0.5) for t in h.tolist()], style, label=f"s = {s}")
    axis.set(xlabel="$h_1$ (down)", ylabel="largest $h_2$ (up)", title="one step down, $a=1/2$")
    axis.legend()
    plotting.show(
        figure,
        "The largest step up rises with the step down until 4/3 and then falls to 0 at 2. The more parts it is cut into, the shorter it must be.",
    )

# %% [markdown]
# ## Exercise 6.3
#
# *Why it matters: this is the block of the lesson, and the number that makes it safe.*
#
# Write two functions, with `steps` $=(h_1,h_2)$ and `parts` $=(s_1,s_2)$:
#
# * `pair(x, A, b, B, c, steps, parts, a)`: for points `x` of shape `(batch, d)`, first $s_1$ steps $x-\frac{h_1}{s_1}A^\top\sigma(Ax+b)$, where $\sigma$ is the leaky ReLU with slope $a$ for negative numbers,
#   then $s_2$ steps $x+\frac{h_2}{s_2}B^\top\mathrm{relu}(Bx+c)$. The matrices have the shapes `(m, d)` and `(n, d)`, the biases `(m,)` and `(n,)`.
# * `pair_bound(steps, parts, a)`: the sharp bound of Claim 6.3 for the Lipschitz constant, if $A^\top A=I$ and $\|B\|\le1$.
#
# <details><summary>Hint 1</summary>
#
# The rows of `x` are the points, so $Ax$ becomes `x @ A.T`. Which product gives $A^\top y$ for rows $y$? Check the shapes with an `A` that is not square.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.nn.functional.leaky_relu(z, a)` has the slope $a$; without the `a` it is 0.01. Typical mistakes: parts as long as the whole step; one part counted instead of all; the rule of Claim 6.2 in place of that of Claim 6.1.
#
# </details>


# %% tags=["answer:6.3"]
def pair(x, A, b, B, c, steps, parts, a):
    """s1 contractive steps with A (m, d), b (m,), then s2 expansive ones with B (n, d), c (n,), for points x (batch, d)."""
    ### BEGIN SOLUTION
    for _ in range(parts[0]):
        seen = x @ A.T + b
        x = x - steps[0] / parts[0] * torch.maximum(seen, a * seen) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * (x @ B.T + c).clamp(min=0) @ B
    return x
    ### END SOLUTION


def pair_bound(steps, parts, a):
    """The sharp bound for the pair, if A^T A = I and B has norm 1."""
    ### BEGIN SOLUTION
    down, up = (h / s for h, s in zip(steps, parts, strict=True))
    shrunk = max(abs(1 - a * down), abs(1 - down)) ** parts[0]
    return shrunk * (1 + up) ** parts[1]
    ### END SOLUTION


# %%
if passed("6.3"):
    steps, parts = (0.3, 0.141), (2, 2)
    paper = (1 - 0.5 * 0.3 + 0.15**2) * (1 + 0.141 / 2) ** 2
    print(f"the prescribed pair: sharp {pair_bound(steps, parts, 0.5):.5f}, paper {paper:.5f}")
    random = torch.Generator().manual_seed(0)
    A, B = torch.linalg.qr(torch.randn(2, 4, 4, generator=random)).Q
    b, c, x = (torch.randn(*n, generator=random) for n in ((4,), (4,), (500, 4)))
    for h2 in (0.141, 0.2, 0.4):
        slopes = norms.jacobian_norms(
            lambda z, h2=h2: pair(z, A, b, B, c, (0.3, h2), parts, 0.5), 2 * x
        )
        bound = pair_bound((0.3, h2), parts, 0.5)
        print(f"h2 = {h2}: steepest of 500 points {slopes.max():.4f} <= bound {bound:.4f}")

# %% [markdown]
# ## Exercise 6.4
#
# *Why it matters: if the optimiser may choose a step, you must be prepared for its worst choice.*
#
# In a flexible network the optimiser chooses $h_1$ between `low` and `high`. It is taken in $s_1$ parts, and each part multiplies distances by at most `factor(h1 / s1)`. You receive `factor` as a function: it may be the sharp rule, the paper's rule, or another convex function.
# After it comes a step up of length $h_2\ge0$ in $s_2$ parts, as in Claim 6.3.
# Return the largest $h_2$ for which the product of all factors is at most 1 for **every** $h_1$ in the interval; 0 if no $h_2>0$ will do. An error of 0.3 % is fine.
#
# <details><summary>Hint 1</summary>
#
# Each $h_1$ has a limit of its own. You need the smallest of them, not the largest, and not the one in the middle.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Where can a convex function be largest on an interval? Or try many $h_1$, the ends included. All parts count: `factor(h1 / s1) ** s1`.
#
# </details>


# %% tags=["answer:6.4"]
def rectangle_limit(factor, low, high, s1, s2):
    """The largest h2 (in s2 parts) that is allowed for every h1 (in s1 parts) between low and high."""
    ### BEGIN SOLUTION
    worst = max(factor(end / s1) for end in (low, high)) ** s1  # convex: largest at an end
    return max(0.0, s2 * (worst ** (-1 / s2) - 1))
    ### END SOLUTION


# %%
if passed("6.4"):

    def paper_factor(h):
        return abs(1 - h + h**2) ** 0.5

    def sharp_factor(h):
        return max(abs(1 - h / 2), abs(1 - h))

    for name, factor in (("paper", paper_factor), ("sharp", sharp_factor)):
        h2 = rectangle_limit(factor, 0.11, 1.89, 2, 1)
        print(f"{name}: for every h1 between 0.11 and 1.89, h2 may be {h2:.6f}")
    print("Stored published networks have h1 = 0.11 and h2 = 0.0548245: the limit of that rule.")

# %% [markdown]
# ## Exercise 6.5
#
# *Why it matters: after training nobody's matrix is exactly orthogonal. This is the tolerance you have.*
#
# Let $\lambda=\lambda_{\min}/\lambda_{\max}$ be the ratio of the smallest to the largest eigenvalue of $A^\top A$ (Section 6.2). Write two functions:
#
# * `eigenvalue_ratio(A)`: this ratio, for a matrix `A` of any shape `(m, d)`;
# * `least_lambda(steps, parts, a)`: the smallest $\lambda$ for which the pair `steps` $=(h_1,h_2)$, $h_2>0$, in `parts` $=(s_1,s_2)$ is still 1-Lipschitz by Claims 6.3 and 6.4, with $\|B\|\le1$ and the step down measured in units of $1/\lambda_{\max}$.
#   Return `math.inf` if even $\lambda=1$ is not enough. An error of 0.1 % is fine.
#
# <details><summary>Hint 1</summary>
#
# The eigenvalues of $A^\top A$ are the squares of singular values, and there are $d$ of them: what are the others if $m<d$?
#
# </details>
# <details><summary>Hint 2</summary>
#
# By Claim 6.4 one part of the step down has the factor $\max(|1-a\lambda h|,|1-h|)$ with $h=h_1/s_1$. It does not grow when $\lambda$ grows. So look at $\lambda=1$ first, and then bisect, or solve.
#
# </details>


# %% tags=["answer:6.5"]
def eigenvalue_ratio(A):
    """Smallest divided by largest eigenvalue of A^T A, for A (m, d)."""
    ### BEGIN SOLUTION
    spectrum = torch.linalg.eigvalsh(A.T @ A)
    return max(spectrum[0] / spectrum[-1], torch.tensor(0.0)).item()
    ### END SOLUTION


def least_lambda(steps, parts, a):
    """The smallest eigenvalue ratio with which the pair is 1-Lipschitz, or math.inf."""

    ### BEGIN SOLUTION
    def promised(ratio):
        down, up = steps[0] / parts[0], steps[1] / parts[1]
        kept = max(abs(1 - a * ratio * down), abs(1 - down)) ** parts[0]
        return kept * (1 + up) ** parts[1] <= 1

    if not promised(1.0):
        return math.inf
    too_small, enough = 0.0, 1.0
    for _ in range(50):
        middle = (too_small + enough) / 2
        too_small, enough = (too_small, middle) if promised(middle) else (middle, enough)
    return enough
    ### END SOLUTION


# %%
if passed("6.5"):
    needed = least_lambda((0.3, 0.141), (2, 2), 0.5)
    print(f"the prescribed pair needs a ratio of {needed:.4f}")
    random = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(8, 8, generator=random)).Q
    noise = torch.randn(8, 8, generator=random)
    for size in (0.0, 0.003, 0.01, 0.03, 0.1):
        ratio = eigenvalue_ratio(Q + size * noise)
        verdict = "allowed" if ratio >= needed else "not allowed"
        print(
            f"noise {size:5.3f} on each entry of an orthogonal 8 x 8 matrix: {ratio:.3f}, {verdict}"
        )
