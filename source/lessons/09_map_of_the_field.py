# %% [markdown]
# # 9. A map of the field
#
# **You will learn**
#
# * to read a stability promise: what does it compare, and in which norm?
# * seven stable families: the idea of each, what breaks it, and its use.
#
# **Before you start:** lesson 1 (flows, $\mu$, Lyapunov functions), lesson 2 (Euler, splitting), lesson 4 (layers as steps). Two results of lessons 5 and 7 are quoted.
# **Time:** MINUTES for the core path (test readers needed 70 to 90); parts marked ★ can wait; the computer needs less than one minute.

# %% tags=["setup"]
# setup

# %%
import math
from functools import partial

import torch
from torch import nn

from chapter_checks import passed, reply, your_turn
from chapter_utils import data, ode, plotting, runge_kutta
from figures import lesson_09 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
_ = torch.set_num_threads(1)  # our matrices are tiny: more threads would only wait for each other
derivative = torch.autograd.functional.jacobian
G = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # rotation by +90 degrees
I = torch.eye(2)
generator = torch.Generator().manual_seed(3)


def circle(radius):
    """Twelve points around 0."""
    around = torch.linspace(0, 2 * math.pi, 13)[:-1]
    return radius * torch.stack([around.cos(), around.sin()], 1)


# %% [markdown]
# ## 9.1 The map
#
# **Question.** A paper says that its network is "stable". What do you ask?
#
# *What it compares*. A promise may be about
#
# 1. **all pairs**: no two states move apart, or at most by a known factor $L$;
# 2. **one point**: every state approaches a given place, such as an equilibrium $x^*$;
# 3. **a frozen linearisation**: the *eigenvalues* of the Jacobian $Df(x)$, as if the state stayed at $x$ for ever;
# 4. **areas**: the *determinant* of the derivative of each layer.
#
# (A bound on the *norm* of every derivative is of kind 1.)
#
# A promise of kind 2 holds for the **whirl** $x'=-\tfrac12x+5\|x\|\,Gx$. $G$ rotates by $+90°$, so the last term only turns. Every solution comes nearer to 0: $\|x(t)\|=e^{-t/2}\|x(0)\|$.
#
# **Predict first.** Two solutions start at $(1,0)$ and $(1.2,0)$, at distance 0.2. How large does their distance become: 0.2, 0.5 or 2?

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def whirl(x):
    return -0.5 * x + 5 * x.norm(dim=-1, keepdim=True) * (x @ G.T)


whirl_times = torch.linspace(0, 6, 241)
two = ode.flow(whirl, torch.tensor([[1.0, 0.0], [1.2, 0.0]]), whirl_times)
figures.whirl_pair(whirl_times, two)
reply(
    my_guess,
    round((two[:, 0] - two[:, 1]).norm(dim=1).max().item(), 3),
    "The outer one turns faster. A promise about one point is none about pairs.",
    wrong={0.2: "near 0 they come along different ways.", 2: "before that, both are near 0."},
    within=0.1,
)

# %% [markdown]
# Of the four, only kind 1 gives a **certificate**, a radius in which no attack succeeds: if outputs differ at most $L$ times as much as their inputs, and the right class leads by a margin $g$, the radius is $g/(\sqrt2L)$ (Claim 7.1; the $\sqrt2$ because two outputs change at once).
#
# | family | idea | compares | measured in |
# |---|---|---|---|
# | 9.2 antisymmetric | weights that turn, with friction | frozen linearisation (3) | eigenvalues |
# | 9.3 Hamiltonian | layers that move like pendulums | derivative of each layer (4) | area |
# | 9.4 projection | remove what lifts a function $V$ | one point (2) | $V$ |
# | 9.5 SODEF | a penalty: feature points attract | one point (2), from nearby | largest entry of a vector |
# | 9.6 LyaNet | a loss that makes $V$ fall | one point (2) | squared distance |
# | 9.7 ELCD | a damped matrix times $x-x^*$ | one point (2) | distance |
# | 9.8 monotone equilibrium | the fixed point of one layer | all pairs of inputs (1) | distance |
#
# ## 9.2 Antisymmetric networks
#
# *Kind 3, frozen linearisation.* **Question.** Which weights allow no **growing mode**, no eigenvalue of $Df(x)$ with positive real part?
#
# Take $S=-S^\top$ and a friction $\gamma\ge0$ (Haber and Ruthotto, 1705.03341; Chang et al., 1902.09689):
#
# $$x'=\sigma\big((S-\gamma I)x+b\big),\qquad Df(x)=D(S-\gamma I),$$
#
# where the diagonal matrix $D$ holds the slopes of $\sigma$ at this state.
#
# > **Claim 9.1 (no growing mode).** If $S$ is antisymmetric, $\gamma\ge0$ and $D$ is diagonal with positive entries, all eigenvalues of $D(S-\gamma I)$ have real part $\le0$.
#
# *Idea.* New coordinates make the matrix "antisymmetric minus something positive".
#
# <details><summary>Proof</summary>
#
# Multiply by $D^{-1/2}$ from the left and by $D^{1/2}$ from the right. That keeps the eigenvalues, and gives $N=D^{1/2}(S-\gamma I)D^{1/2}$. If $Nv=\lambda v$ with $\|v\|=1$, then $\mathrm{Re}\,\lambda=\mathrm{Re}\,v^*Nv=v^*\mathrm{sym}(N)v=-\gamma\,v^*Dv\le0$, where $\mathrm{sym}(N)=\tfrac12(N+N^\top)$. $\square$
#
# </details>
#
# **What it does not say.** How fast neighbours separate is another number, $\mu=\lambda_{\max}(\mathrm{sym}\,Df)$ with $\mathrm{sym}(M)=\tfrac12(M+M^\top)$ (Section 1.3). Eigenvalues do not give it: they describe single eigenvectors, and if these are not orthogonal, a mixture may grow at first. Let one unit be nearly **saturated** (slope almost 0):

# %%
saturated = torch.diag(torch.tensor([1.0, 0.1])) @ (3 * G - 0.5 * I)  # slopes 1 and 0.1
real_part = torch.linalg.eigvals(saturated).real.max().item()
mu = ode.logarithmic_norm(saturated).item()
print(f"largest real part {real_part:.3f}, but mu = {mu:.3f}: some neighbours separate at first")
assert real_part < 0 < mu

# %% [markdown]
# **And the layers?** They are Euler steps. Where $\mu>0$, no step $h>0$ is non-expansive: a short difference along the unit vector $v$ with $v^\top Df\,v=\mu$ is multiplied by $\|(I+h\,Df)v\|\ge v^\top(I+h\,Df)v=1+h\mu$. So where units of $\tanh$ saturate, layers may expand. The next claim is about $\sigma(x)=x$, where $\mu=-\gamma$ and each layer is a matrix.
#
# > **Claim 9.2 (how thin the layers must be).** Let $\omega=\|S\|$ and $\gamma>0$. The layer $I+h(S-\gamma I)$, $h\ge0$, is non-expansive exactly for $h\le\dfrac{2\gamma}{\gamma^2+\omega^2}$.
#
# *Idea.* The matrix is *normal* (it commutes with its transpose). So its norm is the largest modulus of its eigenvalues, $|1-h\gamma\pm ih\omega|$.
#
# <details><summary>Proof</summary>
#
# The eigenvalues are $1-h\gamma\pm ih\omega_k$ with $\omega_k\le\omega$. The largest has squared modulus $(1-h\gamma)^2+h^2\omega^2$. This is at most 1 exactly if $h(\gamma^2+\omega^2)\le2\gamma$ (or $h=0$). $\square$
#
# </details>
#
# *Try this:* compute the longest step for $\gamma=1$ and $\omega=3$. Then find it with the slider.
#
# <details><summary>Answer</summary>
#
# $\tfrac2{1+9}=0.2$. A little friction is not enough for long steps: at $\gamma=0$ every step expands.
#
# </details>

# %%
omega = 3.0


def longest_step(gamma):
    return 2 * gamma / (gamma**2 + omega**2)


def layer_factor(gamma, h):
    """The layer turns and scales the plane like this complex number."""
    return complex(1 - h * gamma, h * omega)


live_antisymmetric = figures.antisymmetric_layers(layer_factor, longest_step)
live_antisymmetric.still(gamma=0.5, h=0.08)

# %%
live_antisymmetric

# %% [markdown]
# *Exercise 9.1 asks for the longest step if some growth is allowed.*
#
# ### ★ A thousand slopes
#
# Claim 9.1, measured: no growing mode if the matrix is antisymmetric, whatever the slopes.

# %%
M = torch.randn(6, 6, generator=generator)
slopes = torch.rand(1000, 6, generator=generator)
for name, S in {"antisymmetric": M - M.T, "any matrix": M}.items():
    growth = torch.linalg.eigvals(slopes[:, :, None] * (S - 0.1 * torch.eye(6))).real.max().item()
    print(f"{name:14s} a growing mode among 1000 slopes: {growth > 1e-12}")
    assert (growth > 1e-12) == (name == "any matrix")

# %% [markdown]
# ### ★ With tanh
#
# The claim is about $\sigma(x)=x$. What does $\tanh$ change?
#
# **Your turn 9.A.** Write this field for $\sigma=\tanh$, from *any* matrix `M` (d, d), with $S=M-M^\top$, a vector `b` (d,), the friction `gamma` and a batch of states `x` (B, d). Return the velocities (B, d).


# %%
def antisymmetric_field(x, M, b, gamma):
    """tanh((S - gamma I) x + b) for each row of x, with S = M - M.T."""
    ### BEGIN SOLUTION
    matrix = M - M.T - gamma * torch.eye(len(b))
    return torch.tanh(x @ matrix.T + b)  # a state is a row: matrix transposed
    ### END SOLUTION


your_turn("9.A")

# %% [markdown]
# With $\tanh$ small states grow or shrink as with $\sigma(x)=x$; larger ones grow more slowly. Four hundred layers with $h=0.1$, within the limit for $\gamma=\tfrac12$:


# %% jupyter={"source_hidden": true}
# measuring; the field is the course's own as long as yours is not passed
def course_field(x, M, b, gamma):
    return torch.tanh(x @ (M - M.T - gamma * I).T + b)


tanh_field = antisymmetric_field if passed("9.A") else course_field
for gamma in (0.0, 0.5):
    x = torch.tensor([[0.1, 0.0]])
    for _ in range(400):
        x = x + 0.1 * tanh_field(x, omega / 2 * G, torch.zeros(2), gamma)  # S = omega G
    print(f"friction {gamma}: from length 0.1 to {x.norm():.3f}")
    assert (x.norm() < 0.1) == (gamma > 0)

# %% [markdown]
# ## 9.3 Hamiltonian networks
#
# *Kind 4, areas.* **Question.** Can layers *keep* something?
#
# Split the state into positions $q$ and momenta $p$, choose an **energy** $H=H_1(q)+H_2(p)$, and follow $q'=\nabla H_2(p)$, $p'=-\nabla H_1(q)$ (Haber and Ruthotto, 1705.03341). The flow keeps $H$ (Claim 1.14); a step of a method need not.
# With $H_1(q)=\sum_i\log\cosh\big((Kq+b)_i\big)$ the gradient $\nabla H_1(q)=K^\top\tanh(Kq+b)$ looks like a layer. **Verlet's step** is half a kick (of $p$), a drift (of $q$), half a kick (Section 2.8):


# %%
def force(x, K, b):
    """Gradient of sum log cosh(K x + b) for a batch x (B, d)."""
    return torch.tanh(x @ K.T + b) @ K


def verlet(q, p, h, first, second):
    """One layer; `first` and `second` are the pairs (K, b) of H_1 and H_2."""
    p = p - h / 2 * force(q, *first)
    q = q + h * force(p, *second)
    return q, p - h / 2 * force(q, *first)


def euler(q, p, h, first, second):
    return q + h * force(p, *second), p - h * force(q, *first)


unit = (torch.ones(1, 1), torch.zeros(1))  # K = 1, b = 0: H_1 and H_2 are log cosh

# %% [markdown]
# With $H=\log\cosh q+\log\cosh p$, 200 layers from $(0.1,0)$ (each orbit has its own scale):


# %% jupyter={"source_hidden": true}
# measuring and drawing
def orbit(layer, h):
    """The points of 200 layers from (0.1, 0), and their energies relative to the first."""
    q = torch.tensor([[0.1]])
    p = torch.zeros(1, 1)
    points = [torch.cat([q, p], 1)[0]]
    for _ in range(200):
        q, p = layer(q, p, h, unit, unit)
        points.append(torch.cat([q, p], 1)[0])
    energies = torch.log(torch.cosh(torch.stack(points))).sum(1)
    return torch.stack(points), energies / energies[0]


orbits = {"Euler, h = 0.2": orbit(euler, 0.2)}
for h in (0.2, 2.1):
    orbits[f"Verlet, h = {h}"] = orbit(verlet, h)
assert (orbits["Verlet, h = 0.2"][1] - 1).abs().max() < 0.02
assert orbits["Euler, h = 0.2"][1].max() > 100 and orbits["Verlet, h = 2.1"][1].max() > 2
figures.orbits_and_energies(orbits)

# %% [markdown]
# With $h=0.2$ Verlet nearly keeps the energy. Below $h=2$ small motions stay small; at $h=2.1$ they jump across the origin, grow to five times the start and return, again and again: larger states are slower, because $\tanh$ saturates.
#
# <details><summary>Why is 2 the limit?</summary>
#
# Near the origin $H\approx\tfrac12(q^2+p^2)$, and Verlet's step is a matrix with determinant 1 and trace $2-h^2$. For $0<h<2$ its eigenvalues are a complex pair $\lambda,\bar\lambda$ with product $|\lambda|^2=1$: nothing grows. For $h>2$ they are real, $\lambda$ and $1/\lambda$, and one is larger than 1 in size.
#
# </details>
#
# **Predict first.** Go on from the end of the last picture with 200 Verlet layers of step $-2.1$. Are you back at $(0.1,0)$, yes or no?

# %%
my_guess = ...  # "yes" or "no"

# %% tags=["reveal"]
for layer, h in ((euler, 0.2), (verlet, 2.1)):
    q, p = torch.tensor([[0.1]]), torch.zeros(1, 1)
    for signed in 200 * [h] + 200 * [-h]:
        q, p = layer(q, p, signed, unit, unit)
    missed = math.hypot(q.item() - 0.1, p.item())
    print(f"{layer.__name__:6s} {h}, then {-h}: at distance {missed:.0e} from the start")
assert missed < 1e-9
reply(
    my_guess,
    "yes",
    "Backwards the same kicks and drifts come off, the last one first.",
    wrong={"no": "the step is too long for the energy, but not for the way back."},
)

# %% [markdown]
# A matrix $M$ is **symplectic** if $M^\top\Omega M=\Omega$ with $\Omega=\begin{pmatrix}0&I\\-I&0\end{pmatrix}$. In the plane this means $\det M=1$: areas are kept.
#
# > **Claim 9.3 (Verlet layers).** The derivative of a Verlet step, of any length $h$, is symplectic. The step with $-h$ undoes the step with $h$.
#
# *Idea.* Kicks and drifts are symplectic, and so is what they compose.
#
# <details><summary>Proof</summary>
#
# The derivative of a kick is $\begin{pmatrix}I&0\\-hC&I\end{pmatrix}$ with a symmetric $C$ (a Hessian). Multiply out: it is symplectic. So is a drift, and if $M$ and $N$ are, so is $MN$. Each part is undone by the same part with $-h$, and their order is the same read backwards. $\square$
#
# </details>
#
# Backpropagation needs all states. Here nobody stores them: the layers, undone, give them back.
#
# **What it does not say:** anything about distances. Here is what 200 layers with $h=0.2$ make of a disc of states:

# %% jupyter={"source_hidden": true}
around = torch.linspace(0, 2 * math.pi, 2001)[:-1]
q = 1.5 + 0.3 * around.cos()[:, None]
p = 0.3 * around.sin()[:, None]
shapes = {}
for layer in range(201):
    if layer in (0, 50, 200):
        shape = torch.cat([q, p], 1)
        shapes[layer] = shape
        area = 0.5 * (shape[:, 0] * shape[:, 1].roll(-1) - shape[:, 1] * shape[:, 0].roll(-1)).sum()
        longest = torch.cdist(shape, shape).max()
        print(f"after {layer:3d} layers: area {area:.4f}, longest distance {longest:.3f}")
        assert abs(area - 0.09 * math.pi) < 1e-4
    q, p = verlet(q, p, 0.2, unit, unit)
assert longest > 2
figures.disc_of_states(shapes)

# %% [markdown]
# The area stays, the distances do not.
#
# ### ★ Symplectic for every step
#
# Claim 9.3, measured on random layers with three positions and three momenta:

# %% jupyter={"source_hidden": true}
# measuring
K_1, K_2 = torch.randn(2, 3, 3, generator=generator)
b_1, b_2 = torch.randn(2, 3, generator=generator)
Omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(3))


def deep(x, layer, h, depth=1):
    q, p = x[None].chunk(2, dim=1)
    for _ in range(depth):
        q, p = layer(q, p, h, (K_1, b_1), (K_2, b_2))
    return torch.cat([q, p], 1)[0]


x = torch.randn(6, generator=generator)
for name, layer, h in (("Euler", euler, 0.2), ("Verlet", verlet, 0.2), ("Verlet", verlet, 2.1)):
    Dx = derivative(partial(deep, layer=layer, h=h), x)
    kept = (Dx.T @ Omega @ Dx - Omega).abs().max().item() < 1e-10
    undone = (deep(deep(x, layer, h), layer, -h) - x).norm().item() < 1e-10
    print(f"{name:6s} h = {h}: symplectic {kept}, undone by the step -h: {undone}")
    assert kept == undone == (name == "Verlet")

# %% [markdown]
# ### ★ Gradients cannot all vanish
#
# > **Claim 9.4 (the derivative cannot vanish).** A symplectic matrix has norm at least 1. Hence so has the derivative of any number of Verlet layers.
#
# *Proof.* $M^{-1}=-\Omega M^\top\Omega$ has the norm of $M$. So $1=\|MM^{-1}\|\le\|M\|^2$. $\square$ (*One* gradient may still shrink: singular values come in pairs $s$, $1/s$. See Galimberti et al., 2105.13205.)

# %% jupyter={"source_hidden": true}
# measuring
D50 = derivative(partial(deep, layer=verlet, h=0.1, depth=50), x)
norm = torch.linalg.matrix_norm(D50, 2).item()
print(f"50 Verlet layers: norm of the derivative {norm:.1f} >= 1")
print(f"a contractive flow, x' = -2x, over the same time: {math.exp(-2 * 50 * 0.1):.5f}")
assert norm >= 1

# %% [markdown]
# ## 9.4 Stable by projection
#
# *Kind 2, one point.* **Question.** Can you *repair* a field $\hat f$ so that all states tend to the origin?
#
# Take a **Lyapunov function** $V$ (Section 1.8), positive except at the origin. We want $V'=\nabla V^\top f\le-\alpha V$. Where $\nabla V^\top\hat f+\alpha V$ is positive, call it the **surplus**, and remove it along $\nabla V$ (Kolter and Manek, 2001.06116):
#
# $$f=\hat f-\nabla V\,\frac{\mathrm{relu}\big(\nabla V^\top\hat f+\alpha V\big)}{\|\nabla V\|^2}.$$
#
# **Your turn 9.B.** With paper and pencil: $\hat f(x)=(\tfrac12x_1+x_2,\;-x_1+\tfrac12x_2)$, an unstable spiral, $V(x)=\tfrac12\|x\|^2$ and $\alpha=\tfrac12$. What is $f$ at $x=(2,0)$?

# %%
### BEGIN SOLUTION
### GIVEN f_by_hand = ...  # (first component, second component)
# f_hat = (1, -2), grad V = (2, 0), V = 2: the surplus is 2 + 1 = 3
f_by_hand = (1 - 2 * 3 / 4, -2.0)  # = (-0.5, -2)
### END SOLUTION

your_turn("9.B")

# %% [markdown]
# > **Claim 9.5 (projection).** Let $V\ge0$ be differentiable, $V=0$ only at the origin, and $\nabla V\ne0$ elsewhere. Set $f(0)=0$. Every solution of the projected equation satisfies $V(x(t))\le V(x(0))\,e^{-\alpha t}$, whatever $\hat f$ is. If $\alpha>0$ and $V(x)\to\infty$ as $\|x\|\to\infty$, every solution tends to the origin.
#
# The right-hand side is *the bound* of $V$. *Idea.* Either nothing was removed and $\nabla V^\top f\le-\alpha V$, or exactly the surplus was, and $\nabla V^\top f=-\alpha V$. So $V'\le-\alpha V$.
#
# <details><summary>The rest of the proof</summary>
#
# So $e^{\alpha t}V$ does not increase. If $\alpha>0$, $V(x(t))\to0$; the solution stays in the bounded set $V\le V(x(0))$, where $V$ is small only near the origin. $\square$
#
# </details>
#
# As code, with that spiral:


# %%
def project(f_hat, V, grad_V, alpha):
    excess = torch.relu((grad_V * f_hat).sum(1) + alpha * V)
    return f_hat - grad_V * (excess / grad_V.square().sum(1).clamp_min(1e-300))[:, None]


# %% jupyter={"source_hidden": true}
# the spiral, measuring and drawing
def spiral(x):
    # each row of x is a state: times the transposed matrix
    return x @ torch.tensor([[0.5, -1.0], [1.0, 0.5]])


def half_square(x):
    return 0.5 * x.square().sum(1)


def repaired(x):
    return project(spiral(x), half_square(x), x, alpha=0.5)


def along(f, V, alpha, starts, times):
    """Paths of a field, and V on them, divided by its bound."""
    path = ode.flow(f, starts, times, max_step=0.01).detach()
    values = torch.stack([V(x) for x in path]).detach()
    return path, values / values[0] * (alpha * times).exp()[:, None]


spiral_times = torch.linspace(0, 2, 41)
spiral_along = {
    name: along(f, half_square, 0.5, circle(1.0), spiral_times)
    for name, f in (("as it is", spiral), ("projected", repaired))
}
assert (spiral_along["projected"][1] - 1).abs().max() < 1e-6
assert (spiral_along["as it is"][1][1:] > 1).all()
figures.with_and_without_projection(spiral_times, spiral_along, half_square, side=3)

# %% [markdown]
# The repaired flow sits exactly *on* the bound. As $V$ is a squared distance, distances to the origin fall at the rate $\alpha/2$.
#
# **What it does not say** is anything about pairs. *Recall* the whirl: what does the projection with $V=\tfrac12\|x\|^2$ and $\alpha=1$ remove?
#
# <details><summary>Answer</summary>
#
# Nothing: $\nabla V^\top f=-\tfrac12\|x\|^2=-V$ already (distances at the rate $\tfrac12$, $V$ at the rate 1). So a projected field may tear a pair apart.
#
# </details>
#
# *Exercise 9.2 asks you to repair any field, with any $V$.*
#
# ### ★ Steps and the bound
#
# **Predict first.** Euler steps, $h=0.1$, up to $t=5$. Does $V$ keep its bound, $e^{-5/2}$ times the first value, yes or no?

# %%
my_guess = ...  # "yes" or "no"

# %% tags=["reveal"]
for method, h in (("euler", 0.1), ("euler", 1e-3), ("rk4", 0.1)):
    end = ode.flow(repaired, torch.tensor([[1.0, 0.0]]), [0.0, 5.0], method, max_step=h)[-1]
    ratio = end.square().sum().item()
    print(
        f"{method:5s} h = {h:5}: V at t = 5 / V at t = 0: {ratio:.7f}   bound {math.exp(-2.5):.7f}"
    )
reply(
    my_guess,
    "no",
    "The field turns, and a straight step along it lands too far out.",
    wrong={"yes": "the claim is about the flow, and a step follows it only nearly."},
)

# %% [markdown]
# An Euler step gives $\|x+hf\|^2=\|x\|^2+2h\,x^\top f+h^2\|f\|^2$; the last term is the price of going straight. Even RK4 ends above the bound, by $7\cdot10^{-7}$.
#
# ### ★ A flat point of $V$
#
# **Drop "$\nabla V\ne0$ elsewhere"**, and only that. On the line, the slope $\dfrac{dV}{dx}=x(x-1)^2$ gives a $V$ that is zero at the origin only but flat at $x=1$, where $V=\tfrac1{12}$. To fall at the demanded speed there, the field would have to be infinite:

# %%
for distance in (1e-1, 1e-2, 1e-3):
    x = torch.tensor([[1 + distance]])
    V = (x**4 / 4 - 2 * x**3 / 3 + x**2 / 2)[:, 0]
    size = project(0 * x, V, x * (x - 1) ** 2, alpha=0.5).norm().item()
    print(f"at distance {distance:g} from the flat point: |f| = {size:.1f}")
assert size > 40_000

# %% [markdown]
# ### ★ Field and $V$ may be networks
#
# A network $g$ is convex if it has nonnegative weights after the first layer and a smooth, convex, nondecreasing activation (*input-convex*). Then $V(x)=g(x)-g(0)-\nabla g(0)^\top x+\varepsilon\|x\|^2$ satisfies the hypotheses of Claim 9.5. Why: $g$ lies above its tangent at 0, so $V(x)\ge\varepsilon\|x\|^2$. And the gradient of a strictly convex function is zero at its minimum only, here the origin. No training is needed for the promise:

# %% jupyter={"source_hidden": true}
# the networks, measuring and drawing
_ = torch.manual_seed(0)
network = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
first = nn.Linear(2, 16)
second = nn.Linear(16, 1)


def f_hat(x):
    """An unstable spiral, disturbed by an untrained network."""
    return x @ (0.3 * I + 2 * G).T + network(x)


def convex(x):
    """Nonnegative weights behind the first layer keep it convex."""
    return nn.functional.softplus(3 * first(x)) @ second.weight.abs().T


def convex_V(x, epsilon=0.1):
    zero = torch.zeros(1, 2, requires_grad=True)
    slope = torch.autograd.grad(convex(zero).sum(), zero, create_graph=True)[0]
    return (convex(x) - convex(zero) - x @ slope.T)[:, 0] + epsilon * x.square().sum(1)


def learned(x, alpha=1.0):
    x = x.detach().requires_grad_()
    V = convex_V(x)
    grad_V = torch.autograd.grad(V.sum(), x)[0]
    return project(f_hat(x), V, grad_V, alpha).detach()


def untrained(x):
    return f_hat(x).detach()


V_times = torch.linspace(0, 4, 41)
learned_along = {
    name: along(f, convex_V, 1.0, circle(2.0), V_times)
    for name, f in (("as it is", untrained), ("projected", learned))
}
for name, (_, ratio) in learned_along.items():
    print(f"{name:9s} largest V / bound at any time: {ratio.max():.3f}; allowed: 1")
assert learned_along["projected"][1].max() < 1 + 1e-3 < learned_along["as it is"][1].max()
figures.with_and_without_projection(V_times, learned_along, convex_V, side=4)

# %% [markdown]
# ## 9.5 SODEF: features that attract
#
# *Kind 2, one point, from nearby.* **Question.** Each class $y$ has a feature point $z_y$. How do you train $z'=f(z)$ so that disturbed features return to it?
#
# First, $f(z_y)\approx0$: a state at $z_y$ stays there. So here freezing is legitimate: the state does not leave the place where $M=Df(z_y)$ was computed, and a small disturbance $x$ follows $x'=Mx$, up to an error of the size $\|x\|^2$. Then SODEF (Kang et al., 2110.12976) adds a penalty until in each row of $M$ the diagonal entry is negative and dominates. One number tells, the logarithmic norm for the maximum norm (Section 1.7): $\mu_\infty(M)=\max_i\big(M_{ii}+\sum_{j\ne i}|M_{ij}|\big)$.
# The rows of $\begin{pmatrix}-3&1\\0.5&-2\end{pmatrix}$ give $-3+1=-2$ and $-2+0.5=-1.5$; the largest counts, $\mu_\infty=-1.5$.
#
# > **Claim 9.6 (row sums).** If $M_{ii}<0$ and $|M_{ii}|>\sum_{j\ne i}|M_{ij}|$ in every row, then $\mu_\infty(M)<0$. Hence all eigenvalues have negative real part, and solutions of $x'=Mx$ shrink in the norm $\max_i|x_i|$, at least like $e^{\mu_\infty t}$.
#
# This is Claim 1.9 for the maximum norm.
#
# Now train, with the feature points $(\pm1.5,0)$: once only $f(z_y)=0$, once also $\mu_\infty\le-2$. Then follow twelve features from the circle of radius 0.3 around each.

# %%
features = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])


def jacobians(f, z):
    return torch.func.vmap(torch.func.jacrev(f))(z)


def equilibria_only(f):
    return f(features).square().sum()


def sodef(f):
    row_sums = ode.logarithmic_norm(jacobians(f, features), math.inf)  # mu_inf at both features
    return equilibria_only(f) + torch.relu(row_sums + 2).square().sum()


# %% [markdown]
# **Predict first.** Trained for $f(z_y)=0$ only: until $t=20$, do all 24 features stay inside their circles, or do some leave?

# %%
my_guess = ...  # "all stay" or "some leave"


# %% jupyter={"source_hidden": true} tags=["reveal", "nbval-ignore-output"]
# training, measuring and drawing
def train(network, loss, steps, learning_rate=1e-2):
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    for _ in range(steps):
        value = loss(network)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()


disturbed = (features[:, None] + circle(0.3)).reshape(-1, 2)
feature_paths = {}
feature_fields = {}
print("                     largest values at z_y:          features at t = 20:")
print("                seed      |f|   mu_inf  real part  outside the circle  farthest")
for name, loss in {"equilibria only": equilibria_only, "with penalty": sodef}.items():
    for seed in range(3):
        _ = torch.manual_seed(seed)
        f = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
        train(f, loss, 600)
        with torch.no_grad():
            path = ode.flow(f, disturbed, torch.linspace(0, 20, 101), max_step=0.1)
        away = (path[-1].reshape(2, -1, 2) - features[:, None]).norm(dim=2)
        left = (away > 0.3).double().mean().item()
        matrices = jacobians(f, features).detach()
        real = torch.linalg.eigvals(matrices).real.max().item()
        rows = ode.logarithmic_norm(matrices, math.inf).max().item()
        rest = f(features).norm(dim=1).max().item()
        print(f"{name:15s} {seed:4d} {rest:8.0e} {rows:8.2f} {real:10.2f}", end="")
        print(f" {left:19.0%} {away.max():9.2f}")
        assert rest < 0.01
        if name == "with penalty":
            assert rows < -1 and away.max() < 0.05
        else:
            assert real > 0 and away.max() > 0.3
        if seed == 1:
            feature_fields[name] = f
            feature_paths[name] = path
            if name == "equilibria only":
                assert left > 0.5
figures.two_fields(feature_fields, feature_paths, features, 0.3, "seed 1, to t = 20")
reply(
    my_guess,
    "some leave",
    "Nothing in that loss speaks of what happens beside the feature points.",
    wrong={"all stay": "a state exactly at z_y stays; a disturbed one may run away."},
)

# %% [markdown]
# With the penalty all return, for all three seeds: there the two columns nearly agree. Without it some leave: in all three an eigenvalue has a positive real part. The picture shows the seed in which most leave.
#
# **What it does not say** is how small a disturbance must be: there is no radius. And the *Euclidean* norm of a disturbance may grow at first. Check $\mu_\infty$ after training.
#
# *Exercise 9.4 asks for $\mu_\infty$ and $\mu_2$, Exercise 9.5 for a norm that falls.*
#
# ### ★ Check the trained fields
#
# **Your turn 9.C.** Claim 9.6 holds for a trained field only if $\mu_\infty<0$ at its feature points. Write $\mu_\infty$ for one matrix `M` (d, d).


# %%
def mu_by_rows(M):
    """The logarithmic norm of M for the maximum norm: one number."""
    ### BEGIN SOLUTION
    own = M.diagonal()
    beside = M.abs().sum(1) - own.abs()
    return (own + beside).max()
    ### END SOLUTION


your_turn("9.C")

# %% [markdown]
# With it, the two fields of the picture:

# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
# measuring; the function is the course's own as long as yours is not passed
row_norm = mu_by_rows if passed("9.C") else partial(ode.logarithmic_norm, norm=math.inf)
for name, f in feature_fields.items():
    numbers = [float(row_norm(M)) for M in jacobians(f, features).detach()]
    print(f"{name:15s} mu_inf at the feature points: {numbers[0]:5.2f} and {numbers[1]:5.2f}")
    assert (max(numbers) < -1) == (name == "with penalty")

# %% [markdown]
# ### ★ Two norms
#
# Take $M=\begin{pmatrix}-1&c\\0&-0.1\end{pmatrix}$, with eigenvalues $-1$ and $-0.1$ for every $c$. Its first row dominates for $|c|<1$.
#
# *Try this:* from which $c$ on can the Euclidean norm grow ($\mu_2=\lambda_{\max}(\mathrm{sym}\,M)>0$)? Find it with the slider, then from $\det\mathrm{sym}\,M$.


# %%
def logarithmic_norms(c):
    """mu_inf and mu_2 of M, for a tensor of couplings."""
    return (c.abs() - 1).clamp_min(-0.1), -0.55 + 0.5 * (0.81 + c**2).sqrt()


def growth_of_disturbances(c, times):
    """The norms of exp(t M): the maximum norm, and the Euclidean one."""
    M = torch.tensor([[-1.0, c], [0.0, -0.1]])
    flows = torch.linalg.matrix_exp(times[:, None, None] * M)
    return flows.abs().sum(2).max(1).values, torch.linalg.matrix_norm(flows, 2)


live_rows = figures.growth_in_two_norms(growth_of_disturbances, logarithmic_norms)
live_rows.still(c=0.95)

# %%
live_rows

# %% [markdown]
# <details><summary>Answer</summary>
#
# $\det\mathrm{sym}\,M=0.1-c^2/4$ is negative for $c>\sqrt{0.4}=0.632$.
#
# </details>
#
# Beyond $c=1$ both norms grow at first. But every disturbance still dies out: the eigenvalues stay $-1$ and $-0.1$, only $\mu_\infty<0$ is lost. (For other matrices an eigenvalue may become positive.) In $d$ dimensions $\mu_\infty<0$ bounds Euclidean distances only up to a factor $\sqrt d$.
#
# ## 9.6 LyaNet: train the speed of convergence
#
# *Kind 2, one point.* **Question.** Why not put the Lyapunov inequality itself into the loss?
#
# Here $x$ is the *input*, and $\eta$ the *state*. It starts at 0, follows $\eta'=f(\eta,x)$ with a network $f$, and shall reach the centre $c_y$ of its class. Let $V_y(\eta)=\tfrac12\|\eta-c_y\|^2$. LyaNet (Rodriguez et al., 2202.02526) demands the rate $\kappa$: it minimises the mean, over inputs and over states drawn at random, of
#
# $$\mathrm{relu}\big(\nabla V_y(\eta)^\top f(\eta,x)+\kappa V_y(\eta)\big).$$
#
# > **Claim 9.7 (Lyapunov loss).** If this relu is zero along a whole solution, then $V_y(\eta(t))\le e^{-\kappa t}V_y(\eta(0))$.
#
# *Proof.* $V_y'\le-\kappa V_y$. So $e^{\kappa t}V_y(\eta(t))$ does not increase. $\square$
#
# The usual loss is the mean of $V_y(\eta(1))$: only the end counts. We train with either loss on two half moons of points, with $\kappa=4$ and the centres $c_0=(-1.5,0)$ and $c_1=(1.5,0)$.
#
# **Predict first.** With the usual loss the states are at their centres at $t=1$. Follow them on to $t=5$: are they near the centres, or far away?

# %%
my_guess = ...  # "near" or "far away"

# %% jupyter={"source_hidden": true} tags=["reveal", "nbval-ignore-output"]
# the two losses, training, measuring and drawing
inputs, classes = data.two_moons(300, noise=0.08, seed=0)
new_inputs, new_classes = data.two_moons(200, noise=0.08, seed=1)
centres = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])
kappa = 4.0


def potential(eta, y):
    return 0.5 * (eta - centres[y]).square().sum(1)


def lyapunov_loss(f):
    chosen = torch.randint(len(inputs), (512,))
    x, y = inputs[chosen], classes[chosen]
    box = (2 * torch.rand(256, 2) - 1) * torch.tensor([2.5, 1.5])
    tube = 1.2 * torch.rand(256, 1) * centres[y[256:]]  # where the solutions will pass
    eta = torch.cat([box, tube + 0.25 * torch.randn(256, 2)])
    slope = ((eta - centres[y]) * f(eta, x)).sum(1)
    return torch.relu(slope + kappa * potential(eta, y)).mean()


def endpoint_loss(f):
    chosen = torch.randint(len(inputs), (128,))
    eta = torch.zeros(128, 2)
    for _ in range(8):
        eta = runge_kutta.runge_kutta_step(
            lambda eta: f(eta, inputs[chosen]), eta, 1 / 8, runge_kutta.TABLEAUS["rk4"]
        )
    return potential(eta, classes[chosen]).mean()


class ControlledField(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
        )

    def forward(self, eta, x):  # f must see x: otherwise one state would have to run to two centres
        return self.layers(torch.cat([eta, x], -1))


def for_new_inputs(f, eta):
    return f(eta, new_inputs)


eta_times = torch.linspace(0, 5, 101)
decay = {}
eta_paths = {}
controlled = {}
for name, loss, steps in (("LyaNet", lyapunov_loss, 1200), ("endpoint only", endpoint_loss, 300)):
    _ = torch.manual_seed(0)
    controlled[name] = ControlledField()
    train(controlled[name], loss, steps)
    with torch.no_grad():
        field = partial(for_new_inputs, controlled[name])
        eta_paths[name] = ode.flow(field, torch.zeros(200, 2), eta_times, max_step=0.05)
    decay[name] = torch.stack([potential(eta, new_classes) for eta in eta_paths[name]])
bounds = 1.125 * torch.exp(-kappa * eta_times)
exceeded = (decay["LyaNet"] > bounds[:, None]).double().mean(1)
for name, V in decay.items():
    at_1, at_5 = (2 * V[[20, 100]].median(1).values).sqrt()
    print(f"{name:13s} median distance to the centre: {at_1:.2f} at t = 1, {at_5:.2f} at t = 5")
print(f"at t = 5 LyaNet exceeds its bound for {exceeded[100]:.0%} of the inputs")
assert decay["LyaNet"][20].median() < 1.5 * bounds[20] and decay["LyaNet"][100].mean() < 0.2
assert decay["endpoint only"][20].median() < bounds[20] and exceeded[100] > 0.5
assert decay["endpoint only"][100].median() > 1.125
assert decay["LyaNet"][100].median() > 1e-3
figures.states_and_potential(eta_times, eta_paths, decay, bounds, new_classes, centres)
reply(
    my_guess,
    "far away",
    "Nothing in that loss speaks of what happens after t = 1.",
    wrong={"near": "arriving is not staying."},
)

# %% [markdown]
# **What it does not say.** LyaNet's states stop beside the centre, while the bound goes on to 0: training makes the loss small *on average*, not zero along the solution.
#
# <details><summary>How were the two trained?</summary>
#
# Open the closed cell above the picture. `lyapunov_loss` needs no integration: half of its states fill a box, the other half lie where the solutions will pass, between 0 and a little beyond the centre. `endpoint_loss` takes eight RK4 steps and differentiates through them.
#
# </details>
#
# ## 9.7 ELCD: a rate by construction
#
# *Kind 2, one point.* **Question.** Can a *rate* be built in, without penalty and projection?
#
# Choose $x^*$ and write the field as a matrix times $x-x^*$ (*extended linearisation*; Jaffe et al., 2402.08090):
#
# $$f(x)=A(x)\,(x-x^*),\qquad A(x)=-P(x)^\top P(x)+Q(x)-Q(x)^\top-\alpha I .$$
#
# Any networks may produce $P$ and $Q$: $Q-Q^\top$ is antisymmetric, so $\mathrm{sym}\,A=-P^\top P-\alpha I$ has no eigenvalue above $-\alpha$.
#
# > **Claim 9.8 (equilibrium contraction).** Every solution satisfies $\|x(t)-x^*\|\le e^{-\alpha t}\|x(0)-x^*\|$.
#
# *Proof.* $\tfrac{d}{dt}\tfrac12\|x-x^*\|^2=(x-x^*)^\top A(x)(x-x^*)\le-\alpha\|x-x^*\|^2$. $\square$ (Here $\alpha$ is the rate of *distances*, in Section 9.4 that of $V$.)
#
# **Predict first.** States start at distance 2 from $x^*$, and $\alpha=\tfrac12$. Which largest distance can you promise for $t=2$?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
_ = torch.manual_seed(1)
entries = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 8))
goal = torch.tensor([0.5, -0.5])  # x*


def elcd(x, alpha=0.5, damp=True):
    P, Q = (3 * entries(x)).reshape(-1, 2, 2, 2).unbind(1)
    symmetric = -(P.mT @ P) - alpha * I if damp else P  # without: an arbitrary symmetric part
    return ((Q - Q.mT + symmetric) @ (x - goal)[:, :, None])[:, :, 0]


for damp in (True, False):
    with torch.no_grad():
        end = ode.flow(partial(elcd, damp=damp), goal + circle(2.0), [0.0, 2.0])[-1]
    far = (end - goal).norm(dim=1).max().item()
    print(f"sym A as above: {damp!s:5s}  largest distance {far:.3g}, bound {2 * math.exp(-1):.3g}")
    assert (far <= 2 * math.exp(-1)) == damp
reply(
    my_guess,
    0.736,
    "Every distance falls to at most e^(-1/2 * 2) = e^(-1) of the first.",
    wrong={0.271: "that is the rate 1.", 1.213: "that is the promise for t = 1."},
)

# %% [markdown]
# **What it does not say.** The authors of ELCD show contraction of *pairs* with respect to some **metric**. That is kind 1, but in this metric. A Euclidean certificate follows only if somebody also bounds how much the two ways of measuring differ. *Recall* the whirl: pairs separate. Which $P$, $Q$, $\alpha$ and $x^*$ give it?
#
# <details><summary>Answer</summary>
#
# $P=0$, $Q=\tfrac52\|x\|G$, $\alpha=\tfrac12$ and $x^*=0$: then $Q-Q^\top=5\|x\|G$.
#
# </details>
#
# <details><summary>What is a metric?</summary>
#
# It measures the length of a small step $v$ from $x$ by $\sqrt{v^\top N(x)v}$ instead of $\|v\|$, with a symmetric matrix $N(x)$ whose eigenvalues are positive. What becomes shorter in this measure may become longer in the Euclidean norm.
#
# </details>
#
# ### ★ The limit for all pairs
#
# Give the whirl any speed $s\ge0$: $f(x)=(-\tfrac12I+s\|x\|\,G)\,x$. At radius $r=\|x\|$ it has $\lambda_{\max}(\mathrm{sym}\,Df)=-\tfrac12+\tfrac12sr$ (Section 1.10).
#
# **Predict first.** How large may the speed $s$ be so that no two states of the disc $\|x\|\le1.2$ ever move apart?

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def rate_on_the_disc(s):
    """Largest eigenvalue of sym Df on the disc of radius 1.2."""
    return -0.5 + 0.6 * s


for s in (0.5, 1.0, 2.0, 5.0):
    print(f"speed {s}: largest eigenvalue of sym Df on the disc {rate_on_the_disc(s):+.2f}")
reply(
    my_guess,
    round(0.5 / 0.6, 3),
    "-1/2 + s r/2 must not be positive at r = 1.2: s <= 0.833.",
    wrong={
        1: "that is the speed for the disc of radius 1.",
        0: "a little turning is harmless, because the friction pulls states together.",
    },
    within=0.02,
)

# %% [markdown]
# *Try this:* lower the speed until the pair in the picture stays within 0.2, then until the sentence says "no two points".


# %%
def rotating_solution(radius, s, t):
    """The solution from (radius, 0), with alpha = 1/2; it can be written down."""
    r = radius * torch.exp(-0.5 * t)
    angle = s * radius * (1 - torch.exp(-0.5 * t)) / 0.5
    return torch.stack([r * angle.cos(), r * angle.sin()], 1)


live_pair = figures.rotating_pair(rotating_solution, rate_on_the_disc)
live_pair.still(s=5.0)

# %%
live_pair

# %% [markdown]
# Up to $s=1.5$ this pair stays within its first distance 0.2; up to $s=1.2$ its distance never grows. Yet other pairs separate as soon as $s>0.833$.
#
# > **Claim 9.9 (pairs).** On the disc $\|x\|\le R$ the flow of $f(x)=(-\alpha I+s\|x\|\,G)\,x$ moves no two points apart exactly if $sR\le2\alpha$ (for $s\ge0$). The largest eigenvalue of $\mathrm{sym}\,Df$ at radius $r$ is $-\alpha+\tfrac12sr$.
#
# *Proof.* With $u=x/r$: $Df=-\alpha I+srG+sr\,(Gu)u^\top$. The symmetric part of $(Gu)u^\top$ has the eigenvalues $\pm\tfrac12$. Apply Claim 1.4 on the disc, which no solution leaves. $\square$
#
# ## 9.8 Monotone equilibrium networks
#
# *Kind 1, all pairs.* **Question.** What about a network of *infinite* depth?
#
# Instead of repeating a layer for ever, an **equilibrium network** asks for a state that it leaves unchanged: $z=\mathrm{relu}(Wz+Ux+b)$. Winston and Kolter (2006.08591) choose, with any matrices $A$ and $B$,
#
# $$W=(1-m)I-A^\top A+B-B^\top,\qquad m>0,\qquad\text{so that}\quad\mathrm{sym}(I-W)=mI+A^\top A\succeq mI .$$
#
# ($X\succeq Y$, for symmetric matrices: $X-Y$ has no negative eigenvalue.) So $F(z)=(I-W)z$ is *strongly* **monotone**: $\langle F(z)-F(\bar z),z-\bar z\rangle\ge m\|z-\bar z\|^2$ for all pairs.
#
# An example with $\beta=Ux+b=(1,1)$:

# %%
A = torch.tensor([[1.0, 0.5], [0.0, 0.5]])
B = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
m = 0.5
W = (1 - m) * I - A.T @ A + B - B.T
beta = torch.tensor([1.0, 1.0])  # U x + b
print(W)

# %% [markdown]
# **Predict first.** The only solution is $z=(\tfrac23,0)$. Start at $z=0$ and repeat $z\leftarrow\mathrm{relu}(Wz+\beta)$ 100 times. How far from the solution are you? (Try four by hand.)

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
z = torch.zeros(2)
for n in range(100):
    if n < 6:
        print(f"after {n}: ({z[0]:.0f}, {z[1]:.0f})")
    z = torch.relu(W @ z + beta)
solution = torch.tensor([2 / 3, 0.0])
assert torch.allclose(solution, torch.relu(W @ solution + beta))
distance = (z - solution).norm().item()
print(f"after 100: ({z[0]:.0f}, {z[1]:.0f}), at distance {distance:.3f}")
reply(
    my_guess,
    round(distance, 3),
    "Repetition goes round in a cycle of three for ever. After 99 rounds it is at 0 again.",
    wrong={0: "repetition never finds the solution.", 0.667: "that is after 99 rounds."},
)

# %% [markdown]
# > **Claim 9.10 (one equilibrium).** If $\mathrm{sym}(I-W)\succeq mI$ with $m>0$, then $z=\mathrm{relu}(Wz+\beta)$ has exactly one solution for every $\beta$.
#
# > **Claim 9.11 (how to find it).** The iteration $z\leftarrow\mathrm{relu}\big(z-a((I-W)z-\beta)\big)$ converges to it for every $0<a<\dfrac{2m}{\|I-W\|^2}$.
#
# The iteration is called **forward–backward**: an Euler step of $z'=-(I-W)z+\beta$ (forward), then the relu, a projection onto $z\ge0$ (backward). Plain repetition is $a=1$.
#
# *Idea.* Both equations have the same solutions. One iteration multiplies squared distances by at most $1-2am+a^2\|I-W\|^2$: below 1 for these $a$, and smallest at half the bound on $a$.
#
# <details><summary>Proof of both</summary>
#
# $z=\mathrm{relu}(Wz+\beta)$ says: for each entry, $z_i\ge0$, $g_i=((I-W)z-\beta)_i\ge0$ and $z_ig_i=0$. So does $z=\mathrm{relu}(z-ag)$ for any $a>0$: the iteration has the same fixed points.
# Before the relu, which is non-expansive, a difference $d$ becomes $d-a(I-W)d$, with $\|d-a(I-W)d\|^2\le(1-2am+a^2\|I-W\|^2)\|d\|^2$. For these $a$ the factor is below 1. A contraction has exactly one fixed point. $\square$
#
# </details>
#
# **Your turn 9.D.** Write one such iteration for vectors `z` and `beta` (d,), a matrix `W` (d, d) and a number `a`.


# %%
def forward_backward(z, W, beta, a):
    """One step towards the z with z = relu(W z + beta)."""
    ### BEGIN SOLUTION
    downhill = z - W @ z - beta
    return torch.relu(z - a * downhill)
    ### END SOLUTION


your_turn("9.D")


# %% jupyter={"source_hidden": true}
# measuring and drawing; the step is the course's own as long as yours is not passed
def course_step(z, W, beta, a):
    return (z + a * (W @ z + beta - z)).clamp(min=0)


step = forward_backward if passed("9.D") else course_step


def iterations(W, beta, a, start, number=100):
    points = [torch.tensor(start)]
    for _ in range(number):
        points.append(step(points[-1], W, beta, a))
    return torch.stack(points)


def limit_of(W, m):
    return 2 * m / torch.linalg.matrix_norm(I - W, 2).item() ** 2


half = limit_of(W, m) / 2
runs = {
    "a = 1: plain repetition": (iterations(W, beta, 1.0, [0.0, 0.0]), solution),
    f"a = {half:.3f}, half the bound": (iterations(W, beta, half, [0.0, 0.0]), solution),
}
factor = math.sqrt(1 - m * half)
print(f"guaranteed up to a = {2 * half:.3f}; after 100 iterations with half of it")
print(f"at most {factor**100:.2f} of the distance is left. Measured:")
left = {}
for a in (half, 0.3, 0.7, 0.9, 1.0):
    end = iterations(W, beta, a, [0.0, 0.0])[-1]
    left[a] = ((end - solution).norm() / solution.norm()).item()
    print(f"a = {a:.3f}: {left[a]:.5f} of the distance left")
assert left[1.0] > 1 and max(left[a] for a in (0.3, 0.7, 0.9)) < 1e-9 < left[half] < factor**100
figures.forward_backward(
    runs,
    (-0.3, 2.4),
    (-0.4, 1.3),
    (8, 2.9),
    "Plain repetition goes round three states, as the arrows say, and never stops at the star. "
    "With half the bound the run ends there.",
)

# %% [markdown]
# The bound on $a$ is sufficient, not necessary: here longer steps converge faster, until they fail. The promise about all pairs:
#
# > **Claim 9.12 (sensitivity).** The equilibrium is a Lipschitz function of $x$ with constant at most $\|U\|/m$.
#
# So with $\|U\|=1$, $m=\tfrac12$, a last layer of norm 1 and a lead $g=0.4$: $L=2$, and the certified radius is $0.4/(2\sqrt2)\approx0.14$.
#
# *Idea.* By strong monotonicity $z$ changes at most $1/m$ times as much as $Ux$.
#
# <details><summary>Proof</summary>
#
# For the relu, $\langle z-\bar z,y-\bar y\rangle\ge\|z-\bar z\|^2$, where $y=Wz+Ux+b$ and $z=\mathrm{relu}(y)$. With $d=z-\bar z$ and $e=x-\bar x$ this is $\langle d,Wd+Ue\rangle\ge\|d\|^2$. So $m\|d\|^2\le\langle d,(I-W)d\rangle\le\langle d,Ue\rangle\le\|d\|\|U\|\|e\|$. $\square$
#
# </details>
#
# *Exercise 9.3 asks for the equilibria of a whole batch.*
#
# ### ★ Where the bound is sharp
#
# Take a rotation with friction, $I-W=\tfrac12I+3G$, and $\beta=(I-W)(3,3)^\top$, so that $(3,3)$ is the solution. No longer step will do here, as long as both units stay active:

# %% jupyter={"source_hidden": true}
# measuring and drawing
W_turn = 0.5 * I - 3 * G  # A = 0: I - W = m I + 3 G, and all units are active near (3, 3)
beta_turn = (I - W_turn) @ torch.tensor([3.0, 3.0])
limit = limit_of(W_turn, 0.5)
sharp_runs = {
    f"a = {part} times the bound {limit:.3f}": (
        iterations(W_turn, beta_turn, part * limit, [4.0, 3.0]),
        [3.0, 3.0],
    )
    for part in (0.7, 1.1)
}
ends = [(points[-1] - 3.0).norm().item() for points, _ in sharp_runs.values()]
assert ends[0] < 0.7 and ends[1] > 1.5
figures.forward_backward(
    sharp_runs,
    (0.9, 5.1),
    (0.9, 5.1),
    (8, 4),
    "With 0.7 times the bound the run spirals in, with 1.1 times the bound it spirals out.",
)

# %% [markdown]
# The run spirals in or out, as the bound says. *Recall:* which number of Section 9.2 is this bound?
#
# <details><summary>Answer</summary>
#
# The longest step of the antisymmetric layer with $\gamma=m=\tfrac12$: $0.10811$. While both units are active, an iteration *is* that layer.
#
# </details>
#
# ### ★ The slope from input to output
#
# With ones for active units in a diagonal $D$, zeros elsewhere, the derivative of $z$ is $(I-DW)^{-1}DU$:

# %%
patterns = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
D = torch.diag_embed(patterns)
largest = torch.linalg.matrix_norm(torch.linalg.solve(I - D @ W, D), 2).max().item()
print(f"largest slope of the four patterns {largest:.4f} <= bound |U|/m = {1 / m:.1f}")
assert largest <= 1 / m + 1e-12

# %% [markdown]
# ### ★ Without $m>0$
#
# In one dimension, $W=2$ means $I-W=-1$:

# %%
candidates = torch.tensor([0.0, 1.0, 2.0])
for shift in (-1.0, 1.0):
    solves = candidates[candidates == torch.relu(2 * candidates + shift)].tolist()
    print(f"solutions of z = relu(2z {shift:+.0f}) among 0, 1, 2: {solves}")

# %% [markdown]
# Two equilibria, or none at all ($2z+1>z$ for every $z\ge0$). And $W=0.9$ has only $m=0.1$: its slope $1/(1-0.9)=10$ attains the bound of Claim 9.12.
#
# ## 9.9 Which would I use?
#
# | you want | take | what breaks it | what it leaves open |
# |---|---|---|---|
# | a certificate | layers $x-\tau A^\top\sigma(Ax+b)$ (Section 5.1), or monotone equilibrium | too long a step $\tau$; $m\le0$ | other norms |
# | an invertible network | Hamiltonian | Euler steps | distances |
# | no growing mode | antisymmetric | weights with $S^\top\ne-S$ | distances; long steps |
# | to repair a field | projection | $\nabla V=0$ off the origin; long steps | pairs |
# | a known target and rate | ELCD | $\mathrm{sym}\,A$ not below $-\alpha$ | pairs |
# | states that stay near a target | LyaNet, SODEF | LyaNet: a loss above zero; SODEF: $f(z_y)\ne0$, $\mu_\infty\ge0$ | pairs; SODEF: large disturbances |
#
# **Your turn 9.E.** Five invented abstracts. Give the kind of each promise (1 to 4, Section 9.1). Does a certificate follow, a Euclidean radius?
#
# * A: *"From every start, the state of our network comes nearer to its goal, exponentially fast."*
# * B: *"Each of our layers has a Jacobian of determinant 1. So no volume is lost."*
# * C: *"For any two images at Euclidean distance $\delta$, we prove: the outputs differ by at most $3\delta$."*
# * D: *"At each state, all eigenvalues of the Jacobian of our field have real part below $-1$."*
# * E: *"Our network learns a metric. In it, any two solutions come nearer to each other."*

# %%
### BEGIN SOLUTION
### GIVEN kinds = ...  # five numbers 1 to 4, for A, B, C, D, E
### GIVEN certified = ...  # five times "yes" or "no": a Euclidean radius, from this alone
kinds = (2, 4, 1, 3, 1)
certified = ("no", "no", "yes", "no", "no")
# A: the whirl does this, too.  B: so do Verlet layers, and the disc becomes a thread.
# C: the radius is margin / (3 sqrt(2)).  D: the saturated unit of Section 9.2 has mu > 0.
# E: all pairs, but what the metric calls near may be far in the Euclidean norm.
### END SOLUTION

your_turn("9.E")

# %% [markdown]
# ### ★ One measured example each
#
# One example each: where $\mu=\lambda_{\max}(\mathrm{sym}\,Df)>0$, some neighbours separate at first. That breaks no promise: none of the first six says that the *Euclidean* distance of every two states of the nonlinear flow shrinks. (The whirl is an example of two families.)


# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
# measuring and drawing
def hamiltonian(x):
    return torch.stack([torch.tanh(x[1]), -torch.tanh(x[0])])


at_one = torch.tensor([1.0, 0.0])
at_start = torch.func.vmap(torch.func.jacrev(controlled["LyaNet"]))
examples = {
    "antisymmetric, one unit saturated": saturated,
    "Hamiltonian, at (2, 0)": derivative(hamiltonian, 2 * at_one),
    "SODEF, dominant rows (c = 0.95)": torch.tensor([[-1.0, 0.95], [0.0, -0.1]]),
    "LyaNet, largest of 200 starts": at_start(torch.zeros(200, 2), new_inputs).detach(),
    "projection, ELCD: the whirl, at (1, 0)": derivative(whirl, at_one),
    "monotone equilibrium, forward half": W - I,
}
measured = {name: ode.logarithmic_norm(Df).max().item() for name, Df in examples.items()}
figures.map_of_rates(measured)

# %% [markdown]
# The last bar is about $z'=-(I-W)z+\beta$, the forward half of the iteration, without the relu. The promise of Claim 9.12 is about $x\mapsto z$.
#
# ### ★ More names on the map
#
# * *Invertible residual networks* (1811.00995): $x+g(x)$ with $\mathrm{Lip}(g)<1$ can be undone. Distances are bounded from both sides, but may grow.
# * *Convex potential layers* (2110.12690): the layer of Section 5.1, from the same gradient flow, which is *weakly contracting* ($\mu\le0$). All pairs, Euclidean.
# * *Orthogonal convolutions by the Cayley transform* (2104.07167): each linear layer is orthogonal and stretches nothing.
# * *AOL* (2208.03160), *SLL* (2303.03169), *Sandwich* (2301.11526): 1-Lipschitz layers by rescaling or by a direct parametrisation; all pairs.
# * *Contractive Hamiltonian networks* (2203.11805): a field inspired by Hamilton, with one number that makes it contract.
# * *Equilibria in other norms* (2106.03194): as monotone equilibria, with $\mu_\infty$ in place of monotone.
# * *Learned monotone operators* (2012.13247): with a non-expansive network $N$, the average $\tfrac12(I+N)$ is the implicit step of a monotone operator; compare Section 8.5.
# * *Closed-loop control* (2102.01862): an optimal control, added at run time, steers disturbed features back.
# * *Randomised smoothing* (1902.02918): the other route to certificates, for *any* network. Classify many noisy copies of $x$ and take the majority. The radius holds with high probability, for the majority vote.
#
# ## Recap
#
# * Kind 1, all pairs (Claim 9.12): of the four, only this gives a certificate, in the norm in which it holds.
# * Kind 2, one point (Claim 9.5 to Claim 9.8), kind 3, frozen (Claim 9.1), and kind 4, areas (Claim 9.3): pairs may separate.
#
# ## What can go wrong in practice
#
# * *Trusting a frozen eigenvalue.* Unless the matrix is constant and normal, it controls neither distances nor steps.
# * *A promise about the flow, used for long steps.*
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * E. Haber, L. Ruthotto: *Stable architectures for deep neural networks*, arXiv 1705.03341. B. Chang et al.: *AntisymmetricRNN*, arXiv 1902.09689.
# * C. L. Galimberti et al.: *Hamiltonian deep neural networks guaranteeing non-vanishing gradients by design*, arXiv 2105.13205.
# * J. Z. Kolter, G. Manek: *Learning stable deep dynamics models*, arXiv 2001.06116.
# * Q. Kang et al.: *Stable neural ODE with Lyapunov-stable equilibrium points (SODEF)*, arXiv 2110.12976.
# * I. D. J. Rodriguez, A. D. Ames, Y. Yue: *LyaNet: a Lyapunov framework for training neural ODEs*, arXiv 2202.02526.
# * S. Jaffe et al.: *Learning neural contracting dynamics: extended linearization and global guarantees*, arXiv 2402.08090.
# * E. Winston, J. Z. Kolter: *Monotone operator equilibrium networks*, arXiv 2006.08591.
# * J. Behrmann et al.: *Invertible residual networks*, arXiv 1811.00995.
# * L. Meunier et al.: *A dynamical system perspective for Lipschitz neural networks*, arXiv 2110.12690.
# * A. Trockman, J. Z. Kolter: *Orthogonalizing convolutional layers with the Cayley transform*, arXiv 2104.07167.
# * B. Prach, C. H. Lampert: *Almost-orthogonal layers for efficient general-purpose Lipschitz networks*, arXiv 2208.03160.
# * A. Araujo et al.: *A unified algebraic perspective on Lipschitz neural networks*, arXiv 2303.03169.
# * R. Wang, I. R. Manchester: *Direct parameterization of Lipschitz-bounded deep networks*, arXiv 2301.11526.
# * M. Zakwan, L. Xu, G. Ferrari-Trecate: *Robust classification using contractive Hamiltonian neural ODEs*, arXiv 2203.11805.
# * S. Jafarpour et al.: *Robust implicit networks via non-Euclidean contractions*, arXiv 2106.03194.
# * J.-C. Pesquet et al.: *Learning maximally monotone operators for image recovery*, arXiv 2012.13247.
# * Z. Chen, Q. Li, Z. Zhang: *Towards robust neural networks via close-loop control*, arXiv 2102.01862.
# * J. M. Cohen, E. Rosenfeld, J. Z. Kolter: *Certified adversarial robustness via randomized smoothing*, arXiv 1902.02918.
