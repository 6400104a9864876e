# %% [markdown]
# # 8. Structure elsewhere: mass, symplecticity, plug-and-play
#
# So far one promise was built into networks: distances do not grow. The same recipe, *follow a flow that has the property, with a method that keeps it*,
# builds in others. Here nobody gets lost in an epidemic, a pendulum keeps swinging, and an image algorithm with a network inside must come to rest.
#
# **You will learn**
#
# * to build layers that keep a sum, or a sum and the signs, whatever their weights are;
# * which methods keep squared lengths and areas, and why a small one-step error does not make a good simulator;
# * when repeating a map must come to rest, and how fast at least;
# * to put a learned denoiser inside an algorithm (*plug-and-play*) with a proof that it converges, and to see it fail without.
#
# **Before you start:** lesson 2 (Runge–Kutta methods, splitting) and lesson 5 (the layer, averaged maps).
# **Time:** MINUTES for the core path; parts marked ★ can wait; the computer needs less than one minute.

# %% tags=["setup"]
# setup

# %%
import itertools
import math
from functools import partial

import torch
from torch import nn

from chapter_checks import passed, reply, your_turn
from chapter_utils import (
    certificates,
    data,
    image_operators,
    layers,
    norms,
    ode,
    operators,
    plain_layers,
    plotting,
    runge_kutta,
    structure,
    training,
)
from figures import lesson_08 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
torch.set_num_threads(1)  # small networks: one thread is fastest
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## 8.1 Nobody gets lost
#
# **Question.** A network predicts how an epidemic goes on. How do you make sure that it neither invents people nor loses them?
#
# The model behind our data is called **SIR**. Let $s,i,r$ be the fractions of a population that are susceptible, infected and recovered. With the mean duration of the infection as the unit of time,
#
# $$s'=-3si,\qquad i'=3si-i,\qquad r'=i.$$
#
# The right sides add up to 0, so the sum, the **mass**, stays $s+i+r=1$. Write this as an exchange. Entry $(j,l)$ of the matrix $S(x)$ is what group $l$ gives to group $j$ per unit of time, minus what it gets back.
# Then $S$ is skew-symmetric, $S^\top=-S$. What each group receives in total is the row sum: $x'=S(x)\mathbb 1$ with $\mathbb 1=(1,\dots,1)$.


# %%
def exchange(x):
    """S(x) of the SIR model for states x = (s, i, r) of shape (B, 3)."""
    s, i, _ = x.unbind(-1)
    given = torch.zeros(*x.shape, 3)
    given[..., 1, 0] = 3 * s * i  # from s to i
    given[..., 2, 1] = i  # from i to r
    return given - given.mT


def sir(x):
    return exchange(x).sum(-1)  # S(x) 1


# %% [markdown]
# > **Claim 8.1 (mass).** If $S(x)$ is skew for every $x$, every Runge–Kutta method with every step size keeps the sum $\mathbb 1^\top x$ for $x'=S(x)\mathbb 1$.
#
# *Proof.* $\mathbb 1^\top S\mathbb 1=(\mathbb 1^\top S\mathbb 1)^\top=-\mathbb 1^\top S\mathbb 1$, so it is 0. A step only adds multiples of vectors $S(X)\mathbb 1$, at the stages $X$ of the method, to $x$. $\square$
#
# Accuracy plays no role. **Drop "skew"**, forget one percent of each change of $i$, and the mass is not kept: here it ends a little above 1:

# %%
leaky = torch.tensor([1.0, 0.99, 1.0])  # one percent of each change of i is forgotten
for name, field in {"skew": sir, "not skew": lambda x: sir(x) * leaky}.items():
    for method in ("euler", "rk4"):
        x = torch.tensor([[0.9, 0.1, 0.0]])
        for _ in range(100):
            x = runge_kutta.runge_kutta_step(field, x, 0.5, runge_kutta.TABLEAUS[method])
        kept = abs(x.sum().item() - 1) < 1e-12
        print(f"{name:9s} {method:6s} mass kept to 1e-12: {kept}")
        assert kept == (name == "skew")

# %% [markdown]
# **Predict first.** Two accounts with 1 unit each. At every moment the first gives the second 1 unit per unit of time: $S=\begin{pmatrix}0&-1\\1&0\end{pmatrix}$. You take 1,000 Euler steps of $h=0.1$. What is in the first account?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
S = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
x = torch.ones(2)
for _ in range(1000):
    x = x + 0.1 * S.sum(1)
print(f"accounts: {x[0]:.1f} and {x[1]:.1f};  sum {x.sum():.1f}")
assert abs(x.sum() - 2) < 1e-9
reply(
    my_guess,
    -99,
    "Only the sum is kept. The exact solution, 1 - t and 1 + t, goes into debt as well.",
    wrong={
        0: "no rule stops an account at 0.",
        -100: "that is the change. It began with 1.",
        -999: "the step is 0.1, not 1.",
    },
    within=0.001,
)

# %% [markdown]
# **A kept sum does not mean positive entries.** Who has nothing must not go on giving. So let everyone give a share of what he *has*: group $l$ gives $\rho_{jl}(x)\,x_l$ to $j$, with rates $\rho_{jl}\ge0$.
#
# > **Claim 8.2 (positive entries).** Let $S(x)_{jl}=\rho_{jl}(x)\,x_l-\rho_{lj}(x)\,x_j$ with all rates $\ge0$, and all $x_l\ge0$. One Euler step keeps all entries $\ge0$ if $h\sum_j\rho_{jl}(x)\le1$ for every $l$.
#
# *Proof.* The new $x_l$ is $x_l\big(1-h\sum_j\rho_{jl}\big)+h\sum_j\rho_{lj}x_j$, with no negative term. $\square$
#
# **Your turn 8.A.** Write this Euler step $x+hS(x)\mathbb 1$. `x` has shape `(B, d)`, one state a row. `rates` has shape `(B, d, d)`: its entry `[b, j, l]` is the rate $\rho_{jl}$ at which group $l$ gives to group $j$ in state number `b`. Return the new states, of shape `(B, d)`.


# %%
def positive_step(x, rates, h):
    """The states (B, d) after one Euler step of the exchange with these rates (B, d, d)."""
    ### BEGIN SOLUTION
    given = rates * x[:, None, :]  # entry (j, l): what l gives to j
    return x + h * (given - given.mT).sum(-1)
    ### END SOLUTION


your_turn("8.A")

# %% [markdown]
# SIR is of this kind: the susceptible leave at the rate $3i\le3$, the infected at the rate 1. Every step $h\le\tfrac13$ is safe. A longer one need not be:

# %%
states = -torch.rand(10_000, 3, generator=generator).log()
states = states / states.sum(1, keepdim=True)  # fractions of a whole, evenly distributed
for h in (0.33, 1.5):
    lowest = (states + h * sir(states)).min().item()
    print(f"h = {h:.2f}: some entry is negative after one Euler step: {lowest < 0}")
    assert (lowest < 0) == (h > 1 / 3)

# %% [markdown]
# ### Learn it from data
#
# Now nobody tells the network the equations. It sees 400 states, and where each of them is after a time $h=0.25$. Three networks of similar size compete:
#
# * **mass-preserving**: `structure.MassPreservingBlock`, a Runge–Kutta step of $x'=\big(M(x)-M(x)^\top\big)\mathbb 1$, where the matrix $M(x)$ comes from a network;
# * **unconstrained**: the residual block $x+\text{network}(x)$;
# * **positive**: *your* step. A softmax over each column gives shares $P_{jl}\ge0$ with $\sum_jP_{jl}=1$. The rates are $\rho_{jl}=P_{jl}/h$, so Claim 8.2 holds for all weights, and the step is nothing but $x\mapsto P(x)\,x$.


# %%
class PositiveBlock(nn.Module):
    """Every group l is divided among all groups j, in shares P[j, l]."""

    def __init__(self, d, width, h):
        super().__init__()
        self.h = h
        self.network = nn.Sequential(nn.Linear(d, width), nn.Tanh(), nn.Linear(width, d * d))

    def forward(self, x):
        P = self.network(x).unflatten(1, (x.shape[1], x.shape[1])).softmax(1)
        if passed("8.A"):
            return positive_step(x, P / self.h, self.h)
        return (P @ x[:, :, None])[:, :, 0]  # the same


def residual_network(d, width):
    inside = nn.Sequential(nn.Linear(d, width), nn.Tanh(), nn.Linear(width, d))
    return plain_layers.ResidualBlock(inside)


_ = torch.manual_seed(0)
epidemic = {
    "mass-preserving": structure.MassPreservingBlock(3, width=32, h=0.25, method="heun"),
    "unconstrained": residual_network(3, width=48),
    "positive": PositiveBlock(3, width=32, h=0.25),
}

# %% [markdown]
# <details><summary>SIR without the 3?</summary>
#
# Many texts write it so. That is the same model for fractions that add up to 3. **The total is part of the model**, so all our samples have the sum 1.
#
# </details>

# %% jupyter={"source_hidden": true}
x_train = states[:400]
x_fresh = states[400:800]  # the network is judged by states it never saw
assert torch.allclose(x_train.sum(1), torch.ones(400))
x_next = ode.flow(sir, x_train, [0, 0.25])[-1]
fresh_next = ode.flow(sir, x_fresh, [0, 0.25])[-1]


def mean_square(prediction, target):
    return (prediction - target).square().mean()


def roll_out(network, x, steps):
    """States (steps + 1, B, d) of the repeated network."""
    path = [x]
    with torch.no_grad():
        for _ in range(steps):
            path.append(network(path[-1]))
    return torch.stack(path)


# %% tags=["nbval-ignore-output"]
outbreak = torch.tensor([[0.95, 0.05, 0.0]])
rolled = {}
for name, network in epidemic.items():
    training.fit(network, x_train, x_next, mean_square, epochs=300, learning_rate=0.03)
    with torch.no_grad():
        error = mean_square(network(x_fresh), fresh_next).sqrt().item()
    rolled[name] = roll_out(network, outbreak, 1000)[:, 0]
    drift = (rolled[name].sum(1) - 1).abs().max().item()
    lowest = rolled[name].min().item()
    print(f"{name:15s} one-step error {error:.4f};  in 1,000 steps:", end=" ")
    print(f"mass drifts by {drift:.1e}, smallest entry {lowest:.3f}")
    assert (drift > 0.01) if name == "unconstrained" else (drift <= 1e-10)
    assert name != "positive" or lowest >= -1e-12  # 0 up to rounding

# %% tags=["nbval-ignore-output"]
times = 0.25 * torch.arange(61.0)
true = ode.flow(sir, outbreak, times, max_step=0.05)[:, 0, 1]
figures.epidemic(times, true, rolled)

# %% [markdown]
# The one-step errors are small for all three. The difference appears when a network is repeated. Nothing brings the sum of the unconstrained one back to 1: it describes a population that does not exist.
# The mass-preserving network keeps the sum, but its exchange is not of the form of Claim 8.2, so an entry *may* become negative. Yours cannot.
#
# ### ★ In and out
#
# A network with more features than three needs a lift and a projection that keep the sum. The lift appends zeros. The projection must not just drop entries: it spreads what it drops evenly over those that stay.
#
# > **Claim 8.3 (sum-preserving projection).** Keep $n$ of $m$ entries and add $\tfrac1n$ of the sum of the others to each. This map has norm $\sqrt{m/n}$, and no linear map from $\mathbb R^m$ to $\mathbb R^n$ that keeps the sum has a smaller one. It moves no two states with the *same* sum further apart.
#
# *Proof.* For its matrix $P$ we have $PP^\top=I+\tfrac{m-n}{n^2}\mathbb 1\mathbb 1^\top$, with largest eigenvalue $1+\tfrac{m-n}n=\tfrac mn$. If $B$ keeps the sum, the entries of $B\mathbb 1\in\mathbb R^n$ add up to $m$, so $\|B\mathbb 1\|\ge m/\sqrt n=\sqrt{m/n}\,\|\mathbb 1\|$.
# If the entries of a difference $v$ add up to 0, what is dropped has the sum $-\sum_{l\le n}v_l$. So $P$ subtracts their mean from the kept entries, which makes no vector longer. $\square$
#
# So the two promises of this course nearly exclude each other here: whoever keeps the sum in fewer dimensions must expand, *but only between states of different total*. For fractions of one whole nothing is lost.

# %% jupyter={"source_hidden": true}
_ = torch.manual_seed(1)
projection = structure.SumPreservingProjection(8, 3)
block_m = structure.MassPreservingBlock(8)
wide = nn.Sequential(plain_layers.ZeroPadLift(3, 8), block_m, projection)
with torch.no_grad():
    change = (wide(x_train).sum(1) - 1).abs().max().item()
P = norms.dense_matrix(projection, (8,))
norm = torch.linalg.matrix_norm(P, 2).item()
bound = certificates.lipschitz_bound(projection, (8,))
same_sum = torch.eye(8) - torch.ones(8, 8) / 8  # takes the mean away
norm_same = torch.linalg.matrix_norm(P @ same_sum, 2).item()
print(f"the whole network keeps the mass to 1e-12: {change < 1e-12}")
print(f"norm of the projection: measured {norm:.4f} <= stated {bound:.4f}", end="   ")
print(f"between states of equal sum: {norm_same:.4f} <= 1")
assert norm <= bound and norm_same <= 1 + 1e-12 and change < 1e-12

# %% [markdown]
# *Exercise 8.5 asks you to write this projection.*
#
# ## 8.2 Lengths, areas, energies
#
# **Question.** A sum is a linear quantity. Which methods keep a quadratic one, such as $\|x\|^2$?
#
# A spinning body, free in space, has two of them. Let $x\in\mathbb R^3$ be its angular momentum and $w=(\tfrac12,1,\tfrac32)$ the inverses of its moments of inertia. Then $x'=x\times(wx)$, where $wx$ multiplies entry by entry, keeps
# the squared length $\|x\|^2$ and the energy $\tfrac12\sum_iw_ix_i^2$.

# %%
w = torch.tensor([0.5, 1.0, 1.5])


def spin(x):
    return torch.linalg.cross(x, w * x)


# %% [markdown]
# Two methods compete. RK4 has order 4. The **implicit midpoint rule** has order 2 and solves $x_1=x_0+h\,f\big(\tfrac12(x_0+x_1)\big)$ for $x_1$.
#
# **Predict first.** You take 300 steps of $h=0.3$. Which of the two changes $\|x\|^2$ less?

# %%
my_guess_2 = ...  # "rk4" or "implicit_midpoint"


# %% tags=["reveal"] jupyter={"source_hidden": true}
def length_and_energy(x):
    """|x|^2 and 1/2 sum_i w_i x_i^2."""
    return torch.stack([x.square().sum(), (w * x * x).sum() / 2])


changes = {}
for method, steps in (("euler", 30), ("rk4", 300), ("implicit_midpoint", 300)):
    x = torch.tensor([[0.6, 1.0, 0.3]])
    before = length_and_energy(x)
    for _ in range(steps):
        x = runge_kutta.runge_kutta_step(spin, x, 0.3, runge_kutta.TABLEAUS[method])
    changes[method] = (length_and_energy(x) - before).abs().max().item()
    kept = changes[method] < 1e-10
    print(
        f"{method:18s} {steps:3d} steps: |x|^2 {before[0]:.4f} -> {x.square().sum():.4f}", end="  "
    )
    print(f"length and energy kept to 10 digits: {kept}")
    assert kept == (method == "implicit_midpoint")
reply(
    my_guess_2,
    "implicit_midpoint",
    "A higher order makes the error small. It does not make it zero.",
    wrong={
        "rk4": "it is the more accurate method, but it keeps neither length nor energy exactly."
    },
)

# %% [markdown]
# > **Claim 8.4 (quadratic invariants).** Let $Q$ be symmetric and $x^\top Qf(x)=0$ for all $x$, so that the flow keeps $x^\top Qx$. A step of the implicit midpoint rule, of any size for which its equation has a solution, keeps it too.
#
# *Proof.* With $\bar x=\tfrac12(x_0+x_1)$: $x_1^\top Qx_1-x_0^\top Qx_0=(x_1-x_0)^\top Q(x_1+x_0)=2h\,f(\bar x)^\top Q\bar x=0$. $\square$
#
# **Drop "quadratic"**, and the promise is gone. The pendulum with position $q$ and momentum $p$ has the energy $H=\tfrac12p^2+1-\cos q$. The cosine is not quadratic:


# %%
def pendulum(x):
    q, p = x.unbind(-1)
    return torch.stack([p, -torch.sin(q)], -1)


def energy(x):
    return x[..., 1].square() / 2 + 1 - torch.cos(x[..., 0])


x = torch.tensor([[1.5, 0.0]])
seen = [energy(x).item()]
for _ in range(100):
    x = runge_kutta.runge_kutta_step(pendulum, x, 0.3, runge_kutta.TABLEAUS["implicit_midpoint"])
    seen.append(energy(x).item())
print(f"energy: start {seen[0]:.4f}, then between {min(seen):.4f} and {max(seen):.4f}")
assert 1e-4 < max(seen) - min(seen) < 0.01

# %% [markdown]
# It is not kept, but it does not run away. There is something else that the flow of the pendulum keeps, and some methods too: **areas**. Follow a disc of starting states under two methods that differ in one thing, the old $p$ or the new one:


# %%
def euler_step(q, p):
    return q + 0.2 * p, p - 0.2 * torch.sin(q)


def symplectic_euler_step(q, p):
    p = p - 0.2 * torch.sin(q)  # the kick
    return q + 0.2 * p, p  # the drift, with the new p


# %% jupyter={"source_hidden": true}
def enclosed(corners):
    """Area of the polygon with these corners (K, 2), by the shoelace formula."""
    q, p = corners.T
    return ((q * p.roll(-1)).sum() - (p * q.roll(-1)).sum()).abs().item() / 2


angle = torch.linspace(0, 2 * torch.pi, 401)
disc = torch.stack([0.7 * angle.cos(), 0.9 + 0.7 * angle.sin()], 1)
area_paths = {"Euler": [disc], "symplectic Euler": [disc]}
for path, step in zip(area_paths.values(), (euler_step, symplectic_euler_step), strict=True):
    for _ in range(40):
        path.append(torch.stack(step(*path[-1].T), 1))
live_areas = figures.areas(area_paths, enclosed)
live_areas.still(steps=30)

# %%
live_areas

# %% [markdown]
# Symplectic blobs become long and thin, but never larger. (Distances may grow.) What makes the difference?
#
# Let $x=(q,p)$ have $n$ positions and $n$ momenta. A map $\Phi$ with Jacobian $D\Phi$ is **symplectic** if $D\Phi^\top\,\Omega\,D\Phi=\Omega$, where $\Omega=\begin{pmatrix}0&I\\-I&0\end{pmatrix}$. Then $\det D\Phi=1$; for $n=1$ the two say the same, areas are kept.
# Compositions of symplectic maps are symplectic. So look at one *shear* only, which moves one half of the state by a function of the other: a *kick* of the momenta or a *drift* of the positions.
#
# > **Claim 8.5 (shears).** For differentiable $g$ and $h\ne0$ the kick $p\leftarrow p-h\,g(q)$ is symplectic exactly if the Jacobian of $g$ is symmetric everywhere. In particular for $g(q)=A^\top\mathrm{diag}(a)\,\sigma(Aq+b)$ with *any* $A,a,b$, any differentiable $\sigma$ and any $h$. The same holds for drifts $q\leftarrow q+h\,g(p)$.
#
# *Proof.* $D\Phi=\begin{pmatrix}I&0\\-hDg&I\end{pmatrix}$ gives $D\Phi^\top\Omega D\Phi-\Omega=\begin{pmatrix}h(Dg^\top-Dg)&0\\0&0\end{pmatrix}$. And $Dg=A^\top\mathrm{diag}(a\sigma')A$ is symmetric. $\square$
#
# No sign of $a$, no small step, no trained weights are needed.
#
# **Your turn 8.B.** Write such a kick with $\sigma=\tanh$. `q` and `p` have shape `(B, n)`, the matrix `A` has shape `(m, n)`, the vectors `a` and `b` have `m` entries. Return the new momenta, of shape `(B, n)`.


# %%
def kick(q, p, A, a, b, h):
    """The momenta p - h A' diag(a) tanh(A q + b), for each row of q and p."""
    ### BEGIN SOLUTION
    units = torch.tanh(q @ A.T + b)
    return p - h * (a * units) @ A
    ### END SOLUTION


your_turn("8.B")

# %% [markdown]
# Half a kick, a drift, half a kick: that is **Verlet's** step, a Strang splitting of order 2 (Claim 2.15). With learned $A,a,b$ it is the layer `structure.SymplecticBlock`.
# A drift is a kick with the roles of $q$ and $p$ exchanged and $-h$ for $h$. We give the layer wild weights and let automatic differentiation judge:

# %%
block = structure.SymplecticBlock(6, width=8, h=0.1)
with torch.no_grad():
    for parameter in block.parameters():
        parameter.normal_(generator=generator)


def weights(layer):
    return layer.inner.weight, layer.scale, layer.inner.bias  # A, a, b


def my_verlet(x):
    q, p = x.chunk(2, 1)
    p = kick(q, p, *weights(block.kick), 0.05)
    q = kick(p, q, *weights(block.drift), -0.1)
    return torch.cat([q, kick(q, p, *weights(block.kick), 0.05)], 1)


verlet = my_verlet if passed("8.B") else block


def simultaneous(x):
    """Kick and drift of the block from the same, old state: Euler's method."""
    q, p = x.chunk(2, 1)
    return torch.cat([q + 0.1 * block.drift(p), p - 0.1 * block.kick(q)], 1)


# %%
Omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(3))


def jacobian(network, x):
    """Jacobian matrix of a network R^d -> R^d at a point x of shape (d,)."""
    return torch.autograd.functional.jacobian(lambda z: network(z[None])[0], x)


def defect(network, x):
    """The largest entry of D' Omega D - Omega, where D is the Jacobian at x."""
    D = jacobian(network, x)
    return (D.T @ Omega @ D - Omega).abs().max().item()


x = 0.3 * torch.randn(6, generator=generator)
for name, network in {"Verlet": verlet, "simultaneous Euler": simultaneous}.items():
    determinant = torch.linalg.det(jacobian(network, x)).item()
    small = defect(network, x) < 1e-10
    print(f"{name:18s} symplectic to 10 digits: {small!s:5s}   determinant {determinant:.4f}")
assert defect(verlet, x) <= 1e-10 < defect(simultaneous, x)

# %% [markdown]
# The same weights, the same $h$; but Euler takes kick and drift from the same old state, Verlet one after the other.
# For Euler's step of the pendulum $\det D\Phi=1+h^2\cos q$. Near the bottom, where $\cos q>0$, every step blows areas up: that is what you saw.
#
# *Exercise 8.4 asks you for the step with the new value, and for what any map does to volumes.*
#
# ### ★ How large is the defect of Euler's version?
#
# > **Claim 8.6 (simultaneous Euler).** Let $D_1=Dg_1(q)$ and $D_2=Dg_2(p)$ be symmetric. For $q\leftarrow q+h\,g_2(p)$, $p\leftarrow p-h\,g_1(q)$, both from old values,
# > $D\Phi^\top\Omega D\Phi-\Omega=h^2\begin{pmatrix}0&D_1D_2\\-D_2D_1&0\end{pmatrix}$ and $\det D\Phi=\det(I+h^2D_1D_2)$.
#
# *Proof.* Multiply out with $D\Phi=\begin{pmatrix}I&hD_2\\-hD_1&I\end{pmatrix}$. $\square$

# %% jupyter={"source_hidden": true}
q, p = x.chunk(2)
D_1 = jacobian(block.kick, q)
D_2 = jacobian(block.drift, p)
predicted = 0.01 * (D_1 @ D_2).abs().max().item()
determinant = torch.linalg.det(torch.eye(3) + 0.01 * D_1 @ D_2).item()
print(f"defect: measured {defect(simultaneous, x):.5f} = predicted {predicted:.5f}", end="   ")
print(f"determinant predicted: {determinant:.4f}")
assert abs(predicted - defect(simultaneous, x)) < 1e-10

# %% [markdown]
# ### ★ A pendulum learned from data
#
# Does this matter for a *learned* map? Two networks see 400 states of the pendulum and where each is after $h=0.3$: three Verlet layers, and a residual block of similar size.
# Then each one swings for 2,000 steps, from three starts. Neither network knows the energy.

# %% jupyter={"source_hidden": true}
x_train = 2.5 * (2 * torch.rand(1600, 2, generator=generator) - 1)
swinging = x_train[energy(x_train) < 1.7]  # it swings, and does not turn over
x_train = swinging[:400]
x_fresh = swinging[400:]
x_next = ode.flow(pendulum, x_train, [0, 0.3])[-1]
fresh_next = ode.flow(pendulum, x_fresh, [0, 0.3])[-1]
starts = torch.tensor([[0.5, 0.0], [1.0, 0.0], [1.5, 0.0]])

# %%
_ = torch.manual_seed(0)
swings = {
    "symplectic": nn.Sequential(*[structure.SymplecticBlock(2, h=0.1) for _ in range(3)]),
    "unconstrained": residual_network(2, width=64),
}

# %% tags=["nbval-ignore-output"] jupyter={"source_hidden": true}
orbits = {}
spread = {}
for name, network in swings.items():
    training.fit(network, x_train, x_next, mean_square, 250, batch_size=100, learning_rate=0.05)
    with torch.no_grad():
        error = mean_square(network(x_fresh), fresh_next).sqrt().item()
    orbits[name] = roll_out(network, starts, 2000)
    ratio = energy(orbits[name]) / energy(starts)
    spread[name] = ratio.log().abs().max().item()
    print(f"{name:14s} one-step error {error:.4f};  energy / energy at the start,", end=" ")
    print(f"in 2,000 steps: from {ratio.min():.2f} to {ratio.max():.2f}")
assert spread["symplectic"] < 0.15 and spread["unconstrained"] > 2 * spread["symplectic"]

# %% tags=["nbval-ignore-output"]
circle = ode.flow(pendulum, starts[:1], torch.linspace(0, 6.4, 65))[:, 0]
first_orbits = {name: path[:, 0] for name, path in orbits.items()}
figures.learned_pendulums(first_orbits, circle, energy)

# %% [markdown]
# The one-step errors are of the same size; the energies are not. The symplectic network behaves *as if* it followed another pendulum, with a slightly different energy (as in Claim 2.13). Nothing holds the other network to any energy, and small gains or losses can add up.
#
# This is an observation for our seeds, not a theorem. What is proved is only Claim 8.5. (That a nearby energy is nearly kept for very long times is known for small steps of analytic systems: Hairer, Lubich and Wanner, chapter IX.)
#
# ### ★ Volumes
#
# In more dimensions there is a weaker promise. Give up the gradients and keep the shears:
#
# > **Claim 8.7 (volumes).** Cut $x=(u,v)$ in two. A shear $u\leftarrow u+f(v)$ with *any* differentiable $f$ has determinant 1, and so has every composition of such shears.
#
# *Proof.* The Jacobian of a shear is triangular with ones on the diagonal. $\square$
#
# This is `structure.VolumePreservingBlock`. It is the larger family, but for $n\ge2$ most of its members are not symplectic, as their shifts are no gradients (Claim 8.5). Shift both halves at the same time, and even the volume is lost:

# %% jupyter={"source_hidden": true}
_ = torch.manual_seed(3)
block_v = structure.VolumePreservingBlock(6, h=0.5)


def both_at_once(x):
    u, v = x.chunk(2, 1)
    return torch.cat([u + 0.5 * block_v.first(v), v + 0.5 * block_v.second(u)], 1)


volume = torch.linalg.det(jacobian(block_v, x)).item()
volume_lost = torch.linalg.det(jacobian(both_at_once, x)).item()
print(f"volume-preserving block: |det - 1| < 1e-12: {abs(volume - 1) < 1e-12}", end="   ")
print(f"symplectic: {defect(block_v, x) < 1e-10}, defect {defect(block_v, x):.3f}")
print(f"both halves at once:     det = {volume_lost:.4f}")
assert abs(volume - 1) < 1e-12 and abs(volume_lost - 1) > 1e-4

# %% [markdown]
# ## 8.3 ★ Design by splitting
#
# **Question.** What if the flow has two structures at once?
#
# Claim 2.14 and Claim 2.15 cut a field into parts. Read this the other way round: *choose* parts with good steps, and compose a layer from them. A gradient part calms down, a skew part turns:
#
# $$x'=-\nabla V(x)+Sx,\qquad V\text{ convex},\ \nabla V\text{ Lipschitz with constant }L,\quad S^\top=-S.$$
#
# The flow is non-expansive for every $S$. Euler's method need not be: the limit of Claim 2.9, $h\le2m/L_f^2$, shrinks with the square of the Lipschitz constant $L_f$ of the *whole* field, and without strong convexity ($m=0$) it is 0.
# So give each part its own method: Heun's for the gradient (its circle radius is 1), the implicit midpoint rule for the rotation. For $x'=Sx$ that rule is a matrix, the **Cayley transform** $C_h=(I-\tfrac h2S)^{-1}(I+\tfrac h2S)$. By Claim 8.4 it keeps $\|x\|$, so it is orthogonal for every $h$.
# In Strang's order the rotation gets half a step before and half a step after: $C_{h/2}$, with $\tfrac h4S$ in both brackets.
#
# > **Claim 8.8 (structured splitting).** The layer $x\mapsto C_{h/2}\,\Psi_h(C_{h/2}\,x)$, with $\Psi_h$ one Heun step for $-\nabla V$ and $C_{h/2}$ the Cayley transform of $S$ for half a step, is non-expansive for every skew $S$ and every $0<h\le2/L$.
#
# *Proof.* Orthogonal, non-expansive (Claim 2.5), orthogonal: Claim 2.14. $\square$


# %%
def gradient_part(x, A, b):
    """-A^T tanh(A x + b), minus the gradient of a convex potential, for x of shape (B, d)."""
    return -torch.tanh(x @ A.T + b) @ A


def cayley(S, h):
    I = torch.eye(len(S))
    return torch.linalg.solve(I - h / 2 * S, I + h / 2 * S)


def heun_step(x, h, A, b):
    field = partial(gradient_part, A=A, b=b)
    return runge_kutta.runge_kutta_step(field, x, h, runge_kutta.TABLEAUS["heun"])


def strang_layer(x, h, A, b, S):
    C = cayley(S, h / 2)  # the rotation, for a step of half the length
    return heun_step(x @ C.T, h, A, b) @ C.T


def euler_layer(x, h, A, b, S):
    return x + h * (gradient_part(x, A, b) + x @ S.T)


# %% [markdown]
# **Predict first.** Let $A$ have norm 1, so that $L=1$, and take $h=1$. How large, about, is the largest slope of *Euler's* step on the whole field if $\|S\|=100$?

# %%
my_guess_3 = ...  # a number

# %% tags=["reveal"] jupyter={"source_hidden": true}
A = torch.randn(4, 4, generator=generator)
A = A / torch.linalg.matrix_norm(A, 2)
b = torch.randn(4, generator=generator)
S = torch.randn(4, 4, generator=generator)
S = (S - S.T) / torch.linalg.matrix_norm(S - S.T, 2)
points = 2 * torch.randn(200, 4, generator=generator)
for speed in (0.1, 1.0, 10.0, 100.0):
    fast = speed * S
    whole = norms.jacobian_norms(partial(euler_layer, h=1.0, A=A, b=b, S=fast), points).max()
    split = norms.jacobian_norms(partial(strang_layer, h=1.0, A=A, b=b, S=fast), points).max()
    print(f"||S|| = {speed:5.1f}:  largest slope of Euler on the sum {whole:7.3f}", end="   ")
    print(f"of the Strang layer {split:.3f} <= 1")
    assert split <= 1 + 1e-9
reply(
    my_guess_3,
    100,
    "I + hS multiplies the length of what turns by sqrt(1 + 100^2). The Strang layer stays at 1.",
    wrong={
        1: "that is the flow, and the Strang layer.",
        10_000: "this is about the square.",
    },
)

# %% [markdown]
# Safe is not accurate: in one step a Cayley transform never turns by more than 180 degrees. At $h\|S\|=100$ the flow turns by 100 radians, $C_h$ by at most 3.10.
#
# And the order? Claim 2.15 asked for exact flows of both parts, and you saw there that Euler steps spoil it. Steps of second order do not:
#
# > **Claim 8.9 (order of the layer).** If $V$ is smooth, $n$ of these layers with $h=t/n$ approximate the flow up to a fixed time $t$ with an error of at most a constant (depending on $V$, $S$, $t$ and the starting points) times $1/n^2$. One step for each part, $C_h\,\Psi_h(x)$, has an error of order $1/n$.
#
# *Why.* Heun's and the Cayley step differ from the flows of their parts by $O(h^3)$. Strang's product of flows differs from the flow by $O(h^3)$, that of Lie by $O(h^2)$. So do the products of steps. Each layer is non-expansive for $h\le2/L$, so earlier errors are not magnified: $n$ of them just add up. $\square$

# %% jupyter={"source_hidden": true}
start = points[:20]
quick = 2 * S
exact = ode.flow(lambda x: gradient_part(x, A, b) + x @ quick.T, start, [0, 2.0])[-1]
counts = [10, 20, 40, 80, 160]
errors = {"Lie": [], "Strang": []}
for n in counts:
    lie = strang = start
    for _ in range(n):
        lie = heun_step(lie, 2.0 / n, A, b) @ cayley(quick, 2.0 / n).T
        strang = strang_layer(strang, 2.0 / n, A, b, quick)
    errors["Lie"].append((lie - exact).norm().item())
    errors["Strang"].append((strang - exact).norm().item())
for name, values in errors.items():
    ratios = [round(coarse / fine, 1) for coarse, fine in itertools.pairwise(values)]
    print(f"{name:7s} error ratio when n doubles: {ratios}")

# %%
figures.orders_of_layers(counts, errors)

# %% [markdown]
# Drop the symmetry and an order is lost; the non-expansiveness stays. Whole families of networks are designed in this way (2210.02373).
#
# *Exercise 8.2 asks for Strang steps of any two flows, and for their error ratio.*
#
# ## 8.4 Repeat until it rests
#
# **Question.** You repeat a non-expansive map, $x_{k+1}=T(x_k)$. Does it come to rest?
#
# Not always: the rotation by 90 degrees, $G=\begin{pmatrix}0&-1\\1&0\end{pmatrix}$, just turns. We watch the **residual** $\|x_{k+1}-x_k\|$, the length of the last move.
# Recall from lesson 5: $T$ is **$\alpha$-averaged**, $0<\alpha<1$, if $T=(1-\alpha)I+\alpha N$ with $N$ non-expansive. Equivalently, for all $x,y$,
# $\|Tx-Ty\|^2\le\|x-y\|^2-\tfrac{1-\alpha}\alpha\|(x-Tx)-(y-Ty)\|^2$. With $\alpha=\tfrac12$ it is called *firmly non-expansive*.
#
# > **Claim 8.10 (Krasnosel'skii and Mann).** Let $T$ on $\mathbb R^d$ be $\alpha$-averaged **with a fixed point** $x^*$. Then $x_{k+1}=T(x_k)$ converges to a fixed point from every start. The residuals never increase, and
# > $\|x_{k+1}-x_k\|\le\sqrt{\dfrac{\alpha}{(1-\alpha)(k+1)}}\;\|x_0-x^*\|$.
#
# *Idea.* With $y=x^*$ the inequality says $\tfrac{1-\alpha}\alpha\|x_{k+1}-x_k\|^2\le\|x_k-x^*\|^2-\|x_{k+1}-x^*\|^2$: each move is paid for by coming closer to $x^*$. There is only $\|x_0-x^*\|^2$ to spend, and the last move is the shortest.
#
# <details><summary>The whole proof</summary>
#
# Add this up from 0 to $k$: the right side is at most $\|x_0-x^*\|^2$. The residuals do not increase because $T$ is non-expansive, so each of the $k+1$ terms on the left is at least the last. That is the bound, and the residuals tend to 0.
# The $x_k$ stay in a ball; a limit point $z$ of them satisfies $Tz=z$; and $\|x_k-z\|$ never increases, so all of $x_k$ tends to $z$. $\square$
#
# </details>
#
# **Predict first.** The averaged map $\tfrac12(I+G)$ starts at $x_0$ with $\|x_0\|=1$. How long is $x_{20}$?

# %%
my_guess_4 = ...  # a number

# %% tags=["reveal"] jupyter={"source_hidden": true}
G = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
half = (torch.eye(2) + G) / 2
for name, T in {"G": G, "(I + G)/2": half}.items():
    x = torch.tensor([1.0, 0.0])
    for _ in range(20):
        x = T @ x
    residual = (T @ x - x).norm().item()
    print(f"{name:9s} after 20 repetitions: length {x.norm():.2g}, residual {residual:.2g}", end="")
    print("" if name == "G" else f" <= {math.sqrt(1 / 21):.2g}, the bound for alpha = 1/2")
assert residual <= math.sqrt(1 / 21)
reply(
    my_guess_4,
    2**-10,
    "(1, 0) goes to (1/2, 1/2): each step divides the length by sqrt(2).",
    wrong={
        1: "that is G alone. The average cuts a corner.",
        2**-20: "a step halves the squared length, not the length.",
        0: "it comes close to 0, but does not reach it.",
    },
)

# %% [markdown]
# $G$ itself returns after four steps, for ever: for $\alpha=1$ the factor $\tfrac{1-\alpha}\alpha$ is 0, moves cost nothing, and there is nothing to add up.
#
# **Drop "with a fixed point"**: the translation $T(x)=x+1$ is $\alpha$-averaged for every $\alpha$, since $(x-Tx)-(y-Ty)=0$. Its residual is 1 for ever. So existence is not a formality. We shall have to prove it.
#
# *Exercise 8.3 asks where, and how fast, the repetitions of an averaged rotation lead.*
#
# ### How averaged are our layers?
#
# One layer with step $c<2$ is $\tfrac c2$-averaged (Claim 5.3), and a composition of averaged maps is averaged again (Claim 5.4). A lift to more channels and back keeps $\alpha$:
#
# > **Claim 8.11 (lift and project).** Let $E$ append zeros, so that $E^\top E=I$. If $T$ is $\alpha$-averaged, so is $E^\top TE$.
#
# *Proof.* $T=(1-\alpha)I+\alpha N$ gives $E^\top TE=(1-\alpha)I+\alpha E^\top NE$, and $E^\top NE$ is non-expansive. $\square$
#
# ### ★ How averaged are two layers?
#
# For two maps Claim 5.4 gives $1-\alpha=\dfrac{(1-\alpha_1)(1-\alpha_2)}{1-\alpha_1\alpha_2}$. Divide, and you find a simple rule: the number $\dfrac\alpha{1-\alpha}$, the one in Claim 8.10, **adds up** over the layers.
#
# **Your turn 8.C.** A denoiser consists of two layers, one with $c=1.5$ and one with $c=0.5$. For which $\alpha$ is it sure to be averaged? Find the two numbers $\tfrac\alpha{1-\alpha}$, add them, and go back to $\alpha$.

# %%
### BEGIN SOLUTION
### GIVEN alpha_by_hand = ...  # a number
alpha_by_hand = (3 + 1 / 3) / (1 + 3 + 1 / 3)  # alphas 3/4 and 1/4 give 3 and 1/3
### END SOLUTION

your_turn("8.C")


# %% jupyter={"source_hidden": true}
def dense_layer(c):
    field = layers.GradientField(operators.DenseOperator(3, 3))
    return layers.NonExpansiveBlock(field, c=c)


_ = torch.manual_seed(0)
T = nn.Sequential(dense_layer(1.5), dense_layer(0.5)).eval()
alpha = 1 - (1 - 0.75) * (1 - 0.25) / (1 - 0.75 * 0.25)  # Claim 5.4
if passed("8.C"):
    alpha = alpha_by_hand + 1e-3  # it may be rounded
x, y = 3 * torch.randn(2, 20_000, 3, generator=generator)
with torch.no_grad():
    paid = (x - y).square().sum(1) - (T(x) - T(y)).square().sum(1)
    moved = ((x - T(x)) - (y - T(y))).square().sum(1)
slack = (paid - (1 - alpha) / alpha * moved).min().item()
print(f"20,000 pairs, right side minus left side is never negative: {slack >= -1e-12}")
assert slack >= -1e-12

# %% [markdown]
# ### ★ Residual denoisers
#
# A popular construction looks harmless and is not. If $T$ estimates the *noise*, the denoiser is $x-T(x)$.
#
# > **Claim 8.12 (residual denoisers).** If $T$ is $\alpha$-averaged, $I-T$ is $2\alpha$-Lipschitz, and for each $\alpha$ some $T$ attains it. So $I-T$ is sure to be non-expansive only for $\alpha\le\tfrac12$.
#
# *Proof.* $I-T=\alpha(I-N)$, and $I-N$ is 2-Lipschitz; take $N=-I$. $\square$

# %%
for c in (0.5, 1.0, 1.5):
    noise = dense_layer(c).eval()
    noise.field.bias.data.fill_(5.0)  # all units are on near 0
    slope = norms.jacobian_norms(lambda x, T=noise: x - T(x), torch.zeros(1, 3)).item()
    print(f"c = {c}, alpha = {c / 2:.2f}: slope of I - T measured {slope:.3f} <= 2 alpha = {c}")
    assert slope <= c + 1e-9

# %% [markdown]
# ## 8.5 Plug and play
#
# **Question.** Of a picture only 30 percent of the pixels are known. Which picture was it?
#
# Let $\mathrm{mask}$ be 1 for a known pixel and 0 for others, and $y$ the known pixels. The misfit $F(x)=\tfrac12\|\mathrm{mask}\cdot(x-y)\|^2$ has the gradient $\nabla F(x)=\mathrm{mask}\cdot(x-y)$, with Lipschitz constant $L_F=1$. Gradient descent on $F$ alone leaves the holes as they are.
# So between two steps we *improve the picture*, with a denoiser $D$ that has learned how digits look:
#
# $$x_{k+1}=\mathrm{clip}\big(D(x_k-\tau\nabla F(x_k))\big),\qquad \mathrm{clip}(x)=\text{every pixel brought back to }[0,1].$$
#
# This is **plug-and-play**.
#
# <details><summary>Where it comes from</summary>
#
# Venkatakrishnan et al., 2013, plugged a denoiser into another algorithm, ADMM. Ours is its *forward–backward* variant: forward along $-\nabla F$, then the denoiser where an implicit, "backward", step would stand.
#
# </details>
#
# Does it come to rest? Its parts are old friends. The gradient step is $\tfrac{\tau L_F}2$-averaged for $0<\tau<2/L_F$, because $\nabla F$ is *cocoercive*: $\langle\nabla F(x)-\nabla F(y),x-y\rangle\ge\tfrac1{L_F}\|\nabla F(x)-\nabla F(y)\|^2$ (Claim 2.4).
# The clipping finds the nearest point of a box and is firmly non-expansive, $\alpha=\tfrac12$. If $D=E^\top TE$ is built from layers with $c<2$, it is averaged by construction (Sherry et al., 2306.17332).
#
# > **Claim 8.13 (plug-and-play converges).** Let $F$ be convex and differentiable with $L_F$-Lipschitz gradient, $0<\tau<2/L_F$, and $D$ averaged. Then the iteration has a fixed point, and converges to one from every start.
#
# *Proof.* Averaged maps compose to an averaged map. It maps the box $[0,1]^d$ continuously into itself, and such a map has a fixed point there (Brouwer). Now use Claim 8.10. $\square$
#
# The clipping gives existence. And from a start in the box $\|x_0-x^*\|\le\sqrt d$, so the bound on the residuals is a number you know beforehand.
#
# **Drop "averaged".** Is a merely non-expansive $D$ not enough? It may turn the picture. Take two pixels, no data ($F=0$), and let $D$ rotate by $G$ about the middle $(\tfrac12,\tfrac12)$ of the box, or go only half of the way:


# %%
def turn(x):
    return 0.5 + (x - 0.5) @ G.T


for name, D in {"turn": turn, "half of it": lambda x: (x + turn(x)) / 2}.items():
    x = torch.tensor([0.5, 1.0])
    for _ in range(400):
        before = x
        x = D(x).clamp(0, 1)
    residual = (x - before).norm().item()
    print(f"{name:12s} residual in iteration 400: {residual:.1e}")
    assert (residual > 0.5) == (name == "turn")

# %% [markdown]
# **Your turn 8.D.** Write one iteration of plug-and-play for a batch of pictures. `x` and `y` have shape `(B, 1, height, width)`, `mask` has shape `(height, width)`; `denoiser` maps pictures to pictures. The step `tau` may be a number, or a tensor that broadcasts against `x`.


# %%
def pnp_step(x, y, mask, tau, denoiser):
    """The pictures after one iteration: gradient step, denoiser, clipping to [0, 1]."""
    ### BEGIN SOLUTION
    toward_data = x - tau * mask * (x - y)
    return denoiser(toward_data).clamp(0, 1)
    ### END SOLUTION


your_turn("8.D")


# %% jupyter={"source_hidden": true}
def plain_step(x, y, mask, tau, denoiser):
    """What runs as long as 8.D is not written."""
    return denoiser(x - tau * mask * (x - y)).clamp(0, 1)


# %% [markdown]
# Train two denoisers on noisy digits, cut to the middle $20\times20$ pixels: ours, a lift to 8 channels, four convolution layers with $c=1$, and back; and an unconstrained residual network.


# %%
class FirstChannel(nn.Module):
    """E^T for the lift that appends zero channels."""

    def forward(self, x):
        return x[:, :1]


# %% jupyter={"source_hidden": true}
@certificates.lipschitz_bound.register(FirstChannel)
def first_channel(layer, input_shape):
    """Dropping numbers stretches nothing and rounds nothing."""
    return certificates.Bound(1.0, certificates.exact)


# %%
def convolution_layer(c):
    return layers.NonExpansiveBlock(layers.GradientField(image_operators.ConvOperator(8, 8)), c=c)


_ = torch.manual_seed(0)
denoisers = {
    "averaged": nn.Sequential(
        plain_layers.ZeroPadLift(1, 8),
        *[convolution_layer(c=1.0) for _ in range(4)],
        FirstChannel(),
    ).float(),  # the images have single precision
    "unconstrained": plain_layers.ResidualBlock(
        nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 1, 3, padding=1),
        )
    ).float(),
}

# %% jupyter={"source_hidden": true}
digits = data.load_images("mnist5k")
clean = digits.train_images[:2000, :, 4:24, 4:24]
test_digits = digits.test_images[:, :, 4:24, 4:24]


def add_noise(images, generator):
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
    return images + 0.1 * noise


# %% tags=["nbval-ignore-output"] jupyter={"source_hidden": true}
slopes = {}
noisy = add_noise(test_digits[::50], generator)
for name, denoiser in denoisers.items():
    epochs, rate = (6, 1e-2) if name == "averaged" else (10, 5e-3)
    training.fit(denoiser, clean, clean, mean_square, epochs, 64, rate, augment=add_noise)
    with torch.no_grad():
        error = mean_square(denoiser(noisy), test_digits[::50]).sqrt().item()
    slopes[name] = norms.jacobian_norms(denoiser, noisy[:6]).max().item()
    print(f"{name:14s} pixel error 0.100 -> {error:.3f}", end="   ")
    print(f"largest measured slope {slopes[name]:.3f}")
bound = certificates.lipschitz_bound(denoisers["averaged"], (1, 20, 20))
print(f"guaranteed for the averaged denoiser: {bound:.6f}")
assert slopes["averaged"] <= bound <= 1 + 1e-6 and slopes["unconstrained"] > 1.02

# %% [markdown]
# As a denoiser the free network is better. Its slope exceeds 1, so Claim 8.13 does not speak about it. Now the whole algorithm, repeated 200 times with $\tau=1.9$, just inside the limit 2. The $\alpha$'s of clipping, four layers and gradient step compose by Claim 5.4, two at a time: $1-\alpha=\dfrac{(1-\alpha_1)(1-\alpha_2)}{1-\alpha_1\alpha_2}$.

# %% tags=["nbval-ignore-output"]
step = pnp_step if passed("8.D") else plain_step


def plug_and_play(denoiser, y, mask, tau, iterations):
    """Last picture, and the residual of each picture in each iteration, shape (iterations, B)."""
    x = y
    residuals = []
    with torch.no_grad():
        for _ in range(iterations):
            new = step(x, y, mask, tau, denoiser)
            residuals.append((new - x).flatten(1).norm(dim=1))
            x = new
    return x, torch.stack(residuals)


def compose(*alphas):
    """How averaged a composition is (Claim 5.4)."""
    total = alphas[0]
    for alpha in alphas[1:]:
        total = 1 - (1 - total) * (1 - alpha) / (1 - total * alpha)
    return total


def alpha_of_iteration(tau):
    return compose(0.5, *[0.5] * 4, tau / 2)  # clipping, four layers, gradient step


def residual_bound(tau):
    """Claim 8.10 for the iterations 1 to 200, from a start in the box of 400 pixels."""
    alpha = alpha_of_iteration(tau)
    return torch.sqrt(alpha * 400 / ((1 - alpha) * torch.arange(1, 201)))


# %% jupyter={"source_hidden": true}
mask = (torch.rand(20, 20, generator=torch.Generator().manual_seed(3)) < 0.3).float()
pictures = test_digits[[110, 310, 820, 950]]
known = mask * pictures
assert int(mask.sum()) == 113

# %% [markdown]
# Both denoisers restore four digits of which 113 of 400 pixels are known. "Error" is the root of the mean square at the *unknown* pixels, averaged over the four. Removing a little noise well and filling large holes are two tasks:

# %% tags=["nbval-ignore-output"] jupyter={"source_hidden": true}
restored = {}
last_move = {}
missed = {}
limits = residual_bound(1.9)
assert abs(alpha_of_iteration(1.9) - 0.96) < 1e-12
for name, denoiser in denoisers.items():
    restored[name], residuals = plug_and_play(denoiser, known, mask, 1.9, 200)
    last_move[name] = residuals[-1]
    wrong_by = (restored[name] - pictures)[:, 0, mask == 0]
    missed[name] = wrong_by.square().mean(1).sqrt()
    rises = (residuals[1:] > residuals[:-1] + 1e-5).any().item()
    print(f"{name:14s} error {missed[name].mean():.2f}   largest residual after", end=" ")
    print(f"10 iterations {residuals[9].max():.1e}, after 200 {residuals[-1].max():.1e}", end="   ")
    print(f"it rises at some time: {rises}")
    if name == "averaged":
        print(f"{'bound':>26s} {limits[9]:47.1e} {limits[-1]:19.1e}")
        assert not rises and (residuals <= limits[:, None]).all() and residuals[-1].max() < 1e-3

# %% tags=["nbval-ignore-output"]
figures.restored_digits(known, mask, restored, missed, pictures)

# %% [markdown]
# As proved, the averaged denoiser came to rest, and its residual never rose. (With $\alpha=0.96$ the bound is loose: at first it says less than the trivial $\sqrt{400}=20$.)
# For the other denoiser the theory is silent: pictures may settle, by luck, or not. **The condition is sufficient, not necessary.** And restless does not mean ugly: to the eye the darker pictures of the unconstrained denoiser may look better than their error says.
#
# Now **drop $\tau<2/L_F$**. At a known pixel one gradient step multiplies the distance to $y$ by $|1-\tau|$. For $\tau>2$ it overshoots by more than it was away, and only the denoiser and the clipping can hold against it.
# Move the slider across 2. (Each position was computed beforehand, for the digit on which the unconstrained denoiser is most restless.)

# %% tags=["nbval-ignore-output"] jupyter={"source_hidden": true}
tau_grid = [round(0.1 * k, 1) for k in range(1, 31)]
most_restless = last_move["unconstrained"].argmax()
puzzle = known[most_restless].expand(len(tau_grid), -1, -1, -1)
tau_column = torch.tensor(tau_grid, dtype=puzzle.dtype)[:, None, None, None]
pnp_results = {}
for name, denoiser in denoisers.items():
    pnp_results[name] = plug_and_play(denoiser, puzzle, mask, tau_column, 200)
live_plug = figures.plug_and_play(tau_grid, pnp_results, alpha_of_iteration, residual_bound)
live_plug.still(tau=1.9)

# %%
live_plug

# %% tags=["nbval-ignore-output"] jupyter={"source_hidden": true}
final = pnp_results["averaged"][1][-1]
for tau in (0.5, 1.0, 1.9, 2.5, 3.0):
    print(f"tau = {tau}: residual of the averaged denoiser {final[tau_grid.index(tau)]:.1e}")
assert all(final[tau_grid.index(tau)] < 1e-3 for tau in (0.5, 1.0, 1.9))
assert all(final[tau_grid.index(tau)] > 0.05 for tau in (2.5, 3.0))

# %% [markdown]
# Inside the limit the averaged denoiser always rests. A little outside it may still rest, for this denoiser contracts a bit. At $2.5$ the picture still flickers after 200 iterations.
# Inside, look at the pictures: the resting place *depends* on $\tau$. The longer the step, the more the data count against the denoiser. Convergence says that an answer exists, not that it is the right one.
#
# *Exercise 8.1 asks how averaged the whole iteration is and when it is sure to rest, Exercise 8.6 asks for plug-and-play with a blur in place of the mask.*
#
# ## Recap
#
# * The recipe is always the same: a flow with the property, and a method that keeps it. Then all weights are allowed.
# * A skew exchange keeps the sum (Claim 8.1), for any Runge–Kutta method. Shares of what one *has* keep entries positive as well (Claim 8.2).
# * The implicit midpoint rule keeps quadratic quantities (Claim 8.4); Euler and RK4 do not. Gradient kicks and drifts are symplectic (Claim 8.5), but not both at once.
# * Averaged maps with a fixed point come to rest at a known speed (Claim 8.10); a lift and back keep them averaged (Claim 8.11).
# * Plug-and-play with an averaged denoiser and clipping converges for $\tau<2/L_F$ (Claim 8.13), and can fail beyond, or with another denoiser.
#
# <details><summary>Of the parts marked ★</summary>
#
# * A projection that keeps the sum must expand, but only between states of different total (Claim 8.3).
# * Kick and drift at the same time have a defect of size $h^2$ (Claim 8.6). Other shears still keep volumes (Claim 8.7). In our runs the energy of a learned symplectic network stayed near its start. That was an observation.
# * Structured steps compose to non-expansive layers, however fast the rotation (Claim 8.8), and symmetric compositions are of second order (Claim 8.9).
# * Residual denoisers may not even be non-expansive (Claim 8.12).
#
# </details>
#
# ## What can go wrong in practice
#
# * *Samples with the wrong total.* The network spends its capacity on populations that never occur.
# * *Old values instead of new ones.* `q, p = q + h * f(p), p - h * g(q)` looks like the symplectic method. It is simultaneous Euler.
#
# <details><summary>Five more</summary>
#
# * *An unconstrained layer among constrained ones.* A lift or a scaling that is free to grow makes the promise of all the others worthless. Ask `lipschitz_bound` about the whole denoiser, not about its layers.
# * *The square of a norm used as the norm*, or an estimate from below: then $c$, and with it $\alpha$, is not what you think.
# * *A factor left out of the product.* Three layers of norm 7, forgotten between the blocks, and a bound says 1 where $7^3=343$ may be true.
# * *A step for the wrong operator.* $L_F$ belongs to the forward operator in use: 1 for a mask, $\|B\|^2$ for a blur $B$, and it changes when the data are rescaled.
# * *A denoiser in training mode.* Its steps come from estimates; call `eval()` before you iterate (`training.fit` does).
#
# </details>
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * E. Celledoni, D. Murari, B. Owren, C.-B. Schönlieb, F. Sherry: *Dynamical systems' based neural networks*, arXiv 2210.02373 (mass-preserving, symplectic and volume-preserving networks).
# * F. Sherry, E. Celledoni, M. J. Ehrhardt, D. Murari, B. Owren, C.-B. Schönlieb: *Designing stable neural networks using convex analysis and ODEs*, arXiv 2306.17332 (averaged denoisers in plug-and-play).
# * E. Hairer, C. Lubich, G. Wanner: *Geometric Numerical Integration*, Springer, 2006.
# * S. V. Venkatakrishnan, C. A. Bouman, B. Wohlberg: *Plug-and-play priors for model based reconstruction*, 2013.
# * H. H. Bauschke, P. L. Combettes: *Convex Analysis and Monotone Operator Theory in Hilbert Spaces*, Springer, 2017 (averaged maps, Krasnosel'skii–Mann).
