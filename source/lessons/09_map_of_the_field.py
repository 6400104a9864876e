# %% [markdown]
# # 9. A map of the field
#
# There is more than one way to make a network stable. This lesson is the map: seven families, what each promises, for which pairs of states, in which norm, and what breaks it.
#
# **You will learn**
#
# * seven ways to make a network stable, by its structure or by its training, each in the plane: antisymmetric, Hamiltonian, projected, SODEF, LyaNet, ELCD, monotone equilibrium;
# * for each of them: what is promised, in which norm, and what breaks the promise.
#
# **Before you start:** lessons 1 to 5.
# **Time:** MINUTES of reading and doing; the computer needs less than one minute.

# %% tags=["setup"]
# setup

# %%
import math
from functools import partial

import torch
from torch import nn
from tqdm.auto import tqdm

from chapter_utils import data, ode, plotting, runge_kutta
from figures import lesson_09 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
_ = torch.set_num_threads(1)  # our matrices are tiny: more threads would only wait for each other
J = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # rotation by 90 degrees, used all through the lesson
generator = torch.Generator().manual_seed(3)

# %% [markdown]
# ## 9.2 Antisymmetric networks
#
# **Question.** Can the weights be chosen so that the linearisation never has a growing mode?
#
# Let $S=-S^\top$ be antisymmetric and $\gamma\ge0$ a little friction. The **antisymmetric network** (Haber and Ruthotto, 1705.03341; Chang et al., 1902.09689) is
#
# $$x'=\sigma\big((S-\gamma I)x+b\big).$$
#
# Its Jacobian is $D(S-\gamma I)$, where $D$ is diagonal and contains the slopes of $\sigma$.
#
# > **Claim 9.1 (no growing mode).** If $S$ is antisymmetric, $\gamma\ge0$ and $D$ is diagonal with positive entries, all eigenvalues of $D(S-\gamma I)$ have real part $\le0$.
#
# *Proof.* $D(S-\gamma I)$ has the eigenvalues of $D^{1/2}(S-\gamma I)D^{1/2}$, whose symmetric part $-\gamma D$ is negative semidefinite. $\square$

# %%
M = torch.randn(6, 6, generator=generator)
slopes = torch.rand(1000, 6, generator=generator)
for name, S in {"antisymmetric": M - M.T, "any matrix": M}.items():
    growth = torch.linalg.eigvals(slopes[:, :, None] * (S - 0.1 * torch.eye(6))).real.max().item()
    print(f"{name:14s} a growing mode among 1000 slopes: {growth > 1e-12}")

# %% [markdown]
# But eigenvalues of a *frozen* Jacobian do not control distances. That is the job of $\mu$, the largest eigenvalue of the symmetric part $\mathrm{sym}(M)=\tfrac12(M+M^\top)$.
# If one unit is nearly saturated, $D=\mathrm{diag}(1,\,0.1)$, it is positive: nearby states separate for a while.

# %%
S = 3 * J
gamma = 0.5
D = torch.diag(torch.tensor([1.0, 0.1]))
K = S - gamma * torch.eye(2)
jacobian = D @ K
mu = ode.logarithmic_norm(jacobian)
print(f"largest real part {torch.linalg.eigvals(jacobian).real.max():.3f}, but mu = {mu:.3f}")
b_saturated = torch.tensor([0.0, math.atanh(math.sqrt(0.9))])  # the slope of tanh is 0.1 there
direction = torch.linalg.eigh(0.5 * (jacobian + jacobian.T)).eigenvectors[:, -1]
pair = torch.stack([torch.zeros(2), 1e-3 * direction])
short = torch.tensor([0.0, 0.1])
later = ode.flow(lambda x: torch.tanh(x @ K.T + b_saturated), pair, short)[-1]
stretch = ((later[1] - later[0]).norm() / 1e-3).item()
print(f"after t = 0.1 two neighbours are {stretch:.2f} times as far apart")
assert stretch > 1.05

# %% [markdown]
# And the network is not the flow: it takes Euler steps. Look at the linear case $\sigma(x)=x$. Then each layer is the matrix $I+h(S-\gamma I)$.
#
# > **Claim 9.2 (how thin the layers must be).** Let $\omega=\|S\|$ and $\gamma>0$. The layer $I+h(S-\gamma I)$, $h\ge0$, is non-expansive exactly for $h\le\dfrac{2\gamma}{\gamma^2+\omega^2}$.
#
# *Proof.* The matrix is normal, with eigenvalues $1-h\gamma\pm ih\omega_k$ and $\omega_k\le\omega$. The largest has squared modulus $(1-h\gamma)^2+h^2\omega^2$. $\square$
#
# Without friction, $\gamma=0$, *no* step is short enough. Move both sliders: the dot must stay below the curve.

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
# For $\gamma=\tfrac12$, $\omega=3$ the limit is $0.10811$; at $1.1$ times that each layer stretches by $1.0059$. Four hundred layers with $\tanh$ tell the same story. The $\tanh$ only slows the growth down: without friction the length goes on growing, though no longer exponentially:

# %%
sizes = {}
for gamma in (0.0, 0.5):
    x = torch.tensor([[0.1, 0.0]])
    for _ in range(400):
        x = x + 0.1 * torch.tanh(x @ (omega * J - gamma * torch.eye(2)).T)
    sizes[gamma] = x.norm().item()
    print(f"friction {gamma}: from length 0.1 to {sizes[gamma]:.3f}")
assert sizes[0.0] > 1 and sizes[0.5] < 0.1

# %% [markdown]
# *Exercise 9.1 asks for this threshold.*
#
# ## 9.3 Hamiltonian networks
#
# **Question.** Is there a network that neither forgets nor explodes, however deep it is?
#
# Split the state into positions $q$ and momenta $p$ (from here on $p$ is no longer the adjoint state). Choose an **energy** $H(q,p)=A(q)+B(p)$ and follow $q'=\nabla B(p)$, $p'=-\nabla A(q)$. The flow keeps $H$, because
# $H'=\nabla A\cdot q'+\nabla B\cdot p'=0$. With $A(q)=\sum_i\log\cosh\big((Kq+b)_i\big)$ the force $\nabla A(q)=K^\top\tanh(Kq+b)$ is a layer with tied weights.
#
# Euler's step lets the energy grow. **Verlet's** step keeps it nearly constant, if $h$ is small: half a kick, a drift, half a kick.
#
# **Predict first.** After 2,000 layers with $h=0.1$: by how much has each of them changed the energy, relative to its start?

# %%
my_guess = None  # for example {"Verlet": 0.1, "Euler": 1}

# %% [markdown]
# In the plane $H=\log\cosh q+\log\cosh p$, that is $K=1$ and $b=0$:


# %%
def force(x, K, b):
    """Gradient of sum log cosh(K x + b) for a batch x (B, d)."""
    return torch.tanh(x @ K.T + b) @ K


def verlet(q, p, h, A, B):
    """One layer; A and B are pairs (K, b)."""
    p = p - h / 2 * force(q, *A)
    q = q + h * force(p, *B)
    return q, p - h / 2 * force(q, *A)


def euler(q, p, h, A, B):
    return q + h * force(p, *B), p - h * force(q, *A)


unit = (torch.ones(1, 1), torch.zeros(1))  # K = 1, b = 0


def energy(q, p):
    return (torch.log(torch.cosh(q)) + torch.log(torch.cosh(p)))[0, 0].item()


ranges = {}
for name, layer in {"Verlet": verlet, "Euler": euler}.items():
    q = torch.tensor([[0.5]])
    p = torch.tensor([[0.0]])
    start = energy(q, p)
    seen = []
    for _ in range(2000):
        q, p = layer(q, p, 0.1, unit, unit)
        seen.append(abs(energy(q, p) - start) / start)
    ranges[name] = max(seen)
    print(f"{name:7s} largest relative change of the energy in 2000 layers: {ranges[name]:.4f}")
print(f"your guess: {my_guess}")
assert ranges["Verlet"] < 0.005 and ranges["Euler"] > 10

# %% [markdown]
# > **Claim 9.3 (Verlet layers).** The derivative $M$ of a Verlet step satisfies $M^\top\Omega M=\Omega$ with $\Omega=\begin{pmatrix}0&I\\-I&0\end{pmatrix}$: it is **symplectic**.
# > And the step with $-h$ undoes the step with $h$.
#
# *Why.* A kick changes $p$ by a gradient of $q$; its derivative is $\begin{pmatrix}I&0\\-G&I\end{pmatrix}$ with symmetric $G$, which is symplectic. So is a drift, and so are compositions.
#
# Reversible means: no states need to be stored for backpropagation, and up to rounding none is lost. That was the trouble of Section 4.2. Symplectic means something for gradients:
#
# > **Claim 9.4 (the derivative cannot vanish).** A symplectic matrix has norm at least 1. Hence so has the derivative of any number of Verlet layers.
#
# *Proof.* $M^{-1}=-\Omega M^\top\Omega$ has the norm of $M$. So $1=\|MM^{-1}\|\le\|M\|^2$. $\square$ (One particular gradient may still shrink: the singular values come in pairs $\sigma,1/\sigma$.)

# %%
K_1, K_2 = torch.randn(2, 3, 3, generator=generator)
b_1, b_2 = torch.randn(2, 3, generator=generator)
Omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(3))


def deep(x, layer, depth, h=0.1):
    q = x[None, :3]
    p = x[None, 3:]
    for _ in range(depth):
        q, p = layer(q, p, h, (K_1, b_1), (K_2, b_2))
    return torch.cat([q, p], 1)[0]


derivative = torch.autograd.functional.jacobian
x = torch.randn(6, generator=generator)
for name, layer in {"Verlet": verlet, "Euler": euler}.items():
    D1 = derivative(partial(deep, layer=layer, depth=1), x)
    symplectic = (D1.T @ Omega @ D1 - Omega).abs().max().item() < 1e-12
    back = deep(deep(x, layer, 100), layer, 100, h=-0.1)
    returns = (back - x).norm().item() < 1e-9
    print(
        f"{name:7s} symplectic: {symplectic!s:6s} "
        f"returns after 100 layers and 100 reversed ones: {returns}"
    )
D50 = derivative(partial(deep, layer=verlet, depth=50), x)
contracting = derivative(lambda x: x * math.exp(-50 * 0.1 * 2), x)  # x' = -2x over the same time
norm = torch.linalg.matrix_norm(D50, 2).item()
print(f"norm of the derivative of 50 Verlet layers >= 1: {norm >= 1}")
norm = torch.linalg.matrix_norm(contracting, 2).item()
print(f"of the contractive flow x' = -2x over the same time: {norm:.5f}")

# %% [markdown]
# There is a price: distances need not stay bounded, and Verlet also has a longest step. Near the origin our $H$ is $\tfrac12(q^2+p^2)$. For it the matrix of a step has determinant 1 and trace $2-h^2$.
# Its eigenvalues lie on the unit circle up to $h=2$, not beyond. Try it:


# %%
def verlet_in_the_plane(q, p, h):  # the same layer with numbers, which is faster
    p = p - h / 2 * math.tanh(q)
    q = q + h * math.tanh(p)
    return q, p - h / 2 * math.tanh(q)


def euler_in_the_plane(q, p, h):
    return q + h * math.tanh(p), p - h * math.tanh(q)


def orbit(layer, h):
    """The points of 200 layers from (0.1, 0), and their energy relative to the first."""
    points = [(0.1, 0.0)]
    for _ in range(200):
        points.append(layer(*points[-1], h))
    points = torch.tensor(points)
    energies = torch.log(torch.cosh(points)).sum(1)
    return points, energies / energies[0]


def radius_of_verlet(h):
    """Largest modulus of the eigenvalues of the step at the origin."""
    half_trace = (h**2 - 2) / 2
    return 1.0 if h <= 2 else half_trace + math.sqrt(half_trace**2 - 1)


live_hamiltonian = figures.orbits_and_energies(
    partial(orbit, euler_in_the_plane), partial(orbit, verlet_in_the_plane), radius_of_verlet
)
live_hamiltonian.still(h=0.2)

# %%
live_hamiltonian

# %% [markdown]
# ## 9.4 Stable by projection
#
# **Question.** You have trained some field $\hat f$. Can you *repair* it, so that all states tend to the origin?
#
# Lesson 1: if a **Lyapunov function** $V$, positive except at the origin, falls along solutions, then the origin is stable. Kolter and Manek (2001.06116) enforce the speed of falling.
# Where $\hat f$ does not satisfy $\nabla V^\top\hat f\le-\alpha V$, remove the surplus along $\nabla V$:
#
# $$f=\hat f-\nabla V\,\frac{\mathrm{relu}\big(\nabla V^\top\hat f+\alpha V\big)}{\|\nabla V\|^2}.$$


# %%
def project(f_hat, V, grad_V, alpha):
    excess = torch.relu((grad_V * f_hat).sum(1) + alpha * V)
    return f_hat - grad_V * (excess / grad_V.square().sum(1).clamp_min(1e-300))[:, None]


f_matrix = torch.tensor([[0.5, 1.0], [-1.0, 0.5]])  # an unstable spiral


def repaired(x, alpha=0.5):
    return project(x @ f_matrix.T, 0.5 * x.square().sum(1), x, alpha)  # V = |x|^2 / 2


raw = torch.tensor([[1.0, 0.0]])
fixed = raw
for _ in range(5000):
    raw = raw + 1e-3 * raw @ f_matrix.T
    fixed = fixed + 1e-3 * repaired(fixed)
raw_ratio = raw.square().sum().item()
fixed_ratio = fixed.square().sum().item()
print(
    f"V(5)/V(0): not projected {raw_ratio:.0f}, projected {fixed_ratio:.4f}, "
    f"bound e^(-2.5) = {math.exp(-2.5):.4f}"
)

# %% [markdown]
# > **Claim 9.5 (projection).** Let $V\ge0$ be differentiable, $V=0$ only at the origin, and $\nabla V\ne0$ elsewhere. Set $f(0)=0$. Every solution of the projected equation satisfies $V(x(t))\le V(x(0))\,e^{-\alpha t}$, whatever $\hat f$ is. If $\alpha>0$ and $V(x)\to\infty$ as $\|x\|\to\infty$, every solution tends to the origin.
#
# *Proof.* Multiply $f$ by $\nabla V$: either nothing was removed and $\nabla V^\top f\le-\alpha V$, or exactly the surplus was, and $\nabla V^\top f=-\alpha V$. So $V'\le-\alpha V$. $\square$
#
# The measured $0.0825$ is a little above the bound. The claim is about the *differential equation*, and the Euler steps of length $10^{-3}$ are not it. A Runge–Kutta method of order four stays on the bound.
#
# Both $\hat f$ and $V$ may be networks. A convex $g$ is easy to build: nonnegative weights after the first layer, a smooth, convex, nondecreasing activation (an *input-convex* network). Then
# $V(x)=g(x)-g(0)-\nabla g(0)^\top x+\varepsilon\|x\|^2$ satisfies the hypotheses. No training is needed for the promise to hold:

# %%
_ = torch.manual_seed(0)
f_hat = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
first = nn.Linear(2, 16)
second = nn.Linear(16, 1)


def convex(x):
    """Nonnegative weights behind the first layer keep it convex."""
    return nn.functional.softplus(first(x)) @ second.weight.abs().T


def convex_V(x, epsilon=0.1):
    zero = torch.zeros(1, 2, requires_grad=True)
    slope = torch.autograd.grad(convex(zero).sum(), zero, create_graph=True)[0]
    return (convex(x) - convex(zero) - x @ slope.T)[:, 0] + epsilon * x.square().sum(1)


def learned(x, alpha=1.0):
    x = x.detach().requires_grad_()
    V = convex_V(x)
    grad_V = torch.autograd.grad(V.sum(), x)[0]
    return project(f_hat(x), V, grad_V, alpha).detach()


points = 3 * torch.randn(20, 2, generator=generator)
five_times = torch.linspace(0, 2, 5)
paths = ode.flow(learned, points, five_times, max_step=0.02)
ratios = torch.stack([convex_V(z) for z in paths]).detach() / convex_V(points).detach()
for time, ratio in zip(five_times, ratios, strict=True):
    print(f"t = {time:.1f}: largest V(t)/V(0) = {ratio.max():.3f} <= {math.exp(-time):.3f}")
assert (ratios.max(1).values <= torch.exp(-five_times) * (1 + 1e-3)).all()

# %% [markdown]
# Drop "$\nabla V\ne0$ elsewhere". The double well $V=\tfrac14(x_1^2-1)^2+\tfrac12x_2^2$ is zero at $(\pm1,0)$ and has a flat point in between, at the origin, where $V=\tfrac14$.
# To fall at the demanded speed there, the field would have to be infinite:

# %%
sizes = []
for distance in (1e-1, 1e-2, 1e-3):
    z = torch.tensor([[distance, 0.0]])
    V = 0.25 * (z[:, 0] ** 2 - 1) ** 2 + 0.5 * z[:, 1] ** 2
    grad_V = torch.stack([z[:, 0] ** 3 - z[:, 0], z[:, 1]], 1)
    sizes.append(project(0 * z, V, grad_V, alpha=0.5).norm().item())
    print(f"at distance {distance:g} from the flat point: |f| = {sizes[-1]:.3g}")
assert sizes[-1] > 50 * sizes[0]

# %% [markdown]
# Now move $\alpha$. Negative values are allowed: they promise that $V$ *grows* no faster than $e^{|\alpha|t}$. Our spiral grows by itself with $V'=V$. At which $\alpha$ does the projection stop acting?


# %%
def rate_of_V(alpha, projected):
    """V' = rate V for our spiral."""
    return min(1.0, -alpha) if projected else 1.0


def spiral_path(rate, t):
    """The solution from (1, 0); it can be written down."""
    radius = torch.exp(0.5 * rate * t)
    return torch.stack([radius * t.cos(), -radius * t.sin()], 1)


live_projection = figures.projected_spiral(rate_of_V, spiral_path)
live_projection.still(alpha=0.5, projected=True)

# %%
live_projection

# %% [markdown]
# *Exercise 9.2 asks for $V(5)/V(0)$.*
#
# ## 9.5 SODEF: features that attract
#
# **Question.** A classifier's features $z_y$, one for each class $y$, shall be places to which disturbed features return. How do you train that?
#
# Let $f$ be a network with $f(z_y)\approx0$ and let $M=Df(z_y)$ be its Jacobian there. SODEF (Kang et al., 2110.12976) adds a penalty until each diagonal entry is negative and outweighs its row.
#
# > **Claim 9.6 (row sums).** If $M_{ii}<0$ and $|M_{ii}|>\sum_{j\ne i}|M_{ij}|$ in every row, then $\mu_\infty(M)=\max_i\big(M_{ii}+\sum_{j\ne i}|M_{ij}|\big)<0$. Hence all eigenvalues have negative real part, and
# > solutions of $x'=Mx$ shrink in the norm $\max_i|x_i|$, at least like $e^{\mu_\infty t}$.
#
# This is the logarithmic norm of lesson 1 for the maximum norm. In the *Euclidean* norm the same solutions may grow at first. Take $M=\begin{pmatrix}-1&c\\0&-0.1\end{pmatrix}$, whose eigenvalues are $-1$ and $-0.1$ for every $c$:


# %%
def growth_of_disturbances(c, times):
    """The norms of exp(t M): the maximum norm, and the Euclidean one."""
    M = torch.tensor([[-1.0, c], [0.0, -0.1]])
    flows = torch.linalg.matrix_exp(times[:, None, None] * M)
    return flows.abs().sum(2).max(1).values, torch.linalg.matrix_norm(flows, 2)


def logarithmic_norms(c):
    """mu_inf and mu_2 of M, for a tensor of couplings."""
    return (c.abs() - 1).clamp_min(-0.1), -0.55 + 0.5 * (0.81 + c**2).sqrt()


live_rows = figures.growth_in_two_norms(growth_of_disturbances, logarithmic_norms)
live_rows.still(c=0.95)

# %%
live_rows

# %% [markdown]
# Three regions: below $c=0.632$ nothing grows. Between there and $c=1$ only the maximum norm is safe. Beyond $1$ the rows are not dominant, and both norms grow before they decay.
#
# Now the training, in the plane, with two feature points $(\pm1.5,0)$. Once with the penalty, once only with $f(z_y)=0$.


# %%
def train(network, loss, steps, learning_rate=1e-2):
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    for _ in tqdm(range(steps), leave=False, mininterval=0.5):
        value = loss(network)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()


features = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])


def jacobians(f, z):
    z = z.clone().requires_grad_()
    rows = [torch.autograd.grad(v.sum(), z, create_graph=True)[0] for v in f(z).unbind(1)]
    return torch.stack(rows, 1)


def row_sums(matrices):
    diagonal = matrices.diagonal(dim1=1, dim2=2)
    return diagonal + matrices.abs().sum(2) - diagonal.abs()


def equilibria_only(f):
    return f(features).square().sum()


def sodef(f):
    return equilibria_only(f) + torch.relu(row_sums(jacobians(f, features)) + 2).square().sum()


# %% tags=["nbval-ignore-output"]
circle = torch.linspace(0, 2 * math.pi, 13)[:-1]
disturbed = features[:, None] + 0.28 * torch.stack([circle.cos(), circle.sin()], 1)  # (2, 12, 2)
trained = {}
ends = {}
for name, loss in {"equilibria only": equilibria_only, "with penalty": sodef}.items():
    for seed in range(3):
        _ = torch.manual_seed(seed)
        f = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
        train(f, loss, 600)
        with torch.no_grad():
            path = ode.flow(f, disturbed.reshape(-1, 2), torch.tensor([0.0, 20.0]), max_step=0.1)
        away = path[-1].reshape(2, -1, 2) - features[:, None]
        trained[name, seed] = f
        ends[name, seed] = away.norm(dim=2).max().item()
        matrices = jacobians(f, features).detach()
        worst = torch.linalg.eigvals(matrices).real.max().item()
        print(
            f"{name:16s} seed {seed}: largest real part {worst:6.3f}, "
            f"distance 0.28 becomes {ends[name, seed]:.3f} by t = 20"
        )
        assert (worst < -1) == (name == "with penalty")
        assert (ends[name, seed] < 0.05) if name == "with penalty" else (ends[name, seed] > 0.28)

# %% tags=["nbval-ignore-output"]
fields = {name: trained[name, 1] for name in ("equilibria only", "with penalty")}
paths = {}
for name, f in fields.items():
    with torch.no_grad():
        starts = disturbed.reshape(-1, 2)
        paths[name] = ode.flow(f, starts, torch.linspace(0, 20, 101), max_step=0.1)
figures.two_fields(fields, paths, disturbed, features)

# %% [markdown]
# With the penalty every disturbed feature returns. But read the claim again: it is about $x'=Mx$, that is, about *small* disturbances. And a penalty is a wish, not a constraint: after training, check $\mu_\infty$. SODEF gives no radius, so it proves nothing about a given disturbance. Lesson 7 asks for more.
#
# *Exercises 9.4 and 9.5 ask for $\mu_\infty$ and $\mu_2$, and for a norm in which the flow shrinks.*
#
# ## 9.6 LyaNet: train the speed of convergence
#
# **Question.** Why not put the Lyapunov inequality itself into the loss?
#
# The classes $y$ have centres $c_y=(\mp1.5,0)$. A state $\eta$ starts at $0$ and follows $\eta'=f(\eta,x)$, where $x$ is the input to be classified. Let $V_y(\eta)=\tfrac12\|\eta-c_y\|^2$. LyaNet (Rodriguez, Ames and Yue, 2202.02526) minimises the mean of
#
# $$\mathrm{relu}\big(\nabla V_y(\eta)^\top f(\eta,x)+\kappa V_y(\eta)\big)$$
#
# over inputs and states. No differential equation is solved in training.
#
# > **Claim 9.7 (Lyapunov loss).** If this loss is zero along a whole solution, then $V_y(\eta(t))\le e^{-\kappa t}V_y(\eta(0))$.
#
# *Proof.* $V_y'\le-\kappa V_y$. So $e^{\kappa t}V_y(\eta(t))$ does not increase. $\square$
#
# Compare with the usual way: integrate up to $t=1$ and ask only that $V_y(\eta(1))$ be small. Two half moons of points, $\kappa=4$, so the bound at $t=1$ is $e^{-4}\cdot1.125=0.0206$.
#
# **Predict first.** Both networks are integrated on to $t=5$. What will $V_y$ be there, small or large?

# %%
my_guess = None  # for example ("LyaNet small", "endpoint small")

# %%
inputs, classes = data.two_moons(300, noise=0.08, seed=0)
new_inputs, new_classes = data.two_moons(200, noise=0.08, seed=1)
centres = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])
kappa = 4.0


class ControlledField(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
        )

    def forward(self, eta, x):  # f must see x: otherwise one state would have to run to two centres
        return self.layers(torch.cat([eta, x], 1))


def potential(eta, y):
    return 0.5 * (eta - centres[y]).square().sum(1)


def lyapunov_loss(f):
    chosen = torch.randint(len(inputs), (256,))
    x = inputs[chosen].repeat(2, 1)
    y = classes[chosen].repeat(2)
    box = (2 * torch.rand(256, 2) - 1) * torch.tensor([2.5, 1.5])
    tube = 1.2 * torch.rand(256, 1) * centres[y[:256]]  # where the solutions will pass
    tube = tube + 0.25 * torch.randn(256, 2)
    eta = torch.cat([box, tube])
    slope = ((eta - centres[y]) * f(eta, x)).sum(1)
    return torch.relu(slope + kappa * potential(eta, y)).mean()


def endpoint_loss(f):
    chosen = torch.randint(len(inputs), (128,))
    x = inputs[chosen]
    eta = torch.zeros(128, 2)
    for _ in range(8):
        eta = runge_kutta.runge_kutta_step(
            lambda eta: f(eta, x), eta, 1 / 8, runge_kutta.TABLEAUS["rk4"]
        )
    return potential(eta, classes[chosen]).mean()


# %% tags=["nbval-ignore-output"]
def for_new_inputs(f, eta):
    return f(eta, new_inputs)


eta_times = torch.linspace(0, 5, 101)
decay = {}
eta_paths = {}
for name, loss, steps in (("LyaNet", lyapunov_loss, 1200), ("endpoint only", endpoint_loss, 300)):
    _ = torch.manual_seed(0)
    f = ControlledField()
    train(f, loss, steps)
    with torch.no_grad():
        path = ode.flow(partial(for_new_inputs, f), torch.zeros(200, 2), eta_times, max_step=0.05)
    eta_paths[name] = path
    decay[name] = torch.stack([potential(eta, new_classes) for eta in path])
    at_1 = decay[name][20]
    at_5 = decay[name][100]
    print(
        f"{name:14s} V(1): median {at_1.median():.4f}, mean {at_1.mean():.4f}   "
        f"V(5): median {at_5.median():.4f}, mean {at_5.mean():.4f}"
    )
bounds = 1.125 * torch.exp(-kappa * eta_times)
bound = bounds[20].item()
exceeded = (decay["LyaNet"][20] > bound).double().mean()
print(f"bound at t = 1: {bound:.4f}; exceeded by {exceeded:.0%} of the new inputs")
print(f"your guess: {my_guess}")
assert decay["LyaNet"][20].median() < 1.5 * bound and decay["LyaNet"][100].mean() < 0.2
assert decay["endpoint only"][20].median() < bound and decay["endpoint only"][100].mean() > 1

# %% [markdown]
# The endpoint network is right at $t=1$, even better than LyaNet, and worthless at $t=5$: it was never told to *stop*. LyaNet stays.
#
# Its bound, however, is exceeded by a good part of the inputs at $t=1$, and later by most: $V_y$ stalls a little above zero, where violations of the inequality are small and cost little.
# The loss was small *on average over sampled states*; the claim asks for zero along the solution. A small training loss is not a proof.
#
# Move the time. Circles and triangles are the states of the two classes, the stars their centres:

# %% tags=["nbval-ignore-output"]
live_lyanet = figures.states_and_potential(
    eta_times, eta_paths, decay, bounds, new_classes, centres
)
live_lyanet.still(t=3.0)

# %% tags=["nbval-ignore-output"]
live_lyanet

# %% [markdown]
# ## 9.7 ELCD: contraction by construction
#
# **Question.** Can a *rate* of convergence be built in, without a penalty and without a projection?
#
# Choose the equilibrium $x^*$ and write the field as a matrix times the distance to it (*extended linearisation*; Jaffe et al., 2402.08090):
#
# $$f(x)=A(x)\,(x-x^*),\qquad A(x)=-P(x)^\top P(x)+Q(x)-Q(x)^\top-\alpha I .$$
#
# $P$ and $Q$ are matrices produced by any networks. The middle part is antisymmetric, so $\tfrac12(A+A^\top)=-P^\top P-\alpha I$.
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
    dissipation = P.mT @ P + alpha * torch.eye(2)
    A = Q - Q.mT - dissipation if damp else Q - Q.mT + P  # without: an arbitrary symmetric part
    return (A @ (x - goal)[:, :, None])[:, :, 0]


starts = goal + 2 * torch.stack([circle.cos(), circle.sin()], 1)
bound = 2 * math.exp(-0.5 * 2)
for damp in (True, False):
    with torch.no_grad():
        path = ode.flow(partial(elcd, damp=damp), starts, torch.tensor([0.0, 2.0]))
    far = (path[-1] - goal).norm(dim=1).max().item()
    print(f"symmetric part as above: {damp!s:5s}  largest distance {far:.3g}, bound {bound:.3g}")
    assert (far <= bound) == damp

# %% [markdown]
# All solutions approach *the equilibrium*. Do any two of them also approach *each other*? Let the rotation be faster further out:
# $f(x)=(-\alpha I+s\|x\|\,J)\,x$ with $\alpha=\tfrac12$ and rotation speed $s$. Here $x^*=0$, and $\mathrm{sym}\,A=-\alpha I$.
#
# > **Claim 9.9 (pairs).** On the disc $\|x\|\le R$ this flow moves no two points apart exactly if $sR\le2\alpha$ (for $s\ge0$). The largest eigenvalue of $\mathrm{sym}\,Df$ at radius $r$ is $-\alpha+\tfrac12sr$.
#
# *Proof.* With $u=x/r$: $Df=-\alpha I+srJ+sr\,(Ju)u^\top$. The symmetric part of $(Ju)u^\top$ has the eigenvalues $\pm\tfrac12$. Apply lesson 1 on the disc, which no solution leaves. $\square$
#
# Two points at radius 1 and 1.2 on the same ray: the outer one turns ahead. (The solution is known: $r(t)=r_0e^{-\alpha t}$, and the angle is $sr_0(1-e^{-\alpha t})/\alpha$.)


# %%
def rotating_solution(radius, s, t):
    """The solution from (radius, 0), with alpha = 1/2."""
    r = radius * torch.exp(-0.5 * t)
    angle = s * radius * (1 - torch.exp(-0.5 * t)) / 0.5
    return torch.stack([r * angle.cos(), r * angle.sin()], 1)


def rate_on_the_disc(s):
    """Largest eigenvalue of sym Df on the disc of radius 1.2."""
    return -0.5 + 0.6 * s


live_pair = figures.rotating_pair(rotating_solution, rate_on_the_disc)
live_pair.still(s=5.0)

# %%
live_pair

# %% [markdown]
# At $s=5$ the distance grows from $0.2$ to $0.536$, although both radii shrink all the time, like $e^{-\alpha t}$. With a *constant* speed of rotation it would be the dashed curve.
# The authors of ELCD claim contraction in *some* metric, a curved way to measure distances. But a Euclidean robustness bound like that of lesson 7 needs *pairs* in the Euclidean norm.
#
# ## 9.8 Monotone equilibrium networks
#
# **Question.** What about a network of *infinite* depth?
#
# Repeat one layer for ever, $z\leftarrow\sigma(Wz+Ux+b)$ with $\sigma=\mathrm{relu}$, and call the limit the output. But is there a limit, and only one? An **equilibrium network** solves $z=\sigma(Wz+Ux+b)$.
# Winston and Kolter (2006.08591) choose
#
# $$W=(1-m)I-A^\top A+B-B^\top,\qquad m>0 .$$
#
# Then $\mathrm{sym}(I-W)=mI+A^\top A\succeq mI$. Seen as a flow, $z'=-(I-W)z+Ux+b$ has $\mu\le-m$: it is contractive.
#
# > **Claim 9.10 (one equilibrium).** If $\mathrm{sym}(I-W)\succeq mI$ with $m>0$, then $z=\mathrm{relu}(Wz+q)$ has exactly one solution for every $q$.
#
# > **Claim 9.11 (how to find it).** The iteration $z\leftarrow\mathrm{relu}\big(z-a((I-W)z-q)\big)$ converges to it for every $0<a<\dfrac{2m}{\|I-W\|^2}$.
#
# *Proof of both.* $z=\mathrm{relu}(Wz+q)$ says: for each entry, $z_i\ge0$, $g_i=((I-W)z-q)_i\ge0$ and $z_ig_i=0$. So does $z=\mathrm{relu}(z-ag)$ for any $a>0$: the iteration has the same fixed points.
# Before the relu, which is non-expansive, a difference $d$ becomes $d-a(I-W)d$, with $\|d-a(I-W)d\|^2\le(1-2am+a^2\|I-W\|^2)\|d\|^2$. For these $a$ the factor is below 1. A contraction has exactly one fixed point. $\square$
#
# One iteration is an Euler step of the flow, followed by a relu, and the limit for $a$ is the limit of Claim 9.2 in disguise.
#
# **Predict first.** With the matrices below, $U=I$, $b=0$ and $x=(1,1)$, repeat $z\leftarrow\mathrm{relu}(Wz+x)$ from $z=0$. Where does it settle?

# %%
my_guess = None  # for example (1, 0)

# %%
A = torch.tensor([[1.0, 0.5], [0.0, 0.5]])
B = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
m = 0.5
I = torch.eye(2)
W = (1 - m) * I - A.T @ A + B - B.T
x = torch.tensor([1.0, 1.0])  # U = I, b = 0
z = torch.zeros(2)
for n in range(6):
    z = torch.relu(W @ z + x)
    print(f"plain repetition, after {n + 1}: ({z[0]:.0f}, {z[1]:.0f})")
print(f"it never settles; your guess: {my_guess}")

limit_a = 2 * m / torch.linalg.matrix_norm(I - W, 2).item() ** 2
z = torch.zeros(2)
for _ in range(2000):
    z = torch.relu(z - 0.5 * limit_a * ((I - W) @ z - x))
print(f"forward-backward with half the limit {limit_a:.4f}: ({z[0]:.4f}, {z[1]:.4f})")
assert torch.allclose(z, torch.tensor([2 / 3, 0.0]), atol=1e-9)

# %% [markdown]
# Plain repetition, $a=1$, goes round in a cycle of three for ever: it never finds the equilibrium $(\tfrac23,0)$, which exists and is unique.
# Without $m>0$ not even that is sure. In one dimension, $W=2$ means $I-W=-1$:

# %%
candidates = torch.tensor([0.0, 1.0, 2.0])
for q in (-1.0, 1.0):
    solves = candidates[candidates == torch.relu(2 * candidates + q)].tolist()
    print(f"solutions of z = relu(2z {q:+.0f}) among 0, 1, 2: {solves}")

# %% [markdown]
# Two equilibria for $q=-1$, and none at all for $q=1$, since $2z+1>z$ for every $z\ge0$.
#
# > **Claim 9.12 (sensitivity).** The equilibrium is a Lipschitz function of $x$ with constant at most $\|U\|/m$.
#
# *Proof.* For the relu, $\langle z-\bar z,u-\bar u\rangle\ge\|z-\bar z\|^2$, where $u=Wz+Ux+b$. With $d=z-\bar z$ and $e=x-\bar x$ this is $\langle d,Wd+Ue\rangle\ge\|d\|^2$. So $m\|d\|^2\le\langle d,(I-W)d\rangle\le\langle d,Ue\rangle\le\|d\|\|U\|\|e\|$. $\square$
#
# For a pattern of active units (a diagonal $D$ of zeros and ones) the derivative of the equilibrium is $(I-DW)^{-1}DU$. Four patterns, one bound:


# %%
def slope_of_pattern(D):
    return torch.linalg.matrix_norm(torch.linalg.solve(I - D @ W, D), 2)


patterns = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
largest = max(slope_of_pattern(torch.diag(pattern)).item() for pattern in patterns)
print(f"largest slope of the four patterns {largest:.4f} <= bound |U|/m = {1 / m:.1f}")
assert largest <= 1 / m + 1e-12
one = 1 / (1 - 0.9)
print(f"in one dimension, W = 0.9 (only m = 0.1 is true): slope {one:.1f}, more than {1 / m:.1f}")

# %% [markdown]
# How sharp is the limit for $a$? Take $A=0$ and $W=(1-m)I-\omega J$ with $m=\tfrac12$ and $\omega=3$. Then $I-W=mI+\omega J$, with norm squared $m^2+\omega^2$, and all units stay active near the equilibrium $(3,3)$. The limit is $2m/(m^2+\omega^2)=0.10811$ again:

# %%
G = 0.5 * torch.eye(2) + 3 * J  # I - W
equilibrium = torch.tensor([3.0, 3.0])


def iterations(a):
    """100 iterations from (4, 3), the start included."""
    z = torch.tensor([4.0, 3.0])
    points = [z]
    for _ in range(100):
        z = torch.relu(z - a * (G @ (z - equilibrium)))
        points.append(z)
    return torch.stack(points)


def factor_of_iteration(a):
    """By which the distance is multiplied while both units are active."""
    return math.sqrt((1 - 0.5 * a) ** 2 + (3 * a) ** 2)


live_equilibrium = figures.forward_backward(iterations, equilibrium, factor_of_iteration, 1 / 9.25)
live_equilibrium.still(a=0.08)

# %%
live_equilibrium

# %% [markdown]
# The best step is half the limit: there the factor is smallest. Far beyond the limit the relu keeps the iteration bounded, but it never settles.
#
# *Exercise 9.3 asks for an equilibrium.*
#
# ## Recap
#
# | family | what is promised | in which sense | what breaks it |
# |---|---|---|---|
# | thin residual layers | close to a flow (Claim 4.1), increasing on the line (Claim 4.2) | error $\propto h$ | $f$ not Lipschitz, $hL>1$ |
# | antisymmetric | no growing mode (Claim 9.1) | frozen eigenvalues | saturated units; steps above $2\gamma/(\gamma^2+\omega^2)$ (Claim 9.2) |
# | Hamiltonian | symplectic, reversible, derivative of norm $\ge1$ (Claim 9.3, Claim 9.4) | Verlet steps | Euler steps; $h>2$ |
# | projection | $V\le V(0)e^{-\alpha t}$ (Claim 9.5) | exact flow | flat points of $V$; long steps |
# | SODEF | disturbed features return (Claim 9.6) | small disturbances, maximum norm | rows not dominant |
# | LyaNet | $V_y\le e^{-\kappa t}V_y(0)$ (Claim 9.7) | if the loss is zero everywhere | only sampled states; only the endpoint |
# | ELCD | rate $\alpha$ to the equilibrium (Claim 9.8) | distance to $x^*$ | pairs of points (Claim 9.9) |
# | monotone equilibrium | one equilibrium, $\|U\|/m$-Lipschitz (Claim 9.10, Claim 9.12) | Euclidean, all pairs | $m\le0$; step $a$ too long (Claim 9.11) |
#
# * Backpropagation is the adjoint equation of the *network* (Claim 4.3). The maximum principle describes its best weights (Claim 4.4). The adjoint equation of the *flow* agrees up to $O(h)$ (Claim 4.5).
# * Reversing a contractive flow expands (Claim 4.6). A finite one-sided constant excludes blow-up (Claim 4.7). At "underflow in dt", ask first whether the field that you integrate, perhaps the reversed one, has such a constant; then look for numbers that are not finite.
#
# ## What can go wrong in practice
#
# * *Trusting a frozen eigenvalue.* It controls neither distances nor the discrete network.
# * *A promise about the flow, used for a network with long steps.* Check the step, or use an implicit method (lesson 2).
# * *Using `odeint_adjoint` on a dissipative field.* Prefer `odeint`, or ask for more output times.
# * *Comparing constants in different norms.* In $d$ dimensions $\mu_\infty<0$ bounds Euclidean distances only up to a factor $\sqrt d$.
# * *Reading a small training loss as a theorem.* SODEF and LyaNet must be checked after training, on new inputs.
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * R. T. Q. Chen et al.: *Neural ordinary differential equations*, arXiv 1806.07366. E. Dupont, A. Doucet, Y. W. Teh: *Augmented neural ODEs*, arXiv 1904.01681.
# * W. E, J. Han, Q. Li: *A mean-field optimal control formulation of deep learning*, arXiv 1807.01083.
# * E. Haber, L. Ruthotto: *Stable architectures for deep neural networks*, arXiv 1705.03341. B. Chang et al.: *AntisymmetricRNN*, arXiv 1902.09689.
# * J. Z. Kolter, G. Manek: *Learning stable deep dynamics models*, arXiv 2001.06116.
# * Q. Kang et al.: *Stable neural ODE with Lyapunov-stable equilibrium points (SODEF)*, arXiv 2110.12976.
# * I. D. J. Rodriguez, A. D. Ames, Y. Yue: *LyaNet: a Lyapunov framework for training neural ODEs*, arXiv 2202.02526.
# * S. Jaffe et al.: *Learning neural contracting dynamics: extended linearization and global guarantees*, arXiv 2402.08090.
# * E. Winston, J. Z. Kolter: *Monotone operator equilibrium networks*, arXiv 2006.08591.
