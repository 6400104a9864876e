# %% [markdown]
# # 9. A map of the field
#
# There is more than one way to make a network stable. This lesson is the map: seven families, what each of them promises, to whom, in which norm, and what breaks the promise.
#
# **You will learn**
#
# * to read a stability promise: about *all pairs* of states, about *one point*, or about a *frozen* linearisation;
# * seven families, each with one idea, one picture and one way to break it;
# * which family you would use for which purpose.
#
# **Before you start:** lessons 1 and 2, and Section 5.1.
# **Time:** MINUTES for the core path; parts marked ★ can wait; the computer needs less than one minute.

# %% tags=["setup"]
# setup

# %%
import math
from functools import partial

import torch
from torch import nn
from tqdm.auto import tqdm

from chapter_checks import passed, reply, your_turn
from chapter_utils import data, ode, plotting, runge_kutta
from figures import lesson_09 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
_ = torch.set_num_threads(1)  # our matrices are tiny: more threads would only wait for each other
G = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # rotation by +90 degrees
I = torch.eye(2)
generator = torch.Generator().manual_seed(3)

# %% [markdown]
# ## 9.1 The map
#
# **Question.** A paper says that its network is "stable". What do you ask?
#
# Ask *who is compared with whom*. A promise may be about
#
# * **all pairs**: no two states move apart, or at most by a known factor. An attack compares two inputs, so a certificate (a radius in which no attack can succeed, Section 7.3) needs this one;
# * **one point**: every state approaches a given place, such as an equilibrium $x^*$;
# * a **frozen** linearisation: the Jacobian $Df(x)$ at one state, as if the state stayed there for ever.
#
# Here are the seven families. All symbols are explained in their sections; $\mathrm{sym}(M)=\tfrac12(M+M^\top)$, and $A\succeq B$ says that $A-B$ has no negative eigenvalue.
#
# | | family | how it is built | what it promises |
# |---|---|---|---|
# | 1 | antisymmetric | $x'=\sigma((S-\gamma I)x+b)$, $S^\top=-S$ | $Df$ has no eigenvalue with positive real part |
# | 2 | Hamiltonian | $q'=\partial H/\partial p$, $p'=-\partial H/\partial q$, Verlet steps | volumes kept, no information lost |
# | 3 | projection | any field, minus what violates $V'\le-\alpha V$ | $V(x(t))\le e^{-\alpha t}V(x(0))$ |
# | 4 | SODEF | a penalty on $Df$ at feature points $z_y$ | slightly disturbed features return to $z_y$ |
# | 5 | LyaNet | $V_y'\le-\kappa V_y$ as training loss | $V_y$ falls like $e^{-\kappa t}$ |
# | 6 | ELCD | $f(x)=A(x)(x-x^*)$, $\mathrm{sym}\,A\preceq-\alpha I$ | $\lVert x(t)-x^*\rVert\le e^{-\alpha t}\lVert x(0)-x^*\rVert$ |
# | 7 | monotone equilibrium | $z=\mathrm{relu}(Wz+Ux+b)$, $\mathrm{sym}(I-W)\succeq mI$ | one $z$ for each input $x$, and $z(x)$ is Lipschitz |
#
# **Predict first.** An attacker moves an input from $x$ to $y$. Only one of the seven promises speaks about two arbitrary inputs. In which row is it?

# %%
my_guess = ...  # a number from 1 to 7

# %% tags=["reveal"]
compared = {
    1: "eigenvalues of a Jacobian at one state: it compares nobody.",
    2: "the derivative of a step: volumes are kept, but a set may become long and thin.",
    3: "a state with the origin. Two states may separate on their way.",
    4: "a feature with states very near to it.",
    5: "a state with the centre of its class, not with another state.",
    6: "a state with the equilibrium, not with another state.",
    7: "all pairs of inputs.",
}
for row, who in compared.items():
    print(f"{row}: {who}")
(about_pairs,) = [row for row, who in compared.items() if "all pairs" in who]
reply(my_guess, about_pairs, "A Lipschitz constant compares all pairs.", wrong=compared)

# %% [markdown]
# Now the whole map. Read its second column; come back to the rest after each section. ($h$ is the step of a method, $\omega=\|S\|$.)
#
# | family | compares | measured in | what breaks it, or is not said | use it for |
# |---|---|---|---|---|
# | antisymmetric | frozen linearisation | no norm | layers: $h>\tfrac{2\gamma}{\gamma^2+\omega^2}$ (Claim 9.2); distances: saturated units | recurrent networks |
# | Hamiltonian | derivative of a step | no norm | Euler steps; too long Verlet steps break only the near-conservation of $H$ | very deep or reversible networks |
# | projection | state and origin | $V$ | flat points of $V$; long steps; nothing about pairs | repairing a given field |
# | SODEF | feature and its neighbours | maximum norm | large disturbances; a penalty above zero | attracting features |
# | LyaNet | state and centre of its class | $V_y$ | loss not zero everywhere | outputs that stay right |
# | ELCD | state and $x^*$ | Euclidean | another symmetric part; nothing about pairs (Claim 9.9) | motion to a known target |
# | monotone equilibrium | all pairs | Euclidean | $m\le0$; step $a$ too long (Claim 9.11) | certificates |
# | *layer of Section 5.1* | all pairs | Euclidean | $\tau$ too long, untied weights | certificates |
#
# ## 9.2 Antisymmetric networks
#
# **Question.** Can the weights be chosen so that the linearisation never has a **growing mode**, that is, an eigenvalue with positive real part?
#
# Take a matrix $S=-S^\top$ and a little friction $\gamma\ge0$ (Haber and Ruthotto, 1705.03341; Chang et al., 1902.09689):
#
# $$x'=\sigma\big((S-\gamma I)x+b\big),\qquad Df(x)=D(S-\gamma I),$$
#
# where $D$ is diagonal and holds the slopes of $\sigma$ at this state.
#
# **Your turn 9.A.** Write this field for $\sigma=\tanh$. Given are *any* matrix `M` (d, d), a vector `b` (d,), the friction `gamma` and a batch of states `x` (B, d). Build $S=M-M^\top$. Return the velocities (B, d).


# %%
def antisymmetric_field(x, M, b, gamma):
    """tanh((S - gamma I) x + b) for each row of x, with S = M - M'."""
    ### BEGIN SOLUTION
    matrix = M - M.T - gamma * torch.eye(len(b))
    return torch.tanh(x @ matrix.T + b)  # rows: (matrix x)' = x' matrix'
    ### END SOLUTION


your_turn("9.A")

# %% [markdown]
# > **Claim 9.1 (no growing mode).** If $S$ is antisymmetric, $\gamma\ge0$ and $D$ is diagonal with positive entries, all eigenvalues of $D(S-\gamma I)$ have real part $\le0$.
#
# *Proof.* Multiply by $D^{-1/2}$ from the left and by $D^{1/2}$ from the right. That keeps the eigenvalues, and gives $N=D^{1/2}(S-\gamma I)D^{1/2}$. If $Nv=\lambda v$ with $\|v\|=1$, then $\mathrm{Re}\,\lambda=\mathrm{Re}\,v^*Nv=v^*\mathrm{sym}(N)v=-\gamma\,v^*Dv\le0$. $\square$

# %%
M = torch.randn(6, 6, generator=generator)
slopes = torch.rand(1000, 6, generator=generator)
for name, S in {"antisymmetric": M - M.T, "any matrix": M}.items():
    growth = torch.linalg.eigvals(slopes[:, :, None] * (S - 0.1 * torch.eye(6))).real.max().item()
    print(f"{name:14s} a growing mode among 1000 slopes: {growth > 1e-12}")

# %% [markdown]
# **What it does not say.** Distances are the job of $\mu=\lambda_{\max}(\mathrm{sym}\,Df)$, the fastest rate at which neighbours separate (Section 1.3). If one unit is nearly **saturated** (its slope is almost 0), $D=\mathrm{diag}(1,\,0.1)$, then $\mu>0$: neighbours separate for a while.

# %%
K = 3 * G - 0.5 * I  # S - gamma I with gamma = 1/2
saturated = torch.diag(torch.tensor([1.0, 0.1])) @ K
mu = ode.logarithmic_norm(saturated)
print(f"largest real part {torch.linalg.eigvals(saturated).real.max():.3f}, but mu = {mu:.3f}")
b = torch.tensor([0.0, math.atanh(math.sqrt(0.9))])  # the slope of tanh is 0.1 there
direction = torch.linalg.eigh(0.5 * (saturated + saturated.T)).eigenvectors[:, -1]
pair = torch.stack([torch.zeros(2), 1e-3 * direction])
later = ode.flow(lambda x: torch.tanh(x @ K.T + b), pair, [0.0, 0.1])[-1]
stretch = ((later[1] - later[0]).norm() / 1e-3).item()
print(f"after t = 0.1 two neighbours are {stretch:.2f} times as far apart")
assert stretch > 1.05

# %% [markdown]
# **And the layers?** A network takes Euler steps. Look at $\sigma(x)=x$: each layer is the matrix $I+h(S-\gamma I)$.
#
# > **Claim 9.2 (how thin the layers must be).** Let $\omega=\|S\|$ and $\gamma>0$. The layer $I+h(S-\gamma I)$, $h\ge0$, is non-expansive exactly for $h\le\dfrac{2\gamma}{\gamma^2+\omega^2}$.
#
# *Proof.* The matrix is normal (it commutes with its transpose), with eigenvalues $1-h\gamma\pm ih\omega_k$ and $\omega_k\le\omega$. The largest has squared modulus $(1-h\gamma)^2+h^2\omega^2$. $\square$
#
# Without friction no step is short enough (Claim 2.3). *Try this:* set the friction to 1 and find the longest allowed step with the slider alone; then compute it.

# %%
omega = 3.0


def longest_step(gamma):
    return 2 * gamma / (gamma**2 + omega**2)


def layer_factor(gamma, h):
    """The layer turns and scales the plane like this complex number."""
    return complex(1 - h * gamma, h * omega)


live_antisymmetric = figures.antisymmetric_layers(layer_factor, longest_step)
live_antisymmetric.still(gamma=0.5, h=0.1)

# %%
live_antisymmetric

# %% [markdown]
# With $\tanh$ the growth is only slower. Four hundred layers with $h=0.1$, within the limit for $\gamma=\tfrac12$:

# %%
for gamma in (0.0, 0.5):
    x = torch.tensor([[0.1, 0.0]])
    for _ in range(400):
        x = x + 0.1 * torch.tanh(x @ (omega * G - gamma * I).T)
    print(f"friction {gamma}: from length 0.1 to {x.norm():.3f}")
    assert (x.norm() < 0.1) == (gamma > 0)

# %% [markdown]
# *Exercise 9.1 asks for the longest step when some growth is affordable.*
#
# ## 9.3 Hamiltonian networks
#
# **Question.** Is there a network that loses no information, however deep it is?
#
# Split the state into positions $q$ and momenta $p$, choose an **energy** $H(q,p)=H_1(q)+H_2(p)$, and follow $q'=\nabla H_2(p)$, $p'=-\nabla H_1(q)$. The flow keeps $H$, because $H'=\nabla H_1\cdot q'+\nabla H_2\cdot p'=0$ (Claim 1.14).
# With $H_1(q)=\sum_i\log\cosh\big((Kq+b)_i\big)$ the force $\nabla H_1(q)=K^\top\tanh(Kq+b)$ is a layer with tied weights.
#
# **Verlet's step** is half a kick, a drift, half a kick. It *is* the Strang splitting of Section 2.8.


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


# %% [markdown]
# In the plane, $H=\log\cosh q+\log\cosh p$, two hundred layers from $(0.1,0)$:

# %% jupyter={"source_hidden": true}
# measuring and drawing
unit = (torch.ones(1, 1), torch.zeros(1))  # K = 1, b = 0


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
for h in (0.2, 1.9, 2.1):
    orbits[f"Verlet, h = {h}"] = orbit(verlet, h)
for name, (_, energies) in orbits.items():
    print(f"{name}: energy / start between {energies.min():.2f} and {energies.max():.2f}")
assert orbits["Verlet, h = 0.2"][1].min() > 0.98 and orbits["Verlet, h = 1.9"][1].max() < 1.01
assert orbits["Euler, h = 0.2"][1].max() > 100 and orbits["Verlet, h = 2.1"][1].max() > 2
figures.orbits_and_energies(orbits)

# %% [markdown]
# Near the origin $H\approx\tfrac12(q^2+p^2)$. There Verlet's step has determinant 1 and trace $2-h^2$: its eigenvalues lie on the unit circle up to $h=2$, not beyond.
#
# A matrix or derivative $M$ is **symplectic** if $M^\top\Omega M=\Omega$ with $\Omega=\begin{pmatrix}0&I\\-I&0\end{pmatrix}$ (Section 8.2).
#
# **Predict first.** At $h=2.1$ the energy rises to many times its start. Is the derivative of such a layer still symplectic, yes or no?

# %%
my_guess = ...  # "yes" or "no"

# %% tags=["reveal"]
K_1, K_2 = torch.randn(2, 3, 3, generator=generator)
b_1, b_2 = torch.randn(2, 3, generator=generator)
Omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(3))


def deep(x, layer, h, depth=1):
    q, p = x[None].chunk(2, dim=1)
    for _ in range(depth):
        q, p = layer(q, p, h, (K_1, b_1), (K_2, b_2))
    return torch.cat([q, p], 1)[0]


derivative = torch.autograd.functional.jacobian
x = torch.randn(6, generator=generator)
kept = {}
for name, layer, h in (("Euler", euler, 0.2), ("Verlet", verlet, 0.2), ("Verlet", verlet, 2.1)):
    Dx = derivative(partial(deep, layer=layer, h=h), x)
    kept[name, h] = (Dx.T @ Omega @ Dx - Omega).abs().max().item() < 1e-10
    undone = (deep(deep(x, layer, h), layer, -h) - x).norm().item() < 1e-10
    print(f"{name:6s} h = {h}: symplectic {kept[name, h]}, undone by the step -h: {undone}")
assert kept["Verlet", 2.1] and not kept["Euler", 0.2]
reply(
    my_guess,
    "yes",
    "Kick and drift are symplectic for every h, and so is what they compose.",
    wrong={"no": "a long step spoils the energy, not the structure."},
)

# %% [markdown]
# > **Claim 9.3 (Verlet layers).** The derivative $M$ of a Verlet step, of any length $h$, satisfies $M^\top\Omega M=\Omega$: it is symplectic. And the step with $-h$ undoes the step with $h$.
#
# *Why.* The derivative of a kick is $\begin{pmatrix}I&0\\-hC&I\end{pmatrix}$ with a symmetric $C$ (a Hessian), which is symplectic. So is a drift, and so are compositions. $\square$
#
# **What it is good for.** Layers can be undone (unlike those of a contractive flow, Claim 4.6), so no states need to be stored for backpropagation. And gradients cannot *all* vanish:
#
# > **Claim 9.4 (the derivative cannot vanish).** A symplectic matrix has norm at least 1. Hence so has the derivative of any number of Verlet layers.
#
# *Proof.* $M^{-1}=-\Omega M^\top\Omega$ has the norm of $M$. So $1=\|MM^{-1}\|\le\|M\|^2$. $\square$ (*One* gradient may still shrink: singular values come in pairs $s$, $1/s$.)

# %%
D50 = derivative(partial(deep, layer=verlet, h=0.1, depth=50), x)
norm = torch.linalg.matrix_norm(D50, 2).item()
print(f"50 Verlet layers: norm of the derivative {norm:.1f} >= 1")
print(f"a contractive flow, x' = -2x, over the same time: {math.exp(-2 * 50 * 0.1):.5f}")
assert norm >= 1

# %% [markdown]
# The price: the same norm may be large. A Hamiltonian network promises nothing about distances.
#
# ## 9.4 Stable by projection
#
# **Question.** You have trained some field $\hat f$. Can you *repair* it, so that all states tend to the origin?
#
# Take a **Lyapunov function** $V$ (Section 1.8): positive except at the origin. Where $\hat f$ does not satisfy $\nabla V^\top\hat f\le-\alpha V$, remove the surplus along $\nabla V$ (Kolter and Manek, 2001.06116):
#
# $$f=\hat f-\nabla V\,\frac{\mathrm{relu}\big(\nabla V^\top\hat f+\alpha V\big)}{\|\nabla V\|^2}.$$
#
# **Your turn 9.B.** With paper and pencil: $\hat f(x)=(\tfrac12x_1+x_2,\;-x_1+\tfrac12x_2)$, an unstable spiral, $V(x)=\tfrac12\|x\|^2$ and $\alpha=\tfrac12$. What is $f$ at the state $x=(2,0)$? Give both components.

# %%
### BEGIN SOLUTION
### GIVEN f_by_hand = ...  # (first component, second component)
f_by_hand = (1 - 2 * (2 + 0.5 * 2) / 4, -2.0)  # f_hat = (1, -2), grad V = (2, 0), V = 2
### END SOLUTION

your_turn("9.B")

# %% [markdown]
# > **Claim 9.5 (projection).** Let $V\ge0$ be differentiable, $V=0$ only at the origin, and $\nabla V\ne0$ elsewhere. Set $f(0)=0$. Every solution of the projected equation satisfies $V(x(t))\le V(x(0))\,e^{-\alpha t}$, whatever $\hat f$ is. If $\alpha>0$ and $V(x)\to\infty$ as $\|x\|\to\infty$, every solution tends to the origin.
#
# *Proof.* Multiply $f$ by $\nabla V$: either nothing was removed and $\nabla V^\top f\le-\alpha V$, or exactly the surplus was, and $\nabla V^\top f=-\alpha V$. So $V'\le-\alpha V$. $\square$
#
# As code for a batch, and for the spiral of Your turn 9.B:


# %%
def project(f_hat, V, grad_V, alpha):
    excess = torch.relu((grad_V * f_hat).sum(1) + alpha * V)
    return f_hat - grad_V * (excess / grad_V.square().sum(1).clamp_min(1e-300))[:, None]


def repaired(x):
    spiral = x @ torch.tensor([[0.5, -1.0], [1.0, 0.5]])
    return project(spiral, 0.5 * x.square().sum(1), x, alpha=0.5)


# %% [markdown]
# **Predict first.** Integrate this repaired spiral up to $t=5$ with the method RK4 and $h=0.1$. Is the measured $V(5)/V(0)$ above or below the bound $e^{-5/2}=0.08208\ldots$?

# %%
my_guess = ...  # "above" or "below"

# %% tags=["reveal"]
bound = math.exp(-2.5)
for method, h in (("euler", 0.1), ("euler", 1e-3), ("rk4", 0.1)):
    end = ode.flow(repaired, torch.tensor([[1.0, 0.0]]), [0.0, 5.0], method, max_step=h)[-1]
    ratio = end.square().sum().item()
    print(f"{method:5s} h = {h:5}: V(5)/V(0) = {ratio:.7f}   bound {bound:.7f}")
    assert ratio > bound
reply(
    my_guess,
    "above",
    "The claim is about the differential equation. Steps follow it only nearly.",
    wrong={
        "below": "the projection acts all the time here, so the flow sits exactly on the bound."
    },
)

# %% [markdown]
# Both $\hat f$ and $V$ may be networks. A network $g$ is convex if it has nonnegative weights after the first layer and a smooth, convex, nondecreasing activation (*input-convex*). Then $V(x)=g(x)-g(0)-\nabla g(0)^\top x+\varepsilon\|x\|^2$ satisfies the hypotheses. No training is needed for the promise:

# %%
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


# %% jupyter={"source_hidden": true}
# measuring and drawing
around = torch.linspace(0, 2 * math.pi, 13)[:-1]
starts = 2 * torch.stack([around.cos(), around.sin()], 1)
V_times = torch.linspace(0, 4, 41)
V_paths = {}
for name, field in (("as it is", f_hat), ("projected", learned)):
    with torch.set_grad_enabled(name == "projected"):
        V_paths[name] = ode.flow(field, starts, V_times, max_step=0.05).detach()
V_levels = {
    name: torch.stack([convex_V(x) for x in path]).detach() for name, path in V_paths.items()
}
relative = {name: V / V[0] * V_times.exp()[:, None] for name, V in V_levels.items()}
for name, ratio in relative.items():
    print(f"{name:9s} largest V(t) / (V(0) e^(-t)) at any time: {ratio.max():.3f}; allowed: 1")
assert relative["projected"].max() < 1 + 1e-3 < relative["as it is"].max()
figures.with_and_without_projection(V_times, V_paths, relative, convex_V)

# %% [markdown]
# **Drop "$\nabla V\ne0$ elsewhere"**, and only that. On the line, $V'(x)=x(x-1)^2$ gives a $V$ that is zero at the origin only but flat at $x=1$, where $V=\tfrac1{12}$. To fall at the demanded speed there, the field would have to be infinite:

# %%
sizes = []
for distance in (1e-1, 1e-2, 1e-3):
    x = torch.tensor([[1 + distance]])
    V = (x**4 / 4 - 2 * x**3 / 3 + x**2 / 2)[:, 0]
    sizes.append(project(0 * x, V, x * (x - 1) ** 2, alpha=0.5).norm().item())
    print(f"at distance {distance:g} from the flat point: |f| = {sizes[-1]:.1f}")
assert sizes[0] < 4 and sizes[1] > 400 and sizes[2] > 40_000

# %% [markdown]
# **What it does not say** is anything about pairs. *Recall* the whirl of Section 1.10, $f(x)=-\tfrac12x+5\|x\|Gx$, with the rotation $G=\begin{pmatrix}0&-1\\1&0\end{pmatrix}$. How far apart did two states get that began at distance 0.2? And what does the projection with $V=\tfrac12\|x\|^2$ and $\alpha=1$ remove from it?
#
# <details><summary>Answer</summary>
#
# They got 0.536 apart. The projection removes nothing: $\nabla V^\top f=-\tfrac12\|x\|^2=-V$ already. So a projected field may tear a pair apart.
#
# </details>
#
# *Exercise 9.2 asks you to repair any field, with any $V$.*
#
# ## 9.5 SODEF: features that attract
#
# **Question.** A classifier has one feature point $z_y$ for each class $y$. Disturbed features shall return to it. How do you train that?
#
# Let $f(z_y)\approx0$ and $M=Df(z_y)$. SODEF (Kang et al., 2110.12976) adds a penalty until each diagonal entry is negative and outweighs its row. Recall the logarithmic norm for the maximum norm $\max_i|x_i|$ (Section 1.7): $\mu_\infty(M)=\max_i\big(M_{ii}+\sum_{j\ne i}|M_{ij}|\big)$.
#
# **Your turn 9.C.** Write $\mu_\infty$ for one matrix `M` (d, d): in each row the diagonal entry keeps its sign, the other entries lose theirs; the largest row counts.


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
# > **Claim 9.6 (row sums).** If $M_{ii}<0$ and $|M_{ii}|>\sum_{j\ne i}|M_{ij}|$ in every row, then $\mu_\infty(M)=\max_i\big(M_{ii}+\sum_{j\ne i}|M_{ij}|\big)<0$. Hence all eigenvalues have negative real part, and solutions of $x'=Mx$ shrink in the norm $\max_i|x_i|$, at least like $e^{\mu_\infty t}$.
#
# This is Claim 1.9 for the maximum norm. In the *Euclidean* norm the same solutions may grow at first. Take $M=\begin{pmatrix}-1&c\\0&-0.1\end{pmatrix}$, with eigenvalues $-1$ and $-0.1$ for every $c$. Its first row dominates for $|c|<1$.
#
# **Predict first.** From which coupling $c>0$ on does some solution grow at first in the Euclidean norm? (When does $\mathrm{sym}\,M$ get a positive eigenvalue? Look at its determinant.)

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def logarithmic_norms(c):
    """mu_inf and mu_2 of M, for a tensor of couplings."""
    return (c.abs() - 1).clamp_min(-0.1), -0.55 + 0.5 * (0.81 + c**2).sqrt()


threshold = math.sqrt(0.4)
assert abs(logarithmic_norms(torch.tensor(threshold))[1]) < 1e-12
reply(
    my_guess,
    round(threshold, 3),
    "The determinant of sym M is 0.1 - c^2/4, negative for c > sqrt(0.4) = 0.632.",
    wrong={
        1: "there the rows stop dominating, which is about the maximum norm.",
        0.316: "the entry beside the diagonal of sym M is c/2, not c.",
        0: "a little coupling does no harm: both eigenvalues of sym M stay negative.",
    },
    within=0.02,
)


# %%
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
# Three regions. Nothing grows up to $c=0.632$. From there to $c=1$ only the maximum norm is safe. Beyond, both norms grow at first. But every feature still returns: what is lost with the dominant rows is $\mu_\infty<0$, not the negative eigenvalues.
#
# Now the training in the plane, with feature points $(\pm1.5,0)$. Once with a penalty that asks for $\mu_\infty\le-2$, once only with $f(z_y)=0$:

# %%
features = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])


def jacobians(f, z):
    z = z.clone().requires_grad_()
    rows = [torch.autograd.grad(v.sum(), z, create_graph=True)[0] for v in f(z).unbind(1)]
    return torch.stack(rows, 1)


def equilibria_only(f):
    return f(features).square().sum()


def sodef(f):
    M = jacobians(f, features)
    diagonal = M.diagonal(dim1=1, dim2=2)
    rows = diagonal + M.abs().sum(2) - diagonal.abs()
    return equilibria_only(f) + torch.relu(rows + 2).square().sum()


# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
# training, measuring and drawing
def train(network, loss, steps, learning_rate=1e-2):
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    for _ in tqdm(range(steps), leave=False, mininterval=0.5):
        value = loss(network)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()


row_norm = mu_by_rows if passed("9.C") else partial(ode.logarithmic_norm, norm=math.inf)
offsets = 0.28 * torch.stack([around.cos(), around.sin()], 1)
disturbed = (features[:, None] + offsets).reshape(-1, 2)
feature_fields = {}
feature_paths = {}
for name, loss in {"equilibria only": equilibria_only, "with penalty": sodef}.items():
    for seed in range(3):
        _ = torch.manual_seed(seed)
        f = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
        train(f, loss, 600)
        with torch.no_grad():
            path = ode.flow(f, disturbed, torch.linspace(0, 20, 101), max_step=0.1)
        away = (path[-1].reshape(2, -1, 2) - features[:, None]).norm(dim=2).max().item()
        matrices = jacobians(f, features).detach()
        real = torch.linalg.eigvals(matrices).real.max().item()
        rows = max(float(row_norm(M)) for M in matrices)
        print(
            f"{name:16s} seed {seed}: mu_inf {rows:6.2f}, largest real part {real:6.2f}, "
            f"distance 0.28 becomes {away:.3f}"
        )
        assert (
            (rows < -1 and away < 0.05) if name == "with penalty" else (real > -1 and away > 0.28)
        )
        if seed == 1:
            feature_fields[name] = f
            feature_paths[name] = path
figures.two_fields(feature_fields, feature_paths, features)

# %% [markdown]
# With the penalty every disturbed feature returns. Without it, an eigenvalue may have a positive real part, and features leave.
#
# **What it does not say.** The claim is about $x'=Mx$, that is, about *small* disturbances, and SODEF gives no radius. A penalty is a wish: check $\mu_\infty$ after training, as the printout does.
#
# *Exercise 9.4 asks for $\mu_\infty$ and $\mu_2$ at the features, and Exercise 9.5 for a norm in which the flow shrinks.*
#
# ## 9.6 LyaNet: train the speed of convergence
#
# **Question.** Why not put the Lyapunov inequality itself into the loss?
#
# The classes $y$ have centres $c_y=(\mp1.5,0)$. A state $\eta$ starts at 0 and follows $\eta'=f(\eta,x)$, where $x$ is the input to be classified. Let $V_y(\eta)=\tfrac12\|\eta-c_y\|^2$. LyaNet (Rodriguez, Ames and Yue, 2202.02526) minimises the mean over inputs and *sampled states* of
#
# $$\mathrm{relu}\big(\nabla V_y(\eta)^\top f(\eta,x)+\kappa V_y(\eta)\big).$$
#
# > **Claim 9.7 (Lyapunov loss).** If this loss is zero along a whole solution, then $V_y(\eta(t))\le e^{-\kappa t}V_y(\eta(0))$.
#
# *Proof.* $V_y'\le-\kappa V_y$. So $e^{\kappa t}V_y(\eta(t))$ does not increase. $\square$
#
# The usual way instead: integrate up to $t=1$ and ask only that $V_y(\eta(1))$ be small. Both losses, for two half moons of points and $\kappa=4$:

# %%
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


# %% [markdown]
# **Predict first.** Train with `endpoint_loss`, which looks at $t=1$ only, and integrate on. At $t=5$, is the median of $V_y$ over new inputs larger or smaller than at the start, where $V_y=1.125$?

# %%
my_guess = ...  # "larger" or "smaller"


# %% jupyter={"source_hidden": true} tags=["reveal", "nbval-ignore-output"]
# training and measuring
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
    medians = decay[name].median(1).values
    print(f"{name:14s} median of V at t = 1: {medians[20]:.4f}, at t = 5: {medians[100]:.4f}")
bounds = 1.125 * torch.exp(-kappa * eta_times)
exceeded = (decay["LyaNet"] > bounds[:, None]).double().mean(1)
print(f"bound of LyaNet at t = 1: {bounds[20]:.4f}; exceeded by {exceeded[20]:.0%} of the inputs")
assert decay["LyaNet"][20].median() < 1.5 * bounds[20] and decay["LyaNet"][100].mean() < 0.2
assert decay["endpoint only"][20].median() < bounds[20] and exceeded[100] > 0.5
assert decay["endpoint only"][100].median() > 1.125
reply(
    my_guess,
    "larger",
    "Nobody told this network to stop: it runs through the centre and on.",
    wrong={"smaller": "it is right at t = 1, but the loss does not see what comes later."},
)

# %% tags=["nbval-ignore-output"]
figures.states_and_potential(eta_times, eta_paths, decay, bounds, new_classes, centres)

# %% [markdown]
# The endpoint network is right at $t=1$ and gone at $t=5$. LyaNet stays. But its bound is exceeded by part of the inputs at $t=1$ and by most at $t=5$: $V_y$ stalls a little above zero, where violations cost little. The claim asks for zero loss along the *solution*; training made it small *on average over samples*. A small loss is not a proof.
#
# ## 9.7 ELCD: a rate by construction
#
# **Question.** Can a *rate* of convergence be built in, without penalty and without projection?
#
# Choose $x^*$ and write the field as a matrix times the distance to it (*extended linearisation*; Jaffe et al., 2402.08090):
#
# $$f(x)=A(x)\,(x-x^*),\qquad A(x)=-P(x)^\top P(x)+Q(x)-Q(x)^\top-\alpha I .$$
#
# Any networks may produce $P$ and $Q$: the part $Q-Q^\top$ is antisymmetric, so $\mathrm{sym}\,A=-P^\top P-\alpha I\preceq-\alpha I$.
#
# > **Claim 9.8 (equilibrium contraction).** Every solution satisfies $\|x(t)-x^*\|\le e^{-\alpha t}\|x(0)-x^*\|$.
#
# *Proof.* $\tfrac{d}{dt}\tfrac12\|x-x^*\|^2=(x-x^*)^\top A(x)(x-x^*)\le-\alpha\|x-x^*\|^2$. $\square$ Untrained networks will do:

# %%
_ = torch.manual_seed(1)
entries = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 8))
goal = torch.tensor([0.5, -0.5])


def elcd(x, alpha=0.5, damp=True):
    P, Q = (3 * entries(x)).reshape(-1, 2, 2, 2).unbind(1)
    symmetric = -(P.mT @ P) - alpha * I if damp else P  # without: an arbitrary symmetric part
    return ((Q - Q.mT + symmetric) @ (x - goal)[:, :, None])[:, :, 0]


for damp in (True, False):
    with torch.no_grad():
        end = ode.flow(partial(elcd, damp=damp), goal + starts, [0.0, 2.0])[-1]
    far = (end - goal).norm(dim=1).max().item()
    print(f"sym A as above: {damp!s:5s}  largest distance {far:.3g}, bound {2 * math.exp(-1):.3g}")
    assert (far <= 2 * math.exp(-1)) == damp

# %% [markdown]
# **What it does not say.** Its authors show contraction with respect to some **metric** (a way to measure lengths that may change from place to place), not in the Euclidean norm. The whirl is a member: $f(x)=(-\alpha I+s\|x\|\,G)\,x$ with $\alpha=\tfrac12$ and speed $s=5$. There $\lambda_{\max}(\mathrm{sym}\,Df)=-\tfrac12+\tfrac52r$ at radius $r=\|x\|$ (Section 1.10).
#
# **Predict first.** How large may the speed $s$ be so that no two states of the disc $\|x\|\le1.2$ ever move apart?

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def rate_on_the_disc(s):
    """Largest eigenvalue of sym Df on the disc of radius 1.2."""
    return -0.5 + 0.6 * s


fastest = 0.5 / 0.6
assert abs(rate_on_the_disc(fastest)) < 1e-12
reply(
    my_guess,
    round(fastest, 3),
    "-1/2 + s r/2 must not be positive at r = 1.2: s <= 0.833.",
    wrong={
        1: "that is the speed for the disc of radius 1.",
        0: "a little turning is harmless, because the friction pulls states together.",
    },
    within=0.02,
)

# %% [markdown]
# > **Claim 9.9 (pairs).** On the disc $\|x\|\le R$ the flow of $f(x)=(-\alpha I+s\|x\|\,G)\,x$ moves no two points apart exactly if $sR\le2\alpha$ (for $s\ge0$). The largest eigenvalue of $\mathrm{sym}\,Df$ at radius $r$ is $-\alpha+\tfrac12sr$.
#
# *Proof.* With $u=x/r$: $Df=-\alpha I+srG+sr\,(Gu)u^\top$. The symmetric part of $(Gu)u^\top$ has the eigenvalues $\pm\tfrac12$. Apply Claim 1.4 on the disc, which no solution leaves. $\square$
#
# *Try this:* lower the speed until the distance of *this* pair no longer grows. Then lower it until the sentence says "no two points".


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
# This pair looks safe from $s=1.2$ down already, where others still separate. The claim speaks about all of them.
#
# ## 9.8 Monotone equilibrium networks
#
# **Question.** What about a network of *infinite* depth?
#
# Repeat one layer for ever, $z\leftarrow\mathrm{relu}(Wz+Ux+b)$, and call the limit the output. An **equilibrium network** asks for this limit at once: it solves $z=\mathrm{relu}(Wz+Ux+b)$. Winston and Kolter (2006.08591) choose, with any matrices $A$ and $B$,
#
# $$W=(1-m)I-A^\top A+B-B^\top,\qquad m>0,\qquad\text{so that}\quad\mathrm{sym}(I-W)=mI+A^\top A\succeq mI .$$
#
# A map $F$ is called **monotone** if $\langle F(z)-F(\bar z),z-\bar z\rangle\ge0$ for all pairs. Here $z\mapsto(I-W)z$ is even *strongly* monotone: the product is at least $m\|z-\bar z\|^2$.
#
# An example in the plane, with $U=I$, $b=0$ and $x=(1,1)$:

# %%
A = torch.tensor([[1.0, 0.5], [0.0, 0.5]])
B = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
m = 0.5
W = (1 - m) * I - A.T @ A + B - B.T
q = torch.tensor([1.0, 1.0])  # U x + b
solution = torch.tensor([2 / 3, 0.0])
assert torch.allclose(solution, torch.relu(W @ solution + q))

# %% [markdown]
# **Predict first.** The only solution is $z=(\tfrac23,0)$. Start at $z=0$ and repeat the layer 300 times. How far are you from the solution?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
z = torch.zeros(2)
for n in range(300):
    if n < 6:
        print(f"after {n}: ({z[0]:.0f}, {z[1]:.0f})")
    z = torch.relu(W @ z + q)
distance = (z - solution).norm().item()
assert distance > 0.6
reply(
    my_guess,
    round(distance, 3),
    "Repetition goes round in a cycle of three for ever, and after 300 it is at 0 again.",
    wrong={0: "the solution exists, but repetition never finds it."},
)

# %% [markdown]
# > **Claim 9.10 (one equilibrium).** If $\mathrm{sym}(I-W)\succeq mI$ with $m>0$, then $z=\mathrm{relu}(Wz+q)$ has exactly one solution for every $q$.
#
# > **Claim 9.11 (how to find it).** The iteration $z\leftarrow\mathrm{relu}\big(z-a((I-W)z-q)\big)$ converges to it for every $0<a<\dfrac{2m}{\|I-W\|^2}$.
#
# The iteration is called **forward–backward**: an explicit Euler step of $z'=-(I-W)z+q$, which looks forward, and then the relu, which is the implicit ("backward") step for the constraint $z\ge0$.
#
# *Idea.* Both equations say the same for every $a>0$. And for these $a$ one iteration is a contraction: it shortens all distances by a fixed factor.
#
# <details><summary>Proof of both</summary>
#
# $z=\mathrm{relu}(Wz+q)$ says: for each entry, $z_i\ge0$, $g_i=((I-W)z-q)_i\ge0$ and $z_ig_i=0$. So does $z=\mathrm{relu}(z-ag)$ for any $a>0$: the iteration has the same fixed points.
# Before the relu, which is non-expansive, a difference $d$ becomes $d-a(I-W)d$, with $\|d-a(I-W)d\|^2\le(1-2am+a^2\|I-W\|^2)\|d\|^2$. For these $a$ the factor is below 1. A contraction has exactly one fixed point. $\square$
#
# </details>
#
# **Your turn 9.D.** Write one such iteration for a vector `z` (d,), with the matrix `W` (d, d), the vector `q` (d,) and a number `a`.


# %%
def forward_backward(z, W, q, a):
    """One step towards the z with z = relu(W z + q)."""
    ### BEGIN SOLUTION
    downhill = z - W @ z - q
    return torch.relu(z - a * downhill)
    ### END SOLUTION


your_turn("9.D")


# %% jupyter={"source_hidden": true}
# measuring and drawing; the step is the course's own as long as yours is not passed
def course_step(z, W, q, a):
    return (z + a * (W @ z + q - z)).clamp(min=0)


step = forward_backward if passed("9.D") else course_step


def iterations(W, q, a, start, number=60):
    points = [torch.tensor(start)]
    for _ in range(number):
        points.append(step(points[-1], W, q, a))
    return torch.stack(points)


def limit_of(W, m):
    return 2 * m / torch.linalg.matrix_norm(I - W, 2).item() ** 2


# %%
half = limit_of(W, m) / 2
W_turn = 0.5 * I - 3 * G  # A = 0: I - W = m I + 3 G, and all units are active near (3, 3)
q_turn = (I - W_turn) @ torch.tensor([3.0, 3.0])
limit = limit_of(W_turn, 0.5)
runs = {
    "a = 1: plain repetition": (iterations(W, q, 1.0, [1.0, 1.0]), solution),
    "a = half the limit": (iterations(W, q, half, [1.0, 1.0]), solution),
    "0.9 times the limit": (iterations(W_turn, q_turn, 0.9 * limit, [4.0, 3.0]), [3.0, 3.0]),
    "1.1 times the limit": (iterations(W_turn, q_turn, 1.1 * limit, [4.0, 3.0]), [3.0, 3.0]),
}
assert (runs["a = half the limit"][0][-1] - solution).norm() < 0.01
figures.forward_backward(runs)

# %% [markdown]
# Left, the example above; half the limit gives the smallest factor. Right, a rotation with friction, for which the limit is sharp: $I-W=mI+\omega G$ with $m=\tfrac12$ and $\omega=3$ has the squared norm $m^2+\omega^2$. *Recall:* which number of Section 9.2 is this limit $2m/(m^2+\omega^2)$?
#
# <details><summary>Answer</summary>
#
# The longest step of the antisymmetric layer with $\gamma=m=\tfrac12$: $0.10811$. While both units are active, an iteration *is* that layer.
#
# </details>
#
# **Drop $m>0$.** In one dimension, $W=2$ means $I-W=-1$:

# %%
candidates = torch.tensor([0.0, 1.0, 2.0])
for shift in (-1.0, 1.0):
    solves = candidates[candidates == torch.relu(2 * candidates + shift)].tolist()
    print(f"solutions of z = relu(2z {shift:+.0f}) among 0, 1, 2: {solves}")

# %% [markdown]
# Two equilibria, or none at all ($2z+1>z$ for every $z\ge0$). With $m>0$ we get what Section 9.1 promised, a statement about all pairs of inputs:
#
# > **Claim 9.12 (sensitivity).** The equilibrium is a Lipschitz function of $x$ with constant at most $\|U\|/m$.
#
# <details><summary>Proof</summary>
#
# For the relu, $\langle z-\bar z,u-\bar u\rangle\ge\|z-\bar z\|^2$, where $u=Wz+Ux+b$. With $d=z-\bar z$ and $e=x-\bar x$ this is $\langle d,Wd+Ue\rangle\ge\|d\|^2$. So $m\|d\|^2\le\langle d,(I-W)d\rangle\le\langle d,Ue\rangle\le\|d\|\|U\|\|e\|$. $\square$
#
# </details>
#
# For a pattern of active units (a diagonal $D$ of zeros and ones) the derivative of the equilibrium is $(I-DW)^{-1}DU$. Four patterns, one bound. (In one dimension, $W=0.9$ has only $m=0.1$, and the slope $1/(1-0.9)=10$ attains it.)

# %%
patterns = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
D = torch.diag_embed(patterns)
largest = torch.linalg.matrix_norm(torch.linalg.solve(I - D @ W, D), 2).max().item()
print(f"largest slope of the four patterns {largest:.4f} <= bound |U|/m = {1 / m:.1f}")
assert largest <= 1 / m + 1e-12

# %% [markdown]
# *Exercise 9.3 asks for the equilibria of a whole batch.*
#
# ## 9.9 The rest of the map
#
# **The seven, measured.** For one example of each section: the largest $\mu=\lambda_{\max}(\mathrm{sym}\,Df)$. Right of zero, some pair of neighbours separates at first in the Euclidean norm. That breaks no promise: the first six families never made one about pairs.


# %% jupyter={"source_hidden": true} tags=["nbval-ignore-output"]
# measuring and drawing
def hamiltonian(x):
    return torch.stack([torch.tanh(x[1]), -torch.tanh(x[0])])


def whirl(x):
    return -0.5 * x + 5 * x.norm() * (G @ x)


at_one = torch.tensor([1.0, 0.0])
at_start = torch.func.vmap(torch.func.jacrev(controlled["LyaNet"]))
examples = {
    "antisymmetric, one unit saturated": saturated,
    "Hamiltonian, at (2, 0)": derivative(hamiltonian, 2 * at_one),
    "projection of the whirl, at (1, 0)": derivative(whirl, at_one),
    "SODEF, dominant rows (c = 0.95)": torch.tensor([[-1.0, 0.95], [0.0, -0.1]]),
    "LyaNet, where 200 inputs start": at_start(torch.zeros(200, 2), new_inputs).detach(),
    "ELCD: the whirl, at (1, 0)": derivative(whirl, at_one),
    "monotone equilibrium, z' = -(I - W)z + q": W - I,
}
measured = {name: ode.logarithmic_norm(Df).max().item() for name, Df in examples.items()}
figures.map_of_rates(measured)

# %% [markdown]
# ### Which would I use?
#
# | you want | take | and check |
# |---|---|---|
# | a certificate against attacks | Section 5.1, or family 7 with $\lVert U\rVert/m$ known | the constant of the whole network (Section 7.3) |
# | one for a network you cannot change | randomised smoothing (below) | the cost: many evaluations |
# | a very deep or reversible network | Hamiltonian | $h$ against the curvature of $H$ |
# | a recurrent network | antisymmetric, small $\gamma$ | the step of Claim 9.2 |
# | to repair a trained field | projection | $\nabla V\ne0$; the steps |
# | a known target and a rate | ELCD | that pairs do not matter to you |
# | outputs that stay right | LyaNet or SODEF | new inputs, after training |
#
# ### ★ More names on the map
#
# * *Invertible residual networks* (1811.00995): $x+g(x)$ with $\mathrm{Lip}(g)<1$ can be undone. Distances are bounded from both sides, but may grow.
# * *Convex potential layers* (2110.12690): the layer of Section 5.1, from the same gradient flow, which is *weakly contracting* ($\mu\le0$). All pairs, Euclidean.
# * *Orthogonal convolutions by the Cayley transform* (2104.07167): each linear layer is orthogonal and stretches nothing.
# * *AOL* (2208.03160), *SLL* (2303.03169), *Sandwich* (2301.11526): 1-Lipschitz layers by rescaling or by a direct parametrisation; all pairs.
# * *Contractive Hamiltonian networks* (2203.11805): a field inspired by Hamilton, with one number that makes it contract.
# * *Equilibria in other norms* (2106.03194): as family 7, with $\mu_\infty$ in place of monotone.
# * *Learned monotone operators* (2012.13247): a non-expansive network as the implicit step of a monotone operator; compare Section 8.5.
# * *Closed-loop control* (2102.01862): an optimal control, added at run time, steers disturbed features back.
# * *Randomised smoothing* (1902.02918): the other route to certificates, for *any* network. Classify many noisy copies of $x$ and take the majority. The radius holds with high probability, for the majority vote.
#
# ## Recap
#
# * A promise is about all pairs, one point, or a frozen linearisation. Only the first protects two arbitrary inputs.
# * Antisymmetric: no growing mode (Claim 9.1), thin layers needed (Claim 9.2). Hamiltonian: symplectic, reversible, the derivative cannot vanish (Claim 9.3, Claim 9.4).
# * Projection gives $V$ a speed (Claim 9.5), LyaNet asks for it in the loss (Claim 9.7), ELCD builds it in (Claim 9.8), all towards one point; pairs may separate (Claim 9.9). SODEF: small disturbances return (Claim 9.6).
# * Monotone equilibrium: one solution, a sure way to it, a Lipschitz constant (Claim 9.10, Claim 9.11, Claim 9.12).
#
# ## What can go wrong in practice
#
# * *Trusting a frozen eigenvalue.* It controls neither distances nor the network's steps.
# * *A promise about the flow, used for long steps.* Check the step, or use an implicit method (Section 2.6).
# * *Comparing constants in different norms.* In $d$ dimensions $\mu_\infty<0$ bounds Euclidean distances only up to a factor $\sqrt d$.
# * *Reading a small training loss as a theorem.* Check SODEF and LyaNet after training, on new inputs.
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * E. Haber, L. Ruthotto: *Stable architectures for deep neural networks*, arXiv 1705.03341. B. Chang et al.: *AntisymmetricRNN*, arXiv 1902.09689.
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
