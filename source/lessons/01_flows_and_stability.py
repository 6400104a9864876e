# %% [markdown]
# # 1. When do nearby states stay near?
#
# Let go of a pendulum, and of a second one, held a hair's breadth higher. Will the two stay close, or will the small difference grow?
# The same question decides whether a neural network can be trusted: its input is where you let go, its layers are moments in time,
# and inputs that hardly differ should not end far apart.
#
# **You will learn**
#
# * what a *flow* is, and why errors can grow like $e^{Lt}$ but often do not;
# * to compute $\mu$, the number that says how fast neighbours can separate;
# * why things can grow although all eigenvalues are negative, and which norm repairs it;
# * what stable and attractive mean, and how an energy proves stability;
# * which flows forget (valleys), which remember (rotations), and how to mix them.
#
# **Before you start:** matrices and eigenvalues; that $x'=f(x)$ tells a point $x$ its velocity; a little PyTorch.
# **Time:** MINUTES for the core path; parts marked ★ can wait; the computer needs less than a minute.

# %% tags=["setup"]
# setup

# %%
import math
from functools import partial

import torch

from chapter_checks import passed, reply, your_turn
from chapter_utils import ode, plotting
from figures import lesson_01 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
torch.set_num_threads(1)  # tiny arrays: one thread is fastest

# %% [markdown]
# ## 1.1 Play first
#
# A **vector field** $f$ attaches an arrow to each point. A state $x(t)$ follows the arrows: $x'=f(x)$.
# Here are four, each with a parameter $\gamma$ (gamma):
#
# | system | equations | $\gamma$ is |
# |---|---|---|
# | damped pendulum | $q'=p,\;\;p'=-\sin q-\gamma p$ (angle $q$, speed $p$) | the friction |
# | two valleys | downhill on $V=\tfrac14x_1^4+\tfrac{\gamma-1}2x_1^2+x_2^2$ | how much the ridge is filled up |
# | rotation | $x_1'=-x_2-\gamma x_1,\;\;x_2'=x_1-\gamma x_2$ | the pull to the centre |
# | shear | $x_1'=-x_1+5\gamma x_2,\;\;x_2'=-2x_2$ | how strongly $x_2$ drives $x_1$ |
#
# In each, follow two neighbours that start 0.4 apart.


# %%
def pendulum(x, gamma):
    q, p = x.unbind(-1)
    return torch.stack([p, -torch.sin(q) - gamma * p], -1)


def two_valleys(x, gamma):
    return torch.stack([(1 - gamma) * x[..., 0] - x[..., 0] ** 3, -2 * x[..., 1]], -1)


def rotation(x, gamma):
    return torch.stack([-x[..., 1] - gamma * x[..., 0], x[..., 0] - gamma * x[..., 1]], -1)


def shear(x, gamma):
    return torch.stack([-x[..., 0] + 5 * gamma * x[..., 1], -2 * x[..., 1]], -1)


systems = {  # name: (field, the marked pair)
    "damped pendulum": (pendulum, [[2.4, 0.0], [2.8, 0.0]]),
    "two valleys": (two_valleys, [[-0.2, 2.0], [0.2, 2.0]]),
    "rotation": (rotation, [[1.8, 0.0], [2.2, 0.0]]),
    "shear": (shear, [[-1.5, -0.2], [-1.5, 0.2]]),
}
times = torch.linspace(0, 20, 201)


# %% jupyter={"source_hidden": true}
def trajectories(system, gamma, starts):
    """The states at all times from a batch of starts (B, 2): shape (201, B, 2)."""
    field, _ = systems[system]
    return ode.flow(partial(field, gamma=gamma), starts, times, max_step=0.05)


def gap(states):
    """Distance of the first two trajectories at each time."""
    return (states[:, 0] - states[:, 1]).norm(dim=1)


gammas = {"damped pendulum": 0.3, "two valleys": 0.3, "rotation": 0.0, "shear": 1.0}
figures.four_systems(systems, gammas, times, trajectories, gap)

# %% [markdown]
# Now change $\gamma$ yourself. The first picture is still; the second moves when you have run the notebook.
# (Keys: Tab leads to a control, arrows move a slider, Space opens a list.)
#
# * *Pendulum:* what makes the pair end together? What happens at $\gamma=0$, and below?
# * *Rotation:* for which $\gamma$ is the distance kept exactly?
# * *Shear:* every trajectory ends in the origin. Does the distance of the pair ever rise above its start?

# %%
live_portrait = figures.phase_portrait(systems, times, trajectories, gap)
live_portrait.still(system="damped pendulum", gamma=0.0)

# %%
live_portrait

# %% [markdown]
# <details><summary>What you can find</summary>
#
# * *Pendulum:* with friction, $\gamma>0$, the pair ends together. At $\gamma=0$ it does not: the higher swing takes longer. Below, something pushes.
# * *Rotation:* only at $\gamma=0$. The smallest $\gamma$ either side shrinks or stretches it.
# * *Shear:* yes, if $\gamma$ is large (try 1 or more): after a brief dip it rises above its start, and only then dies out.
#
# </details>
#
# **Predict first.** The pair of the two valleys starts on either side of a ridge. From which $\gamma$ on does it end together? Look at $V$ in the table.

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
pair = torch.tensor([[-0.2, 2.0], [0.2, 2.0]])
apart = {}
for gamma in (0.0, 0.5, 0.9, 1.0, 1.1, 1.5):
    states = ode.flow(partial(two_valleys, gamma=gamma), pair, [0.0, 200.0], max_step=0.2)
    apart[gamma] = gap(states)[-1].item()
    print(f"gamma = {gamma}:  distance at time 200 is {apart[gamma]:.2f}")
assert apart[0.9] > 0.6 and apart[1.1] < 1e-6
reply(
    my_guess,
    1.0,
    "At 1 the term with x_1^2 is gone: no ridge, V is convex. "
    "(There it is so flat that at time 200 the two have not quite met.)",
    wrong={0.0: "there the ridge is as it was.", 0.5: "half a ridge is still a ridge."},
)

# %% [markdown]
# ## 1.2 The flow
#
# **Question.** Where is the state after time $t$, and what does it depend on?
#
# Start at $x\in\mathbb R^d$ and follow the arrows for a time $t$. The point where you arrive is $\varphi_t(x)$; the map $\varphi_t$ is the **flow**.
#
# **Your turn 1.A.** Get there by straight steps. Divide the time `t` into `steps` equal pieces; in each, go along the arrow of the place where you *are*.
# `f` maps a batch `x` of states, of shape (B, d), to their arrows, of the same shape.


# %%
def follow(f, x, t, steps):
    """Arrive approximately at phi_t(x), for all states x (B, d) at once: shape (B, d)."""
    ### BEGIN SOLUTION
    for _ in range(steps):
        x = x + t / steps * f(x)
    return x
    ### END SOLUTION


your_turn("1.A")


# %%
def library_follow(f, x, t, steps):
    return ode.flow(f, x, [0.0, t], method="euler", max_step=t / steps)[-1]


arrive = follow if passed("1.A") else library_follow
swing = partial(pendulum, gamma=0.3)
start = torch.tensor([[2.5, 0.0]])
truth = ode.flow(swing, start, [0.0, 5.0])[-1]
for steps in (10, 100, 1000, 10_000):
    error = (arrive(swing, start, 5.0, steps) - truth).norm()
    print(f"{steps:6d} steps: {error:.4f} from the true place")

# %% [markdown]
# Ten times the steps, about a tenth of the error. The truth is `ode.flow(f, x, times)`: small steps of a better method (lesson 2), the states at all `times`, of shape (K, B, d).
#
# Is there always a flow, and only one? The field is **$L$-Lipschitz** if $\|f(x)-f(y)\|\le L\|x-y\|$ for all $x,y$:
# arrows at nearby points are alike. Here $\|\cdot\|$ is the Euclidean norm, and of a matrix its largest singular value.
#
# > **Claim 1.1 (flow).** If $f:\mathbb R^d\to\mathbb R^d$ is $L$-Lipschitz, there is exactly one solution from each starting point, for all times, and
# > $\varphi_{t+s}=\varphi_t\circ\varphi_s$.
#
# (The theorem of Picard and Lindelöf.) Pause at time $s$, forget the past, go on: a network that is a flow can be cut into layers at any time.
#
# How fast can a distance grow?
#
# > **Claim 1.2 (Gronwall).** If $f$ is $L$-Lipschitz, then $e^{-Lt}\|x-y\|\le\|\varphi_t(x)-\varphi_t(y)\|\le e^{Lt}\|x-y\|$ for $t\ge0$.
#
# *Proof.* The distance $d(t)$ changes at most as fast as the velocities differ, $|d'|\le Ld$. So $e^{-Lt}d$ cannot increase and $e^{Lt}d$ cannot decrease. $\square$
#
# So two solutions never meet: **a flow loses no information**, though it may make it very small.
#
# **Predict first.** The fields $-5x$ and $+5x$ both have $L=5$. After time 1 Gronwall allows the factor $e^5\approx148.4$. What is the true factor for $-5x$?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
least = math.exp(-5)
most = math.exp(5)
starts = torch.tensor([[1.0], [2.0]])
for slope in (-5.0, 5.0):
    states = ode.flow(lambda x, slope=slope: slope * x, starts, [0.0, 1.0], max_step=1e-3)
    factor = gap(states)[-1].item()
    print(f"x' = {slope:+.0f} x:  Gronwall {least:.5f} <= true {factor:.5f} <= Gronwall {most:.1f}")
    assert least - 1e-9 <= factor <= most + 1e-6
reply(
    my_guess,
    0.00674,
    "The solutions are x e^(-5t), so their difference shrinks by e^(-5) = 0.00674.",
    wrong={
        148.4: "that is what Gronwall allows, and what +5x does.",
        1.0: "the two do not keep their distance.",
        0.2: "that is 1/5; it is not the slope that counts but e to the slope.",
    },
)

# %% [markdown]
# Both extremes happen, and Gronwall cannot tell them apart: $L$ is a size and has no sign.
#
# ### ★ The flow, checked, and without Lipschitz
#
# One may pause as often as one likes (first line below).
#
# **Drop the assumption** and the claim breaks. With $x'=2\sqrt{|x|}$, of infinite slope at 0, one may stay there for ever or leave with $x(t)=t^2$.
# And $x'=x^2$, whose slope grows with $x$, runs from 1 to infinity as $t\to1$.

# %% jupyter={"source_hidden": true}
points = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
together = ode.flow(swing, points, [0.0, 3.0])[-1]
pause = ode.flow(swing, points, [0.0, 1.2])[-1]
resumed = ode.flow(swing, pause, [0.0, 1.8])[-1]
print("3.0 in one go = 1.2 and then 1.8:", torch.allclose(together, resumed, atol=1e-8))


def root(x):
    return 2 * x.abs().sqrt()


t = torch.linspace(0, 2, 201, requires_grad=True)
velocity = torch.autograd.grad((t**2).sum(), t)[0]
moving = torch.allclose(velocity, root(t.detach() ** 2))
resting = root(torch.zeros(1)).item() == 0
print(f"x(t) = t^2 solves x' = 2 sqrt|x|: {moving}   so does x(t) = 0: {resting}")
blow_up = ode.flow(torch.square, torch.ones(1, 1), torch.tensor([0.0, 0.9, 0.99]), max_step=1e-4)
_, near, nearer = blow_up.flatten().tolist()
print(f"x' = x^2 from 1:  x(0.9) = {round(near, 2)}   x(0.99) = {round(nearer, 1)}")

# %% [markdown]
# ## 1.3 A number with a sign
#
# **Question.** What is it about $-5x$ that pulls points together?
#
# Differentiate the *squared* distance of two solutions. With the inner product $\langle u,v\rangle=u^\top v$,
#
# $$\frac{d}{dt}\,\tfrac12\|x-y\|^2=\langle f(x)-f(y),\,x-y\rangle .$$
#
# Only the part of the velocity difference along $x-y$ counts. If it is at most $\mu\|x-y\|^2$ for all pairs,
#
# $$\langle f(x)-f(y),\,x-y\rangle\le\mu\|x-y\|^2,$$
#
# then $f$ is called **one-sided Lipschitz** with constant $\mu$. For $-5x$ it is $\mu=-5$. By Cauchy–Schwarz $\mu\le L$ always; and $\mu$ may be negative.
#
# > **Claim 1.3 (one-sided bound).** If $f:\mathbb R^d\to\mathbb R^d$ is continuous and one-sided Lipschitz with constant $\mu$, there is exactly one solution from each starting point for $t\ge0$,
# > and $\|\varphi_t(x)-\varphi_t(y)\|\le e^{\mu t}\|x-y\|$.
#
# *Proof of the bound.* The distance $d$ has $(d^2)'\le2\mu d^2$. Hence $(e^{-2\mu t}d^2)'=e^{-2\mu t}\big((d^2)'-2\mu d^2\big)\le0$: the number $e^{-2\mu t}d^2$ cannot increase. Take the root. $\square$
#
# <details><summary>Why there is exactly one solution, although f need not be Lipschitz</summary>
#
# A continuous field has at least one solution for a short time (Peano). It cannot run to infinity in a finite time, because $\tfrac12(\|x\|^2)'=\langle f(x)-f(0),x\rangle+\langle f(0),x\rangle\le\mu\|x\|^2+\|f(0)\|\,\|x\|$, so that $\|x\|$ grows at most exponentially.
# So it can be continued for all $t\ge0$. And two solutions from the same point have $d(0)=0$, so $d=0$ for ever. An example is $x'=-\mathrm{sign}(x)\sqrt{|x|}$, with $\mu=0$ and no $L$.
# Without continuity there may be no solution at all: $f(x)=-1$ for $x\ge0$ and $+1$ for $x<0$ has $\mu=0$, and no solution can leave 0 or stay there.
#
# </details>
#
# **Your turn 1.B.** Write the quotient $\langle f(x)-f(y),x-y\rangle\,/\,\|x-y\|^2$ for a batch of pairs: `x` and `y` have the shape (B, d), each row is a pair, and $B$ numbers come out.


# %%
def one_sided_quotient(f, x, y):
    """<f(x) - f(y), x - y> / |x - y|^2 for each pair of rows of x and y (B, d): shape (B,)."""
    ### BEGIN SOLUTION
    apart = x - y
    along = (f(x) - f(y)) * apart
    return along.sum(1) / apart.square().sum(1)
    ### END SOLUTION


your_turn("1.B")

# %% [markdown]
# The largest of many quotients is a *lower* bound for $\mu$. And $\mu$ itself? Nearby, $f(x)-f(y)\approx Df(x)(x-y)$ with the **Jacobian** $Df$, the matrix of partial derivatives.
# In $\langle Mv,v\rangle$ only the **symmetric part** $\mathrm{sym}(M)=\tfrac12(M+M^\top)$ counts; the largest value over unit vectors is its largest eigenvalue, $\lambda_{\max}$.
#
# > **Claim 1.4 (from the Jacobian).** For a continuously differentiable $f$ on an open convex set the best constants are
# > $\mu=\sup_x\lambda_{\max}\big(\mathrm{sym}\,Df(x)\big)$ and $L=\sup_x\|Df(x)\|$.
#
# (**Convex**: with any two points it holds the segment between them.)
#
# *Proof.* Along the segment, $f(x)-f(y)=\int_0^1Df(y+s(x-y))(x-y)\,ds$. Take the inner product with $x-y$: at most $\mu\|x-y\|^2$. Take the norm: at most $L\|x-y\|$. Let $y\to x$: no smaller numbers will do. $\square$
#
# **Your turn 1.C.** For $f(x)=Ax$ the Jacobian is $A$ everywhere. With paper and pencil, find the symmetric part and $\mu$ of $A=\begin{pmatrix}-1&5\\0&-1\end{pmatrix}$.

# %%
### BEGIN SOLUTION
### GIVEN mu_by_hand = ...
mu_by_hand = -1 + 5 / 2  # sym A = [[-1, 2.5], [2.5, -1]] maps (1, 1) to 1.5 times (1, 1)
### END SOLUTION

your_turn("1.C")

# %% [markdown]
# Now a small neural network in continuous time,
#
# $$x'=-\gamma x+W\tanh(x),\qquad W=\begin{pmatrix}0&2\\-2&0\end{pmatrix}.$$
#
# Its Jacobian is $-\gamma I+WD$ with $D=\mathrm{diag}(d_1,d_2)$, the slopes of tanh at $x_1$ and $x_2$. They take all values between 0 and 1.
#
# **Predict first.** Without friction, $\gamma=0$, some distances grow. From which $\gamma$ on does none?

# %%
my_guess = ...  # a number

# %% tags=["reveal"]
W = torch.tensor([[0.0, 2.0], [-2.0, 0.0]])
corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # the extreme (d1, d2)


def small_network(x, gamma):
    return -gamma * x + torch.tanh(x) @ W.T


def constants(gamma):
    """mu and L of the small network."""
    jacobians = -gamma * torch.eye(2) + W * corners[:, None, :]  # W D scales the columns of W
    mu = torch.linalg.eigvalsh((jacobians + jacobians.mT) / 2).max().item()
    return mu, torch.linalg.matrix_norm(jacobians, 2).max().item()


x, y = 3 * torch.randn(2, 20_000, 2, generator=torch.Generator().manual_seed(1))
y[:10_000] = x[:10_000] + 1e-3 * y[:10_000]  # half of the pairs are close
for gamma in (0.5, 1.0, 1.5):
    network = partial(small_network, gamma=gamma)
    quotients = ((network(x) - network(y)) * (x - y)).sum(1) / (x - y).square().sum(1)
    if passed("1.B"):
        quotients = one_sided_quotient(network, x, y)
    sided = quotients.max().item()
    size = ((network(x) - network(y)).norm(dim=1) / (x - y).norm(dim=1)).max()
    mu, L = constants(gamma)
    print(
        f"gamma = {gamma}:  measured {round(sided, 2) + 0.0:5.2f} <= mu = {mu + 0.0:5.2f}"
        f"     measured {size:.2f} <= L = {L:.2f}"
    )
    assert sided <= mu + 1e-9 and size <= L + 1e-9
reply(
    my_guess,
    1.0,
    "The symmetric part of WD has the eigenvalues d2 - d1 and d1 - d2, at most 1.",
    wrong={
        2.0: "that is the norm of W, a size. It would do, but half of it does too.",
        0.0: "there the quotient of some pairs is almost 1.",
    },
)

# %% [markdown]
# By hand:
#
# $$WD=\begin{pmatrix}0&2d_2\\-2d_1&0\end{pmatrix},\qquad\mathrm{sym}(WD)=\begin{pmatrix}0&d_2-d_1\\d_2-d_1&0\end{pmatrix}.$$
#
# The eigenvalues are $\pm(d_2-d_1)$: at most 1, and as near to 1 as you like. And $-\gamma I$ lowers them by $\gamma$. Hence $\mu=1-\gamma$, while $L$ even grows with the friction.
#
# <details><summary>Why the code tries four pairs of slopes only</summary>
#
# Largest eigenvalue and norm are convex functions of $D$, hence largest at a corner.
#
# </details>

# %%
network_times = torch.linspace(0, 5, 101)
# apart along (1, -1), the direction that separates fastest here
network_pair = torch.tensor([[-0.15, 3.15], [0.15, 2.85]])


def network_states(gamma):
    field = partial(small_network, gamma=gamma)
    return ode.flow(field, network_pair, network_times, max_step=0.05)


live_bounds = figures.growth_and_bounds(network_times, network_states, gap, constants)
live_bounds.still(gamma=0.5)

# %%
live_bounds

# %% [markdown]
# On the right the measured curve starts *along* $e^{\mu t}$: the pair was placed where $\mu$ is nearly attained. Then it leaves the bound: $\mu$ is the worst case over all places.
# From $\gamma=1$ on no distance ever grows, which $L$ can never prove.
#
# ### ★ Without convexity
#
# Claim 1.4 needs the convex set. Take $f(x)=(0,\theta(x))$, where $\theta$ is the angle of $x$ between $-\pi$ and $\pi$, on the ring $\tfrac12<\|x\|<\tfrac32$ cut open along the negative $x_1$-axis.
# The Jacobian is tame everywhere. But the segment between two points on either side of the cut leaves the set:


# %%
def angle_field(x):
    return torch.stack([torch.zeros_like(x[..., 0]), torch.atan2(x[..., 1], x[..., 0])], -1)


radius, turn = torch.rand(2, 5000, generator=torch.Generator().manual_seed(2))
radius = 0.5 + radius
turn = (2 * turn - 1) * torch.pi
ring = torch.stack([radius * turn.cos(), radius * turn.sin()], 1)
Df = torch.func.vmap(torch.func.jacrev(angle_field))(ring)  # by automatic differentiation
largest = ode.logarithmic_norm(Df).max().item()
x = torch.tensor([-1.0, 0.01])
y = torch.tensor([-1.0, -0.01])
quotient = ((angle_field(x) - angle_field(y)) @ (x - y) / (x - y).square().sum()).item()
print(f"lambda_max of sym Df: at most {largest:.1f}    a pair across the cut: {quotient:.0f}")
assert largest <= 2 and quotient > 100

# %% [markdown]
# ## 1.4 Contractive flows forget
#
# **Question.** What follows if $\mu<0$?
#
# A field with $\mu<0$ is called **contractive**: all distances shrink, every solution forgets where it came from.
# An **equilibrium** is a point $x^*$ with $f(x^*)=0$: who starts there, stays.
#
# > **Claim 1.5 (contractive).** If $f:\mathbb R^d\to\mathbb R^d$ is continuous, and one-sided Lipschitz with $\mu<0$, it has exactly one equilibrium $x^*$, and $\|x(t)-x^*\|\le e^{\mu t}\|x(0)-x^*\|$ for every solution.
#
# *Proof.* The map $\varphi_1$ shrinks all distances by the factor $e^{\mu}<1$, so it has exactly one fixed point (Banach). The flow maps it to a fixed point of $\varphi_1$ again, hence to itself. Now Claim 1.3. $\square$
#
# With an input $b$ the network $x'=-\gamma x+W\tanh(x)+b$ keeps its $\mu=1-\gamma$. For $\gamma>1$ each input has one answer, wherever the network starts:

# %%
b = torch.tensor([3.0, 1.0])
starts = 5 * torch.randn(200, 2, generator=torch.Generator().manual_seed(3))
moments = torch.tensor([0.0, 2.0, 10.0, 40.0])
states = ode.flow(lambda x: small_network(x, 1.5) + b, starts, moments, max_step=0.02)
answer = states[-1].mean(0)
for moment, state in zip(moments, states, strict=True):
    farthest = (state - answer).norm(dim=1).max()
    bound = math.exp(-0.5 * moment) * (starts - answer).norm(dim=1).max()
    print(f"t = {moment:4.0f}:  farthest from the answer {farthest:7.4f} <= bound {bound:7.4f}")
    assert farthest <= bound + 1e-9

# %% [markdown]
# <details><summary>Drop the sign of μ</summary>
#
# Allow $\mu=0$: $x'=(1,0)$ has no equilibrium at all, and the rotation with $\gamma=0$ has one that nobody approaches.
#
# </details>
#
# ## 1.5 Stable, attractive, both
#
# **Question.** What should "stable" mean for one equilibrium $x^*$?
#
# * **Stable:** solutions stay as near as you like if they start near enough. For each $\varepsilon>0$ there is a $\delta>0$ such that $\|x(0)-x^*\|<\delta$ implies $\|x(t)-x^*\|<\varepsilon$ for all $t\ge0$.
# * **Attractive:** solutions that start near enough converge to $x^*$.
# * **Asymptotically stable:** stable *and* attractive.
#
# Neither of the first two implies the other. The pendulum without friction, hanging down, is stable but not attractive.
# And attractive alone allows a long trip before the solution arrives, however near it starts (Claim 1.6).
#
# ### ★ A long trip
#
# Let a point with radius $r$ and angle $\theta$ move by $r'=r(1-r)$, $\theta'=\sin^2(\theta/2)$. The circle $r=1$ attracts, and on it every point drifts round to $\theta=2\pi$, which is the equilibrium $(1,0)$ again.
#
# **Predict first.** Start on the circle at $\theta=0.05$, at a distance of 0.05 from the equilibrium. How far away from it does the solution get on its way?

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def round_trip(x):
    """r' = r (1 - r), theta' = sin^2(theta / 2) = (1 - cos theta) / 2, in Cartesian coordinates."""
    r = x.norm(dim=-1, keepdim=True)
    turned = torch.stack([-x[..., 1], x[..., 0]], -1)
    return (1 - r) * x + (r - x[..., :1]) / (2 * r) * turned


trip_times = torch.linspace(0, 400, 4001)
trip_start = torch.tensor([[math.cos(0.05), math.sin(0.05)]])
trip = ode.flow(round_trip, trip_start, trip_times, max_step=0.05)[:, 0]
distance = (trip - torch.tensor([1.0, 0.0])).norm(dim=1)
figures.round_trip(trip_times, trip, distance)
reply(
    my_guess,
    2.0,
    "It drifts away from (1, 0), passes the opposite point (-1, 0), and arrives from below.",
    wrong={
        0.05: "to stay as near as at the start it would have to turn back, but theta only grows.",
        math.pi: "that is half the way round along the circle; distances are straight.",
        1.0: "that is the radius.",
    },
)

# %% [markdown]
# > **Claim 1.6 (attractive is not enough).** The equilibrium $(1,0)$ of this field attracts every solution except the one that rests at the origin, and it is not stable.
#
# However near you start on the circle, just above the axis, the trip leads to distance 2.
#
# ## 1.6 Linear fields: what eigenvalues say, and what they hide
#
# **Question.** For $x'=Ax$ with a matrix $A$, when is the origin stable?
#
# The flow is the matrix exponential, $\varphi_t(x)=e^{At}x$, and differences follow the same equation. So $\|e^{At}\|$, the largest stretch, tells everything.
# Let $\alpha(A)$ be the **spectral abscissa**, the largest real part of the eigenvalues.
#
# > **Claim 1.7 (linear stability).** The origin is asymptotically stable if and only if $\alpha(A)<0$. It is stable if and only if $\alpha(A)\le0$ and
# > every eigenvalue on the imaginary axis has as many independent eigenvectors as its multiplicity.
#
# The drift $A=\begin{pmatrix}0&1\\0&0\end{pmatrix}$ has the eigenvalue 0 twice but only one eigenvector, and $e^{At}=\begin{pmatrix}1&t\\0&1\end{pmatrix}$ grows like $t$. *Exercise 1.6 asks you to decide this for any matrix.*
#
# Now the eigenvalues are $-1$ and $-2$. Everything decays in the end. On the way, too?
#
# $$A=\begin{pmatrix}-1&k\\0&-2\end{pmatrix}$$
#
# **Predict first.** Let $k=10$. How long does $e^{At}x$ become at most, over all $t\ge0$ and all $x$ of length 1?

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def stretch(A, t):
    """||exp(A t)||, the largest stretch after time t, or after each of many times."""
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[..., None, None]), 2)


A = torch.tensor([[-1.0, 10.0], [0.0, -2.0]])
t = torch.linspace(0, 4, 4001)
longest = stretch(A, t)
mu = ode.logarithmic_norm(A).item()  # another name of mu, here lambda_max(sym A)
print(f"mu {mu:.3f}   longest {longest.max():.3f} at t = {t[longest.argmax()]:.2f}")
assert (longest <= (mu * t).exp() + 1e-9).all() and (longest >= (-t).exp() - 1e-9).all()
reply(
    my_guess,
    2.56,
    "At first x_2 drives x_1 ten times faster than x_1 decays; then both fade.",
    wrong={
        1.0: "that would be so if the eigenvectors were perpendicular.",
        10.0: "x_2 fades before it has done that much.",
    },
)

# %% [markdown]
# This **transient growth** is invisible to the eigenvalues. But $\mu$ sees it:
#
# > **Claim 1.8 (transient growth).** For $t\ge0$, $\;e^{\alpha(A)t}\le\|e^{At}\|\le e^{\mu t}$ with $\mu=\lambda_{\max}(\mathrm{sym}\,A)$, and $\mu$ is the slope of $\|e^{At}\|$ at $t=0$.
# > So some distance grows at first if and only if $\mu>0$. If $A$ is **normal** ($AA^\top=A^\top A$), then $\alpha(A)=\mu$ and all three are equal.
#
# Move $k$ and the time $t$. By hand, as in 1.C, $\mu=-\tfrac32+\tfrac12\sqrt{1+k^2}$; it changes its sign at $k=\sqrt8\approx2.83$.


# %%
def sheared(k):
    return torch.tensor([[-1.0, k], [0.0, -2.0]])


def mu_2(A):
    """Largest eigenvalue of the symmetric part of A."""
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


live_transient = figures.transient_growth(sheared, stretch, lambda k: mu_2(sheared(k)))
live_transient.still(k=10.0, t=0.7)

# %%
live_transient

# %% [markdown]
# The orange curve leaves along the blue line and ends parallel to the black one: $\mu$ rules the beginning, $\alpha$ the end.
# With $k=0$ the three curves are one. *Exercise 1.1 asks for the slope and the peak of any such matrix.*
#
# ## 1.7 The right way to measure
#
# **Question.** For $k=10$ all solutions end in the origin, yet $\mu\approx3.5$. Is the field to blame, or our way to measure?
#
# Give the coordinates weights $w_i>0$ and measure with $\|(w_1x_1,\dots,w_dx_d)\|$ instead.
# In the coordinates $z_i=w_ix_i$ the matrix has the entries $w_ia_{ij}/w_j$. With $w=(1,10)$ the disturbing 10 becomes a 1.
#
# **Your turn 1.D.** Write the $\mu$ of this new matrix, from `A` of shape (d, d) and the weights `w` of shape (d,). `mu_2`, from the last section, gives the Euclidean $\mu$ of a matrix.


# %%
def mu_in_weights(A, w):
    """mu of A (d, d) in the norm |(w_1 x_1, ..., w_d x_d)|, w (d,) positive: a number."""
    ### BEGIN SOLUTION
    in_new_coordinates = w[:, None] * A / w  # w_i a_ij / w_j
    return mu_2(in_new_coordinates)
    ### END SOLUTION


your_turn("1.D")


# %%
def library_mu(A, w):
    # the library takes the matrix P of the squared length x^T P x
    return ode.logarithmic_norm(A, weight=torch.diag(w**2)).item()


weighted = mu_in_weights if passed("1.D") else library_mu
for second in (1.0, 4.0, 10.0, 100.0):
    w = torch.tensor([1.0, second])
    bound = second * (weighted(A, w) * t).exp()  # Euclidean again: times the price
    print(f"w = (1, {second:3.0f}):  mu = {weighted(A, w):6.3f}   price {second:3.0f}")
    assert (longest <= bound + 1e-9).all()

# %% [markdown]
# If $x_2$ weighs enough, $\mu$ is negative: every length *in this norm* shrinks at every moment. The price: back in the Euclidean norm the promise holds up to the factor $\max w/\min w$ only.
#
# Every norm has its own $\mu$ (Claim 1.9). The one of your question counts: attacks on images are measured in $\|\cdot\|_2$, the Euclidean norm, or in $\|x\|_\infty=\max_i|x_i|$.
#
# ### ★ Logarithmic norms
#
# A norm $\|\cdot\|$ of vectors gives a matrix its largest stretch $\|M\|=\max_{\|x\|=1}\|Mx\|$; the slope of $\|e^{At}\|$ at $t=0$ is called the **logarithmic norm** $\mu(A)$.
# A symmetric matrix $P$ is **positive definite** if $x^\top Px>0$ for all $x\ne0$. Then $P=CC^\top$ with an invertible $C$ (Cholesky), and $\|x\|_P=\sqrt{x^\top Px}=\|C^\top x\|$ is the Euclidean length in the coordinates $z=C^\top x$. Weights are the case $P=\mathrm{diag}(w_i^2)$.
#
# > **Claim 1.9 (logarithmic norms).** In each of these norms $\|e^{At}\|\le e^{\mu(A)t}$ for $t\ge0$, and no smaller number will do:
# >
# > | norm | its $\mu(A)$ |
# > |---|---|
# > | $\lVert x\rVert_2$, Euclidean | $\lambda_{\max}(\mathrm{sym}\,A)$ |
# > | $\lVert x\rVert_1=\sum_i\lvert x_i\rvert$ | $\max_j\big(a_{jj}+\sum_{i\ne j}\lvert a_{ij}\rvert\big)$, by columns |
# > | $\lVert x\rVert_\infty=\max_i\lvert x_i\rvert$ | $\max_i\big(a_{ii}+\sum_{j\ne i}\lvert a_{ij}\rvert\big)$, by rows |
# > | $\lVert x\rVert_P$ with $P=CC^\top$ | $\mu_2(C^\top AC^{-\top})$ |
# >
# > If $f:\mathbb R^d\to\mathbb R^d$ is continuously differentiable and $\mu(Df(x))\le\mu$ for all $x$, solutions exist for all $t\ge0$, and $\varphi_t$ stretches no distance in that norm by more than $e^{\mu t}$.
#
# <details><summary>Proof, and two other ways to write it</summary>
#
# As $e^{hA}=I+hA+O(h^2)$, the slope is $\mu(A)=\lim_{h\to0^+}(\|I+hA\|-1)/h$. Along $x'=Mx$, also with an $M$ that depends on the time, $\|x(t+h)\|\le\|I+hM\|\,\|x(t)\|+o(h)$, so $\|x\|$ grows at most at the rate $\mu(M)$. This is the bound, and the slope at 0 shows that it is sharp.
# For two solutions of $x'=f(x)$ the difference follows $M=\int_0^1Df(y+s(x-y))\,ds$; from the limit, $\mu$ of a mean is at most the mean of the $\mu$, hence $\mu(M)\le\mu$. With $y=0$ the same gives $\|x\|'\le\mu\|x\|+\|f(0)\|$: no solution runs to infinity in a finite time.
# The formulas: $\|I+hA\|_1$ is the largest sum of absolute values in a column, and $|1+ha_{jj}|=1+ha_{jj}$ for small $h$; $\infty$ is the same for $A^\top$; for $P$ change the coordinates.
#
# Without $C$: $\mu_P(A)$ is the largest number $\lambda$ with $\det\big(PA+A^\top P-2\lambda P\big)=0$.
#
# </details>
#
# The formulas, checked. For our $A$ with $k=10$ the number is positive in three norms:


# %%
def mu_1(A):
    return (A.diagonal() + A.abs().sum(0) - A.diagonal().abs()).max().item()


def mu_P(A, P):
    C = torch.linalg.cholesky(P)
    return mu_2(C.T @ A @ torch.linalg.inv(C.T))


h = 1e-7
for name, formula, order in (("1", mu_1(A), 1), ("2", mu_2(A), 2), ("inf", mu_1(A.T), math.inf)):
    slope = (torch.linalg.matrix_norm(torch.linalg.matrix_exp(h * A), order).item() - 1) / h
    library = ode.logarithmic_norm(A, norm=order).item()
    print(f"mu_{name:3s}  formula {formula:.3f}   slope at 0 {slope:.3f}   library {library:.3f}")
    assert abs(formula - slope) < 1e-4 and abs(formula - library) < 1e-9

# %% [markdown]
# ### ★ A norm for every stable matrix
#
# Our weights we found by looking at $A$. Is there always a good $P$? Ask for a length that falls everywhere, $\frac{d}{dt}\|x\|_P^2=x^\top(PA+A^\top P)x=-\|x\|^2$. This is *linear* in $P$:
#
# $$A^\top P+PA=-I\qquad\text{(the Lyapunov equation).}$$
#
# > **Claim 1.10 (a norm that fits).** The origin is asymptotically stable for $x'=Ax$ if and only if $\mu_P(A)<0$ for some positive definite $P$.
# > If so, the solution $P$ of $A^\top P+PA=-I$ is such a matrix, with $\mu_P=-1/(2\lambda_{\max}(P))$.
#
# So for linear fields "asymptotically stable" *is* "contractive", in a norm of its own. The price: in the Euclidean norm only $\|e^{At}\|\le\sqrt{\kappa}\,e^{\mu_Pt}$, with $\kappa=\lambda_{\max}(P)/\lambda_{\min}(P)$.
# Such an equilibrium is called **exponentially stable**: $\|x(t)-x^*\|\le Ce^{-\beta t}\|x(0)-x^*\|$ for starts near $x^*$, with some $C,\beta>0$.
#
# <details><summary>Why</summary>
#
# If $\mu_P(A)<0$, lengths $\|x\|_P$ decay exponentially, and so do the Euclidean ones, as $\lambda_{\min}(P)\|x\|^2\le\|x\|_P^2\le\lambda_{\max}(P)\|x\|^2$. These two inequalities also give the factor $\sqrt\kappa$.
# Conversely, if $\alpha(A)<0$, the solution is $P=\int_0^\infty e^{A^\top t}e^{At}\,dt$, positive definite. Then $\frac{d}{dt}\|x\|_P^2=-\|x\|^2\le-\|x\|_P^2/\lambda_{\max}(P)$, with equality for the top eigenvector of $P$. $\square$
#
# </details>


# %%
def lyapunov_matrix(A):
    """The solution P of A^T P + P A = -I, a linear system for the d^2 entries of P."""
    eye = torch.eye(len(A))
    system = torch.kron(A.T.contiguous(), eye) + torch.kron(eye, A.T.contiguous())
    return torch.linalg.solve(system, -eye.flatten()).reshape(A.shape)


P = lyapunov_matrix(A)
eigenvalues = torch.linalg.eigvalsh(P)
root_kappa = (eigenvalues[-1] / eigenvalues[0]).sqrt().item()
bound = (mu_P(A, P) * t).exp()
print(f"mu_P = {mu_P(A, P):.3f} = -1 / (2 lambda_max) = {-0.5 / eigenvalues[-1]:.3f}")
print(f"longest <= exp(mu_P t), without the price: {(longest <= bound).all()}")
print(f"longest <= {root_kappa:.1f} exp(mu_P t): {(longest <= root_kappa * bound + 1e-9).all()}")
assert mu_P(A, P) < 0 and (longest <= root_kappa * bound + 1e-9).all()
bottom = torch.tensor([[0.0, 1.0], [-1.0, -0.3]])
print(
    f"pendulum near the bottom: |mu_2| = {abs(mu_2(bottom)):.3f}, "
    f"mu_P = {mu_P(bottom, lyapunov_matrix(bottom)):.3f}"
)

# %% [markdown]
# **Drop the price**, that is, mix two norms, and the statement is false. The rate is poorer than with our weights, but this works for every $A$ with $\alpha(A)<0$. *Exercise 1.4 asks for norms in which $\mu_P$ is almost as low as the eigenvalues allow.*
#
# Near the bottom the damped pendulum is almost $x'=Ax$ with $A=\begin{pmatrix}0&1\\-1&-\gamma\end{pmatrix}$. Its friction acts on the speed only, so $\mu_2=0$; for $\gamma>0$ some $\mu_P$ is negative. But that speaks for small swings only.
#
# ## 1.8 Energy as a witness
#
# **Question.** How do you prove that a *nonlinear* system is stable, without solving it?
#
# For the pendulum there is the energy $V(q,p)=\tfrac12p^2+1-\cos q$. Along solutions it changes at the rate $\dot V=\langle\nabla V,f\rangle$. Here, with friction $\gamma\ge0$,
#
# $$\dot V=p\cdot(-\sin q-\gamma p)+\sin q\cdot p=-\gamma p^2\le0 .$$


# %%
def energy(x):
    return 0.5 * x[..., 1] ** 2 + 1 - torch.cos(x[..., 0])


# %% [markdown]
# > **Claim 1.11 (Lyapunov).** Let $f$ be continuous with $f(x^*)=0$, and $V$ continuously differentiable near $x^*$ with $V(x^*)=0$ and $V>0$ at all other points nearby.
# > If $\dot V\le0$ near $x^*$, then $x^*$ is stable. If $\dot V<0$ at all other points nearby, then $x^*$ is asymptotically stable.
#
# *Idea.* A solution that starts inside a small bowl $\{V<c\}$ cannot climb its wall.
#
# <details><summary>Proof, and where the smoothness is used</summary>
#
# *Stable.* Take a ball of radius $\varepsilon$ around $x^*$ in which all this holds. On its boundary $V$ is at least some $c>0$ (a continuous function on a compact set, closed and bounded, has a minimum). Choose $\delta$ with $V<c$ for $\|x-x^*\|<\delta$. From there $V$ cannot rise, so no solution reaches the boundary.
#
# *Asymptotically.* Now $V(x(t))$ falls to a limit. If it were positive, the solution would stay in the part of the ball where $V$ is at least this limit. This part is compact and without $x^*$, and $\dot V$ is continuous, so there $\dot V\le-\eta$ with some $\eta>0$, and $V$ would become negative. Hence $V\to0$, and $x\to x^*$. $\square$
#
# The last step needs the continuity of $f$: let $f(x)=-(x-2^{-n})$ for $2^{-n}<x\le2^{1-n}$, $n=1,2,\dots$, $f(-x)=-f(x)$ and $f(0)=0$. With $V=\tfrac12x^2$ we have $\dot V=x f(x)<0$ for $0<|x|\le1$; but a solution from between $2^{-n}$ and $2^{1-n}$ only creeps towards $2^{-n}$.
#
# </details>
#
# So the pendulum, hanging down, is stable. It gives no more here: $\dot V=0$ on the whole line $p=0$ (Claim 1.12 goes further).
#
# <details><summary>Drop the positivity of V</summary>
#
# For $x'=x$ take $V=-x^2$. Then $\dot V=-2x^2\le0$, and yet solutions run away.
#
# </details>
#
# ### ★ Does it get stuck?
#
# **Predict first.** $\dot V=-\gamma p^2$ is zero whenever the pendulum turns round. With friction, does $V$ get stuck above 0, or does it tend to 0?

# %%
my_guess = ...  # "stuck" or "tends to 0"

# %% tags=["reveal"]
long_times = torch.linspace(0, 60, 601)
release = torch.tensor([[2.5, 0.0]])
damped = ode.flow(swing, release, long_times, max_step=0.02)[:, 0]
free = ode.flow(partial(pendulum, gamma=0.0), release, long_times, max_step=0.02)[:, 0]
figures.energy_of_the_pendulum(energy, long_times, free, damped)
V = energy(damped)
print(f"friction 0.3:  V falls from {V[0]:.3f} to {V[-1]:.1e}, and never rises")
print(f"no friction:   V goes from {energy(free[0]):.3f} to {energy(free[-1]):.3f}")
assert (V.diff() < 1e-12).all() and V[-1] < 1e-7
reply(
    my_guess,
    "tends to 0",
    "Where p = 0 but q is not, p' = -sin q is not 0: the pendulum does not stay on that line.",
)

# %% [markdown]
# **Drop $\dot V\le0$,** and push the pendulum with $\gamma=-0.1$, from the angle 0.1:

# %% jupyter={"source_hidden": true}
pushed = partial(pendulum, gamma=-0.1)
driven = ode.flow(pushed, torch.tensor([[0.1, 0.0]]), [0.0, 30.0])[:, 0]
print(f"driven pendulum: V rises from {energy(driven[0]):.3f} to {energy(driven[1]):.3f}")

# %% [markdown]
# Back to friction: the pendulum turns round on the line $p=0$, but it does not *stay* there.
#
# A set is **invariant** if solutions that start in it stay in it (*positively* invariant: for all later times; invariant: for earlier times too). It is **compact** if it is closed and bounded.
# A field is **locally Lipschitz** if it is Lipschitz on every ball, with a constant that may depend on the ball.
#
# > **Claim 1.12 (LaSalle).** Let $U$ be compact and positively invariant, $f$ locally Lipschitz, and $V$ continuously differentiable with $\dot V\le0$ on $U$. Then every solution that starts in $U$ converges to the largest invariant
# > subset of $\{x\in U:\dot V(x)=0\}$.
#
# *Idea.* The places to which a solution returns again and again form an invariant set, and on it $V$ has one value, so $\dot V=0$.
#
# For the pendulum take for $U$ the valley $\{V\le1.9\}$, $|q|<\pi$. Where $p=0$ the field is $(0,-\sin q)$, which leaves the line unless $q=0$. The largest invariant subset is the origin alone:

# %%
cloud = torch.rand(400, 2, generator=torch.Generator().manual_seed(4))
cloud = cloud * torch.tensor([6.0, 4.0]) - torch.tensor([3.0, 2.0])
inside = cloud[energy(cloud) <= 1.9]
ends = ode.flow(swing, inside, [0.0, 80.0], max_step=0.05)[-1]
print(f"{len(inside)} starts; farthest from the bottom at time 80: {ends.norm(dim=1).max():.0e}")
assert ends.norm(dim=1).max() < 1e-3

# %% [markdown]
# **Drop "compact":** for $x'=1$ take $V=e^{-x}$. Then $\dot V=-e^{-x}<0$ everywhere, the set where $\dot V=0$ is empty, and the solution $x(t)=t$ converges to nothing.
#
# ## 1.9 Valleys and rotations
#
# **Question.** Which fields have $\mu\le0$ by construction? Convex valleys, linear rotations, and their sums.
#
# **Valleys.** The **gradient flow** $x'=-\nabla V(x)$ runs downhill. If $V$ has second derivatives, its Jacobian is $-\nabla^2V$, symmetric. A **convex** $V$ (chords lie above the graph) has a $\nabla^2V$ without negative eigenvalues, so $\mu\le0$.
# $V$ is called **$m$-strongly convex** if $V(x)-\tfrac m2\|x\|^2$ is convex; then $\mu\le-m$.
#
# > **Claim 1.13 (gradient flow).** Let $V:\mathbb R^d\to\mathbb R$ be continuously differentiable. If $V$ is convex, solutions of $x'=-\nabla V(x)$ exist for all $t\ge0$, and their distances never increase. If $V$ is $m$-strongly convex, they shrink at least like $e^{-mt}$.
#
# <details><summary>Proof without second derivatives</summary>
#
# A convex graph lies above its tangents: $V(y)\ge V(x)+\langle\nabla V(x),y-x\rangle$, and the same with $x$ and $y$ exchanged. Add the two: $\langle\nabla V(x)-\nabla V(y),x-y\rangle\ge0$. So $-\nabla V$ is continuous with $\mu=0$; Claim 1.3. For the second part use $V-\tfrac m2\|x\|^2$. $\square$
#
# </details>
#
# **Drop the convexity:** two balls start 0.02 apart near the ridge of the two valleys, with $\gamma=0$. Beside it a bowl, $\gamma=1.5$: here $V=\tfrac14x_1^4+\tfrac14x_1^2+x_2^2$ is $\tfrac12$-strongly convex.


# %% jupyter={"source_hidden": true}
def potential(x, gamma):
    return x[..., 0] ** 4 / 4 + (gamma - 1) * x[..., 0] ** 2 / 2 + x[..., 1] ** 2


ridge_pair = torch.tensor([[-0.01, 0.5], [0.01, 0.5]])
ridge_times = torch.linspace(0, 8, 161)
bound = 0.02 * (-0.5 * ridge_times).exp()
ridge_paths = {}
for name, gamma in (("two valleys", 0.0), ("convex bowl", 1.5)):
    ridge_paths[gamma] = ode.flow(partial(two_valleys, gamma=gamma), ridge_pair, ridge_times)
    print(f"{name}: distance 0.0200 at the start, {gap(ridge_paths[gamma])[-1]:.4f} at t = 8")
print(f"bound for the bowl, 0.02 exp(-t / 2): {bound[-1]:.4f}")
assert (gap(ridge_paths[1.5]) <= bound + 1e-9).all()
figures.valleys_and_bowl(ridge_times, ridge_paths, potential, gap, bound)

# %% [markdown]
# *Exercise 1.5 asks for the ratio of these distances.*
#
# **Rotations.** A matrix with $S^\top=-S$ is called **skew-symmetric**. Then $\langle Sx,x\rangle=0$: velocities are perpendicular to positions. For a scalar $H(q,p)$ the **Hamiltonian** field is
# $x'=\Omega\nabla H(x)$, with the skew matrix $\Omega=\begin{pmatrix}0&1\\-1&0\end{pmatrix}$, so $q'=\partial H/\partial p$ and $p'=-\partial H/\partial q$: it runs *along* the level curves of $H$. The pendulum without friction is one, with the energy as $H$.
#
# > **Claim 1.14 (skew and Hamiltonian).** The flow of $x'=Sx$ with $S^\top=-S$ keeps all lengths and distances. Every solution of $x'=\Omega\nabla H(x)$, with a continuously differentiable $H$, keeps $H$. But distances need not be kept, not even if $\Omega\nabla H$ is linear: the drift of Section 1.6 is the case $H=\tfrac12p^2$.
#
# *Proof.* $\frac{d}{dt}\tfrac12\|x\|^2=\langle Sx,x\rangle=0$, and $\frac{d}{dt}H=\langle\nabla H,\Omega\nabla H\rangle=0$. $\square$

# %% jupyter={"source_hidden": true}
S = torch.tensor([[0.0, 2.0, -1.0], [-2.0, 0.0, 3.0], [1.0, -3.0, 0.0]])
Q = torch.linalg.matrix_exp(7.0 * S)
print("exp(7 S) keeps all lengths:", torch.allclose(Q.T @ Q, torch.eye(3)))
neighbours = torch.tensor([[2.4, 0.0], [2.8, 0.0]])
states = ode.flow(partial(pendulum, gamma=0.0), neighbours, torch.linspace(0, 60, 601))
drift = (energy(states) - energy(neighbours)).abs().max().item()
print(
    f"free pendulum: H kept to 1e-6: {drift < 1e-6};  distance 0.40, later {gap(states).max():.1f}"
)

# %% [markdown]
# **Both.** Subtracting $\gamma I$ lowers every $\mu$ by exactly $\gamma$: $\mu(S-\gamma I)=-\gamma$ for every skew $S$, because $\mathrm{sym}\,S=0$. (In general only $\mu(A+B)\le\mu(A)+\mu(B)$.) A rotation remembers, a little pull to the centre makes it forget slowly: one recipe for stable networks (Section 9.2).
# *Exercise 1.2 makes such a mixture out of any matrix.*
#
# ## 1.10 Towards one point is not towards each other
#
# **Question.** Can a field surely pull towards one point $x^*$, with a free network inside?
#
# Let $f(x)=A(x)(x-x^*)$ with a matrix that depends on $x$. Then $\frac{d}{dt}\tfrac12\|x-x^*\|^2=\langle A(x)(x-x^*),x-x^*\rangle$, and again only $\mathrm{sym}\,A(x)$ counts.
# Every matrix $A=-R^\top R+(Q-Q^\top)-\beta I$ has $\mathrm{sym}\,A=-R^\top R-\beta I$. So let a network produce the square matrices $R(x)$ and $Q(x)$: the idea of
# *extended linearized contracting dynamics*, ELCD (Jaffe et al., 2402.08090). Its authors show contraction with respect to some metric, not in the Euclidean norm. (A *metric* measures lengths, perhaps differently from place to place.)
#
# > **Claim 1.15 (contraction to one point).** Let $f(x)=A(x)(x-x^*)$ be continuous with $\lambda_{\max}(\mathrm{sym}\,A(x))\le-\beta$ for all $x$. Then every solution has $\|x(t)-x^*\|\le e^{-\beta t}\|x(0)-x^*\|$ for $t\ge0$.
# > Two solutions may nevertheless move apart, even if $\beta>0$.
#
# A simple case in the plane: $A(x)=-\tfrac12I+5\|x\|\,G$ with $x^*=0$ and the rotation by $90°$, $G=\begin{pmatrix}0&-1\\1&0\end{pmatrix}$. Everybody spirals in at the rate $\beta=\tfrac12$, but who is farther out turns faster.
#
# **Predict first.** Two solutions start at $(1,0)$ and $(1.2,0)$, so 0.2 apart. How large does their distance become?

# %%
my_guess = ...  # a number


# %% tags=["reveal"]
def whirl(x, speed=lambda r: 5 * r):
    r = x.norm(dim=-1, keepdim=True)
    turned = torch.stack([-x[..., 1], x[..., 0]], -1)
    return -0.5 * x + speed(r) * turned


whirl_pair = torch.tensor([[1.0, 0.0], [1.2, 0.0]])
whirl_times = torch.linspace(0, 8, 801)
whirls = {
    "turns with speed 5 |x|": whirl,
    "turns with speed 5": partial(whirl, speed=lambda r: 5.0),
}
whirl_paths = {name: ode.flow(field, whirl_pair, whirl_times) for name, field in whirls.items()}
for name, states in whirl_paths.items():
    assert torch.allclose(states[:, 0].norm(dim=1), (-whirl_times / 2).exp())
    Df = torch.func.jacrev(whirls[name])(whirl_pair[0])
    mu = ode.logarithmic_norm(Df).item()
    print(f"{name:22s}  largest distance {gap(states).max():.2f};  at |x| = 1 mu = {mu:.1f}")
figures.two_whirls(whirl_times, whirl_paths, gap)
reply(
    my_guess,
    0.54,
    "The outer one turns faster and gets ahead; only later both are near the centre.",
    wrong={0.2: "it would be, if both turned at the same speed."},
)

# %% [markdown]
# The Jacobian knows it: at distance $r$ from the centre $\lambda_{\max}(\mathrm{sym}\,Df)=-\tfrac12+\tfrac52r$, which is 2 at $r=1$.
# Pulling towards one point does *not* keep two arbitrary inputs together; for that, the $\mu$ of Claim 1.4 must be at most 0.
# *Exercise 1.3 asks how much pull a whirl needs so that no two states separate.*
#
# <details><summary>Drop the symmetric part</summary>
#
# Negative *eigenvalues* of $A(x)$ are not enough. The matrix of Section 1.6 has $-1$ and $-2$, and $\|x-x^*\|$ grew by a factor of 2.56.
#
# </details>
#
# ## Recap
#
# * Distances change at most by $e^{\pm Lt}$ (Claim 1.2), which cannot tell forgetting from exploding. The one-sided constant $\mu=\sup\lambda_{\max}(\mathrm{sym}\,Df)$ can (Claim 1.3). If $\mu<0$, everybody goes to one equilibrium (Claim 1.5).
# * Stable and attractive are two things. For a linear field eigenvalues decide about the end, $\mu$ about the beginning (Claim 1.8).
# * Each norm has its own $\mu$. An energy proves stability without any norm (Claim 1.11).
# * Strongly convex valleys forget, linear rotations remember, and pulling towards one point is weaker than pulling together (Claim 1.15).
#
# A network that follows a flow for the time $T$ magnifies a change of its input by at most $e^{\mu T}$. Lesson 2 asks which *steps* keep this promise.
#
# ## What can go wrong in practice
#
# * *A $\mu$ measured at sample points* is a lower bound. It may reject a promise, never certify one.
# * *Mixing norms.* A negative $\mu$ in one norm says nothing about distances in another without its price.
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * G. Söderlind: *The logarithmic norm. History and modern theory*, BIT Numerical Mathematics 46, 2006.
# * L. N. Trefethen, M. Embree: *Spectra and Pseudospectra*, Princeton 2005 (transient growth).
# * H. K. Khalil: *Nonlinear Systems*, 3rd edition, 2002 (Lyapunov, LaSalle).
# * S. Jaffe, A. Davydov, D. Lapsekili, A. Singh, F. Bullo: *Learning neural contracting dynamics: extended linearization and global guarantees*, arXiv 2402.08090.
