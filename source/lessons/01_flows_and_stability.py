# %% [markdown]
# # 1. When do nearby states stay near?
#
# Let go of a pendulum. Let go of a second one, held a hair's breadth higher. Will the two stay close, or will the small difference grow?
# The same question decides whether a neural network can be trusted: its input is where you let go, its layers are moments in time,
# and two inputs that hardly differ should not end far apart. In this lesson you learn to answer it, with pictures that move.
#
# **You will learn**
#
# * what the *flow* of a differential equation is, and why errors can grow like $e^{Lt}$ but often do not;
# * to compute one number, $\mu$, that says how fast two neighbours can separate, and to choose the norm in which it says it best;
# * why "all eigenvalues are negative" does not mean "nothing grows";
# * what stable, attractive and asymptotically stable mean, and how an energy proves them;
# * which flows forget (valleys), which remember (rotations), and how to mix the two.
#
# **Before you start:** vectors, matrices and eigenvalues; that $x'=f(x)$ tells a point $x$ its velocity; a little Python and PyTorch. Nothing else.
# **Time:** about 60 minutes of reading and playing; the computer needs less than half a minute.

# %% tags=["setup"]
# setup

# %%
import math
from functools import partial

import torch

from chapter_checks import your_turn
from chapter_utils import ode, plotting
from figures import lesson_01 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
torch.set_num_threads(1)  # tiny arrays: one thread is fastest

# %% [markdown]
# ## 1.1 Play first
#
# A **vector field** $f$ attaches an arrow to each point of the plane. A state $x(t)$ follows the arrows: $x'=f(x)$.
# The picture shows four such systems, each with a parameter $\gamma$ (gamma):
#
# | system | equations | $\gamma$ is |
# |---|---|---|
# | damped pendulum | $q'=p,\;\;p'=-\sin q-\gamma p$ (angle $q$, speed $p$) | the friction |
# | two valleys | downhill on $V=\tfrac14x_1^4+\tfrac{\gamma-1}2x_1^2+x_2^2$ | how much the ridge is filled up |
# | rotation | $x_1'=-x_2-\gamma x_1,\;\;x_2'=x_1-\gamma x_2$ | the pull to the centre |
# | shear | $x_1'=-x_1+5\gamma x_2,\;\;x_2'=-2x_2$ | how strongly $x_2$ drives $x_1$ |
#
# Two neighbours are marked. They start 0.4 apart. The right-hand picture follows their distance.


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


def trajectories(system, gamma, starts):
    """The states at all times from a batch of starts (B, 2): shape (201, B, 2)."""
    field, _ = systems[system]
    return ode.flow(partial(field, gamma=gamma), starts, times, max_step=0.05)


def gap(states):
    """Distance of the first two trajectories at each time."""
    return (states[:, 0] - states[:, 1]).norm(dim=1)


live_portrait = figures.phase_portrait(systems, times, trajectories, gap)
live_portrait.still(system="damped pendulum", gamma=0.3)

# %%
live_portrait

# %% [markdown]
# Try this. (The first picture is a still one. The second moves, as soon as you have run the notebook. By keyboard: Tab leads to a control,
# arrow keys move a slider, and a list opens with Space, moves with the arrow keys and closes with Enter.)
#
# * *Pendulum:* with $\gamma>0$ the pair ends together. With $\gamma=0$ it does not: the higher swing takes longer. With $\gamma<0$ something pushes, and both go over the top.
# * *Rotation:* $\gamma=0$ keeps the distance exactly. The smallest $\gamma$ either side shrinks or stretches it.
# * *Shear:* for every $\gamma$ all trajectories end in the origin. But with a large $\gamma$ (try 1 or more) the distance, after a brief dip, rises above its start, and only then dies out.
# * *Two valleys:* here the pair starts on either side of a ridge.
#
# **Predict first.** From which $\gamma$ on does the pair of the two valleys end together?

# %%
my_guess = None  # for example 0.5

# %%
pair = torch.tensor([[-0.2, 2.0], [0.2, 2.0]])
until_200 = torch.tensor([0.0, 200.0])
for gamma in (0.0, 0.5, 0.9, 1.0, 1.1, 1.5):
    states = ode.flow(partial(two_valleys, gamma=gamma), pair, until_200, max_step=0.2)
    print(f"gamma = {gamma}:  distance at time 200 is {gap(states)[-1]:.2f}")
if my_guess is not None:
    print(f"Your guess was {my_guess}; the answer is 1, where V becomes convex.")

# %% [markdown]
# At $\gamma=1$ the ridge has gone and one valley is left. (It is so flat there that even at time 200 the two have not quite met.)
# Four systems, one question: when do nearby states stay near? Now we look for an answer that can be *computed*.
#
# ## 1.2 The flow
#
# **Question.** Where is the state after time $t$, and what does it depend on?
#
# Let the states be vectors $x\in\mathbb R^d$. Start at $x$ and follow the arrows for a time $t$. We call the point where you arrive $\varphi_t(x)$; the map $\varphi_t$ is the **flow**.
# A computer follows the arrows in small steps:


# %%
def follow(f, x, t, steps):
    """Arrive approximately at phi_t(x): many small straight steps."""
    for _ in range(steps):
        x = x + t / steps * f(x)
    return x


swing = partial(pendulum, gamma=0.3)
start = torch.tensor([[2.5, 0.0]])
arrival = ode.flow(swing, start, torch.tensor([0.0, 5.0]))[-1]
for steps in (10, 100, 1000, 10_000):
    error = (follow(swing, start, 5.0, steps) - arrival).norm()
    print(f"{steps:6d} steps: {error:.4f} from the true place")

# %% [markdown]
# Ten times as many steps, a tenth of the error. The library's `ode.flow(f, x, times)` takes small steps of a better method (lesson 2) and serves as the truth here.
# It moves a whole batch `x` of shape (B, d) at once, and returns the states at all `times` in shape (K, B, d).
#
# Does a flow always exist, and is it unique? We need one assumption. The field is **$L$-Lipschitz** if $\|f(x)-f(y)\|\le L\|x-y\|$ for all $x,y$:
# arrows at nearby points are alike. Here $\|\cdot\|$ is the Euclidean norm; for a matrix it is the spectral norm, the largest singular value.
#
# > **Claim 1.1 (flow).** If $f:\mathbb R^d\to\mathbb R^d$ is $L$-Lipschitz, there is exactly one solution from each starting point, for all times, and
# > $\varphi_{t+s}=\varphi_t\circ\varphi_s$.
#
# In words: pause at time $s$, forget the past, go on. (This is the theorem of Picard and Lindelöf.) A network that is a flow can be cut into layers at any time.

# %%
points = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
together = ode.flow(swing, points, torch.tensor([0.0, 3.0]))[-1]
pause = ode.flow(swing, points, torch.tensor([0.0, 1.2]))[-1]
resumed = ode.flow(swing, pause, torch.tensor([0.0, 1.8]))[-1]
print("3.0 in one go = 1.2 and then 1.8:", torch.allclose(together, resumed, atol=1e-8))

# %% [markdown]
# **Drop the assumption** and both halves of the claim break. The slope of $2\sqrt{|x|}$ at $x=0$ is infinite: from $x=0$ one may stay for ever, $x(t)=0$, or leave with $x(t)=t^2$.
# And $x'=x^2$ has a slope that grows with $x$: from 1 it runs to infinity as $t\to1$.


# %%
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
# Two solutions from one point are the extreme case of our question: there, no distance at all becomes a distance. A Lipschitz field cannot do that.
#
# > **Claim 1.2 (Gronwall).** If $f$ is $L$-Lipschitz, then $e^{-Lt}\|x-y\|\le\|\varphi_t(x)-\varphi_t(y)\|\le e^{Lt}\|x-y\|$ for $t\ge0$.
#
# *Proof.* Let $d(t)$ be the distance of the two solutions. It changes at most as fast as the velocities differ, $|d'|\le Ld$. So $e^{-Lt}d$ cannot increase and $e^{Lt}d$ cannot decrease. $\square$
#
# So different trajectories never meet: **a flow loses no information**, though it may make it very small.
#
# **Predict first.** The fields $-5x$ and $+5x$ have the same Lipschitz constant, $L=5$. After time 1 Gronwall allows distances to grow by $e^5\approx148.4$. By what factor do they really change?

# %%
my_guess = None  # for example (0.5, 100)


# %%
def line(x, slope):
    return slope * x


least = math.exp(-5)
most = math.exp(5)
starts = torch.tensor([[1.0], [2.0]])
for slope in (-5.0, 5.0):
    states = ode.flow(partial(line, slope=slope), starts, torch.tensor([0.0, 1.0]), max_step=1e-3)
    factor = gap(states)[-1].item()
    print(f"x' = {slope:+.0f} x:  Gronwall {least:.5f} <= true {factor:.5f} <= Gronwall {most:.1f}")
    assert least - 1e-9 <= factor <= most + 1e-6
if my_guess is not None:
    print(f"Your guess was {my_guess}; the answer is (0.00674, 148.4).")

# %% [markdown]
# Both extremes happen. Gronwall cannot tell them apart, because $L$ is a size and has no sign. For $-5x$ its promise is wrong by a factor of $e^{10}\approx22\,000$.
#
# ## 1.3 A number with a sign
#
# **Question.** What is it about $-5x$ that pulls points together?
#
# Look at the *squared* distance of two solutions $x(t)$ and $y(t)$, and differentiate:
#
# $$\frac{d}{dt}\,\tfrac12\|x-y\|^2=\langle f(x)-f(y),\,x-y\rangle .$$
#
# Only the part of the velocity difference along $x-y$ counts. If it is at most $\mu\|x-y\|^2$ for all pairs,
#
# $$\langle f(x)-f(y),\,x-y\rangle\le\mu\|x-y\|^2,$$
#
# then $f$ is called **one-sided Lipschitz** with constant $\mu$. For $-5x$ it is $\mu=-5$. By Cauchy–Schwarz $\mu\le L$ always; and $\mu$ may be negative.
#
# > **Claim 1.3 (one-sided bound).** If $f$ is one-sided Lipschitz with constant $\mu$, then $\|\varphi_t(x)-\varphi_t(y)\|\le e^{\mu t}\|x-y\|$ for $t\ge0$.
#
# How do we find the best $\mu$? Nearby, $f(x)-f(y)\approx Df(x)(x-y)$ with the Jacobian $Df$, the matrix of partial derivatives.
# In $\langle Mv,v\rangle$ only the **symmetric part** $\mathrm{sym}(M)=\tfrac12(M+M^\top)$ of a matrix counts, and the largest value over unit vectors $v$ is its largest eigenvalue $\lambda_{\max}$.
#
# > **Claim 1.4 (from the Jacobian).** For a continuously differentiable $f$ on an open convex set the best constants are
# > $\mu=\sup_x\lambda_{\max}\big(\mathrm{sym}\,Df(x)\big)$ and $L=\sup_x\|Df(x)\|$.
#
# *Proof.* On a convex set the segment from $y$ to $x$ stays inside, and $f(x)-f(y)=\int_0^1Df(y+s(x-y))(x-y)\,ds$. Take the inner product with $x-y$: at most $\mu\|x-y\|^2$. Let $y\to x$: no smaller $\mu$ will do. $\square$
#
# Our example is a small neural network with a time axis,
#
# $$x'=-\gamma x+W\tanh(x),\qquad W=\begin{pmatrix}0&2\\-2&0\end{pmatrix}.$$
#
# Its Jacobian is $-\gamma I+WD$, where the diagonal matrix $D$ holds the slopes of tanh, between 0 and 1. The largest eigenvalue and the norm are convex functions of $D$,
# so they are largest at a corner, where each slope is 0 or 1. There are four corners.
#
# **Predict first.** Without friction, $\gamma=0$, some distances grow. How much friction makes sure that none does?

# %%
my_guess = None  # for example 2.0

# %%
W = torch.tensor([[0.0, 2.0], [-2.0, 0.0]])
corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def small_network(x, gamma):
    return -gamma * x + torch.tanh(x) @ W.T


def constants(gamma):
    """mu and L of the small network."""
    jacobians = -gamma * torch.eye(2) + W * corners[:, None, :]  # W D scales the columns of W
    mu = torch.linalg.eigvalsh((jacobians + jacobians.mT) / 2).max().item()
    return mu, torch.linalg.matrix_norm(jacobians, 2).max().item()


for gamma in (0.5, 1.0, 1.5):
    x, y = 3 * torch.randn(2, 20_000, 2, generator=torch.Generator().manual_seed(1))
    y[:10_000] = x[:10_000] + 1e-3 * y[:10_000]  # half of the pairs are close
    df = small_network(x, gamma) - small_network(y, gamma)
    dx = x - y
    sided = ((df * dx).sum(1) / dx.square().sum(1)).max().item()
    size = (df.norm(dim=1) / dx.norm(dim=1)).max().item()
    mu, L = constants(gamma)
    print(
        f"gamma = {gamma}:  measured {round(sided, 2) + 0.0:5.2f} <= mu = {mu + 0.0:5.2f}"
        f"     measured {size:.2f} <= L = {L:.2f}"
    )
    assert sided <= mu + 1e-9 and size <= L + 1e-9
if my_guess is not None:
    print(f"Your guess was {my_guess}; from gamma = 1 on mu is not positive.")

# %% [markdown]
# Here $\mu=1-\gamma$: the friction $\gamma$ simply moves it down. In $L$ it hides. Now see the three side by side: the distance, and what the two claims promise.

# %%
network_times = torch.linspace(0, 5, 101)
# apart along (1, -1), the direction that separates fastest here
network_pair = torch.tensor([[-0.15, 3.15], [0.15, 2.85]])


def network_states(gamma):
    network = partial(small_network, gamma=gamma)
    return ode.flow(network, network_pair, network_times, max_step=0.05)


live_bounds = figures.growth_and_bounds(network_times, network_states, gap, constants)
live_bounds.still(gamma=0.5)

# %%
live_bounds

# %% [markdown]
# Three things to see. The measured curve starts *along* $e^{\mu t}$: the pair was placed where $\mu$ is nearly attained. It then leaves the bound, because $\mu$ is the worst case over all places.
# And at $\gamma=1$ something is proved that $L$ can never prove: no distance, between any two states, ever grows.
#
# **Drop the convexity.** Take $f(x)=(0,\theta(x))$, where $\theta$ is the angle of $x$ between $-\pi$ and $\pi$, on the ring $\tfrac12<\|x\|<\tfrac32$ cut open along the negative $x_1$-axis.
# The Jacobian is tame everywhere. But the segment between two points on either side of the cut leaves the set:


# %%
def angle_field(x):
    return torch.stack([torch.zeros_like(x[..., 0]), torch.atan2(x[..., 1], x[..., 0])], -1)


def jacobian(f, x):
    """Df at each point of the batch x (B, d), by automatic differentiation: shape (B, d, d)."""
    return torch.func.vmap(torch.func.jacrev(lambda z: f(z)))(x)


radius, turn = torch.rand(2, 5000, generator=torch.Generator().manual_seed(2))
radius = 0.5 + radius
turn = (2 * turn - 1) * torch.pi
Df = jacobian(angle_field, torch.stack([radius * turn.cos(), radius * turn.sin()], 1))
largest = torch.linalg.eigvalsh((Df + Df.mT) / 2).max().item()
x = torch.tensor([-1.0, 0.01])
y = torch.tensor([-1.0, -0.01])
quotient = ((angle_field(x) - angle_field(y)) @ (x - y) / (x - y).square().sum()).item()
print(
    f"largest eigenvalue of sym Df: {largest:.1f}    "
    f"quotient of a pair across the cut: {quotient:.0f}"
)
assert largest <= 2 and quotient > 100

# %% [markdown]
# ## 1.4 Contractive flows forget
#
# **Question.** What follows if $\mu<0$?
#
# A field with $\mu<0$ is called **contractive**. All distances shrink at least like $e^{\mu t}$, so every solution forgets where it came from. More is true.
# An **equilibrium** is a point $x^*$ with $f(x^*)=0$: who starts there, stays.
#
# > **Claim 1.5 (contractive).** If $f:\mathbb R^d\to\mathbb R^d$ is Lipschitz, and one-sided Lipschitz with $\mu<0$, it has exactly one equilibrium $x^*$, and $\|x(t)-x^*\|\le e^{\mu t}\|x(0)-x^*\|$ for every solution.
#
# *Proof.* The map $\varphi_1$ shrinks all distances by the factor $e^{\mu}<1$, so it has exactly one fixed point (Banach). The flow maps this point to a fixed point of $\varphi_1$ again, hence to itself: it rests. $\square$
#
# With an input $b$ the small network $x'=-\gamma x+W\tanh(x)+b$ keeps its $\mu=1-\gamma$. So for $\gamma>1$ each input has exactly one answer, wherever the network starts:

# %%
b = torch.tensor([3.0, 1.0])
starts = 5 * torch.randn(200, 2, generator=torch.Generator().manual_seed(3))
moments = torch.tensor([0.0, 2.0, 10.0, 40.0])
states = ode.flow(lambda x: small_network(x, 1.5) + b, starts, moments, max_step=0.02)
answer = states[-1].mean(0)
print("answer:", [round(value, 3) for value in answer.tolist()])
for moment, state in zip(moments, states, strict=True):
    farthest = (state - answer).norm(dim=1).max()
    bound = math.exp(-0.5 * moment) * (starts - answer).norm(dim=1).max()
    print(f"t = {moment:4.0f}:  farthest state {farthest:7.4f} <= bound {bound:7.4f}")
    assert farthest <= bound + 1e-9

# %% [markdown]
# **Drop it,** and allow $\mu=0$. Nothing grows, but nothing need be forgotten: $x'=1$ has no equilibrium at all, and a rotation has one that nobody approaches.

# %%
steady = {
    "x' = (1, 0)": lambda x: torch.tensor([1.0, 0.0]).expand_as(x),
    "rotation": partial(rotation, gamma=0.0),
}
for name, field in steady.items():
    states = ode.flow(field, torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0.0, 10.0]))
    before, after = gap(states)
    length = states[-1, 0].norm()
    print(
        f"{name:12s} distance of a pair: {before:.3f} -> {after:.3f}    |x|: 2.000 -> {length:.3f}"
    )

# %% [markdown]
# The converse of the claim is false too: all solutions may run to one equilibrium although $\mu>0$. Section 1.6 shows how, and 1.7 how to repair it.
#
# ## 1.5 Stable, attractive, both
#
# **Question.** Sometimes we care for one equilibrium $x^*$ only. What should "stable" mean there?
#
# * $x^*$ is **stable** if you can keep every solution as near as you like by starting near enough: for each $\varepsilon>0$ there is a $\delta>0$ such that $\|x(0)-x^*\|<\delta$ implies $\|x(t)-x^*\|<\varepsilon$ for all $t\ge0$.
# * $x^*$ is **attractive** if solutions that start near enough converge to it.
# * **Asymptotically stable** means stable *and* attractive. **Exponentially stable** means $\|x(t)-x^*\|\le Ce^{-\lambda t}\|x(0)-x^*\|$ for starts near $x^*$, with some $C,\lambda>0$.
#
# The pendulum without friction, hanging down, is stable but not attractive. Does attractive imply stable? It sounds as if it should.
#
# **Predict first.** In polar coordinates let $r'=r(1-r)$, $\theta'=\sin^2(\theta/2)$. The circle $r=1$ attracts, and on it every point drifts round to $\theta=2\pi$, which is the equilibrium $(1,0)$ again.
# We start on the circle at $\theta=0.05$, at a distance 0.05 from the equilibrium. How far away does the solution get?

# %%
my_guess = None  # for example 0.1


# %%
def round_trip(x):
    """r' = r (1 - r), theta' = sin^2(theta / 2) = (1 - cos theta) / 2, in Cartesian coordinates."""
    r = x.norm(dim=-1, keepdim=True)
    turned = torch.stack([-x[..., 1], x[..., 0]], -1)
    return (1 - r) * x + (r - x[..., :1]) / (2 * r) * turned


trip_times = torch.linspace(0, 400, 4001)
trip_start = torch.tensor([[math.cos(0.05), math.sin(0.05)]])
trip = ode.flow(round_trip, trip_start, trip_times, max_step=0.05)[:, 0]
distance = (trip - torch.tensor([1.0, 0.0])).norm(dim=1)
print(
    f"distance from the equilibrium: {distance[0]:.2f} at the start, "
    f"{distance.max():.2f} on the way, {distance[-1]:.4f} at time 400"
)
if my_guess is not None:
    print(f"Your guess was {my_guess}.")

# %%
figures.round_trip(trip_times, trip, distance)

# %% [markdown]
# > **Claim 1.6 (attractive is not enough).** The equilibrium $(1,0)$ of this field attracts every solution except the one that rests at the origin, and it is not stable.
#
# However near you start, just above the axis, the trip leads you to distance 2. That is why the definition asks for both.
# An attack on a network (lesson 7) is just this: a small push to the wrong side.
#
# ## 1.6 Linear fields: what eigenvalues say, and what they hide
#
# **Question.** For $x'=Ax$ with a matrix $A$, when is the origin stable?
#
# The flow is the matrix exponential, $\varphi_t(x)=e^{At}x$, and differences follow the same equation. So $\|e^{At}\|$, the largest stretch, answers our question completely.
# Let $\alpha(A)$ be the **spectral abscissa**, the largest real part of the eigenvalues.
#
# > **Claim 1.7 (linear stability).** The origin is asymptotically stable if and only if $\alpha(A)<0$. It is stable if and only if $\alpha(A)\le0$ and
# > every eigenvalue on the imaginary axis has as many independent eigenvectors as its multiplicity.
#
# The second condition is easy to overlook. All three matrices here have only eigenvalues with real part zero:


# %%
def stretch(A, t):
    """||exp(A t)||, the largest stretch after time t, or after each of many times."""
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[..., None, None]), 2)


examples = {
    "rotation [[0, -1], [1, 0]]": torch.tensor([[0.0, -1.0], [1.0, 0.0]]),
    "zero     [[0, 0], [0, 0]] ": torch.zeros(2, 2),
    "drift    [[0, 1], [0, 0]] ": torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
}
for name, A in examples.items():
    longest = [round(value, 2) for value in stretch(A, torch.tensor([1.0, 10.0, 100.0])).tolist()]
    print(f"{name}  longest image of a unit vector at t = 1, 10, 100: {longest}")

# %% [markdown]
# The drift has the eigenvalue 0 twice but only one eigenvector, and grows like $t$: a body without friction that keeps its speed.
# *Coursework 1.6 asks for a function that decides this for any matrix.*
#
# Now a matrix with eigenvalues $-1$ and $-2$. Everything decays in the end. On the way, too?
#
# $$A=\begin{pmatrix}-1&k\\0&-2\end{pmatrix}$$
#
# **Predict first.** Let $k=10$. How long can $e^{At}x$ become, if $x$ has length 1?

# %%
my_guess = None  # for example 1.0

# %%
A = torch.tensor([[-1.0, 10.0], [0.0, -2.0]])
t = torch.linspace(0, 4, 4001)
longest = stretch(A, t)
mu = torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()
abscissa = torch.linalg.eigvals(A).real.max()
print(
    f"abscissa {abscissa:.0f}   mu {mu:.3f}   "
    f"longest {longest.max():.3f} at t = {t[longest.argmax()]:.2f}"
)
if my_guess is not None:
    print(f"Your guess was {my_guess}.")
assert (longest <= (mu * t).exp() + 1e-9).all() and (longest >= (-t).exp() - 1e-9).all()

# %% [markdown]
# This **transient growth** is invisible to the eigenvalues. The number $\mu=\lambda_{\max}(\mathrm{sym}\,A)$ sees it: it is the slope with which $\|e^{At}\|$ leaves 1.
#
# > **Claim 1.8 (transient growth).** For $t\ge0$, $\;e^{\alpha(A)t}\le\|e^{At}\|\le e^{\mu t}$ with $\mu=\lambda_{\max}(\mathrm{sym}\,A)$, and $\mu$ is the slope of $\|e^{At}\|$ at $t=0$.
# > So some distance grows at first if and only if $\mu>0$. If $A$ is **normal** ($AA^\top=A^\top A$), then $\alpha(A)=\mu$ and all three are equal.
#
# Move $k$, which takes the matrix away from normal, and the time $t$. Here $\mu=-\tfrac32+\tfrac12\sqrt{1+k^2}$; it changes its sign at $k=\sqrt8\approx2.83$.


# %% [markdown]
# **Your turn 1.A.** Let $A=\begin{pmatrix}-1&5\\0&-1\end{pmatrix}$. Write down its symmetric part and find $\mu$, with paper and pencil.

# %%
### BEGIN SOLUTION
### GIVEN mu_by_hand = ...
mu_by_hand = -1 + 5 / 2  # sym A = [[-1, 2.5], [2.5, -1]] maps (1, 1) to 1.5 times (1, 1)
### END SOLUTION

your_turn("1.A")


# %%
def sheared(k):
    return torch.tensor([[-1.0, k], [0.0, -2.0]])


def mu_of_sheared(k):
    return -1.5 + 0.5 * math.sqrt(1 + k * k)


live_transient = figures.transient_growth(sheared, stretch, mu_of_sheared)
live_transient.still(k=10.0, t=0.7)

# %%
live_transient

# %% [markdown]
# The orange curve leaves along the blue line and ends parallel to the black one: $\mu$ rules the beginning, $\alpha$ the end.
# With $k=0$ the matrix is symmetric, hence normal, and the three curves are one.
#
# *Coursework 1.1 asks for the peak and for $\mu$ of such a matrix.*
#
# ## 1.7 The right way to measure
#
# **Question.** For $k=10$ all solutions end in the origin, yet $\mu=3.5$ promises nothing. Is the field to blame, or our way to measure distance?
#
# The length was Euclidean by habit. Any norm $\|\cdot\|$ of vectors has its matrix norm $\|M\|=\max_{\|x\|=1}\|Mx\|$, and gives its own $\mu$, the **logarithmic norm**: the slope with which lengths can start to grow,
#
# $$\mu(A)=\lim_{h\to0^+}\frac{\|I+hA\|-1}{h}.$$
#
# For the norms $\|x\|_1=\sum_i|x_i|$, $\|x\|_\infty=\max_i|x_i|$ and $\|x\|_P=\sqrt{x^\top Px}$ with a positive definite matrix $P$ it can be computed:
#
# > **Claim 1.9 (logarithmic norms).** In each of these norms $\|e^{At}\|\le e^{\mu(A)t}$ for $t\ge0$, and no smaller number will do. If $\mu(Df(x))\le\mu$ for all $x$, then $\varphi_t$ stretches no distance in that norm by more than $e^{\mu t}$. Moreover
# > $$\mu_2=\lambda_{\max}(\mathrm{sym}\,A),\quad\mu_1=\max_j\Big(a_{jj}+\sum_{i\ne j}|a_{ij}|\Big),\quad\mu_\infty=\max_i\Big(a_{ii}+\sum_{j\ne i}|a_{ij}|\Big),$$
# > and $\mu_P$ is the largest number $\lambda$ with $\det\big(PA+A^\top P-2\lambda P\big)=0$.
#
# Note the diagonal: it enters with its sign. Here they are in code. For $\mu_P$ we write $P=CC^\top$ (Cholesky). Then $\|x\|_P=\|C^\top x\|$, and in the coordinates $z=C^\top x$ the matrix is $C^\top AC^{-\top}$.


# %%
def mu_2(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


def mu_1(A):
    return (A.diagonal() + A.abs().sum(0) - A.diagonal().abs()).max().item()


def mu_inf(A):
    return mu_1(A.T)


def mu_P(A, P):
    C = torch.linalg.cholesky(P)
    return mu_2(C.T @ A @ torch.linalg.inv(C.T))


h = 1e-7
for name, formula, order in (("1", mu_1, 1), ("2", mu_2, 2), ("inf", mu_inf, math.inf)):
    limit = (torch.linalg.matrix_norm(torch.eye(2) + h * A, order).item() - 1) / h
    library = ode.logarithmic_norm(A, norm=order)
    print(f"mu_{name:4s} formula {formula(A):.3f}   limit {limit:.3f}   library {library:.3f}")

# %% [markdown]
# Positive in all three. Which $P$ could do better? One that knows $A$. Ask for a length that falls everywhere, $\frac{d}{dt}\|x\|_P^2=x^\top(PA+A^\top P)x=-\|x\|^2$. This is a *linear* equation for $P$,
#
# $$A^\top P+PA=-I\qquad\text{(the Lyapunov equation).}$$


# %%
def lyapunov_matrix(A):
    """The solution P of A^T P + P A = -I."""
    eye = torch.eye(len(A))
    system = torch.kron(A.T.contiguous(), eye) + torch.kron(eye, A.T.contiguous())
    return torch.linalg.solve(system, -eye.flatten()).reshape(A.shape)


P = lyapunov_matrix(A)
print("P =", [[round(value, 3) for value in row] for row in P.tolist()])
print(f"mu_P = {mu_P(A, P):.4f}   library: {ode.logarithmic_norm(A, weight=P):.4f}")
assert mu_P(A, P) < 0

# %% [markdown]
# Negative! In this norm, in which $x_2$ weighs much more than $x_1$, every length shrinks at every moment.
#
# > **Claim 1.10 (a norm that fits).** The origin is asymptotically stable for $x'=Ax$ if and only if $\mu_P(A)<0$ for some positive definite $P$.
# > The solution $P$ of $A^\top P+PA=-I$ is such a matrix, with $\mu_P=-1/(2\lambda_{\max}(P))$.
#
# So for linear fields "asymptotically stable" *is* "contractive", in a norm of its own. There is a price. Back in the Euclidean norm the promise is only
# $\|e^{At}\|\le\sqrt{\kappa}\,e^{\mu_Pt}$ with $\kappa=\lambda_{\max}(P)/\lambda_{\min}(P)$. **Drop the factor**, that is, mix two norms, and the statement is false:

# %%
eigenvalues = torch.linalg.eigvalsh(P)
root_kappa = math.sqrt(eigenvalues[-1] / eigenvalues[0])
bound = (mu_P(A, P) * t).exp()
C = torch.linalg.cholesky(P)
flows = torch.linalg.matrix_exp(A * t[:, None, None])
in_P = torch.linalg.matrix_norm(C.T @ flows @ torch.linalg.inv(C.T), 2)
print(f"P norm below the bound: {(in_P <= bound + 1e-9).all().item()}")
print(f"Euclidean norm below the bound: {(longest <= bound + 1e-9).all().item()}")
enough = (longest <= root_kappa * bound).all().item()
print(f"Euclidean norm below sqrt(kappa) = {root_kappa:.2f} times the bound: {enough}")
unstable = torch.tensor([[1.0, 10.0], [0.0, -2.0]])
both_signs = [round(v, 2) for v in torch.linalg.eigvalsh(lyapunov_matrix(unstable)).tolist()]
print(
    "for an unstable A the equation still has a solution, "
    f"with eigenvalues of both signs: {both_signs}"
)

# %% [markdown]
# Negative in one norm, positive in another: which one counts? The norm in which your question is asked.
# Attacks on images are measured in $\|\cdot\|_2$ or $\|\cdot\|_\infty$. There a negative $\mu_P$ promises something only together with $\sqrt\kappa$.
#
# ## 1.8 Energy as a witness
#
# **Question.** How do you prove that a *nonlinear* equilibrium is stable, without solving anything?
#
# Near the bottom the damped pendulum is $x'=Ax$ with $A=\begin{pmatrix}0&1\\-1&-\gamma\end{pmatrix}$. Its $\mu_2$ is exactly 0: the damping acts only on the speed.
# Some $\mu_P$ is negative, but that speaks for small swings only, where the linear field is a good copy:

# %%
near_bottom = torch.tensor([[0.0, 1.0], [-1.0, -0.3]])
print("mu_2 is zero:", abs(mu_2(near_bottom)) < 1e-12)
print("mu_P is negative:", mu_P(near_bottom, lyapunov_matrix(near_bottom)) < 0)

# %% [markdown]
# *Coursework 1.4 asks for norms in which $\mu_P$ is almost as low as the eigenvalues allow.*
#
# For the true pendulum there is a quantity that everybody trusts to fall, the energy $V(q,p)=\tfrac12p^2+1-\cos q$. Along a solution
#
# $$\dot V=\langle\nabla V,f\rangle=p\cdot(-\sin q-\gamma p)+\sin q\cdot p=-\gamma p^2\le0 .$$
#
# > **Claim 1.11 (Lyapunov).** Let $f(x^*)=0$, and let $V$ be continuously differentiable near $x^*$ with $V(x^*)=0$ and $V>0$ at all other points nearby.
# > If $\dot V=\langle\nabla V,f\rangle\le0$, then $x^*$ is stable. If $\dot V<0$ except at $x^*$, then $x^*$ is asymptotically stable.
#
# *Why.* A solution that starts inside a small bowl $\{V<c\}$ cannot climb its wall.
#
# **Predict first.** $\dot V=-\gamma p^2$ is zero whenever the pendulum turns round. Does $V$ get stuck at a positive value, or does it tend to 0?

# %%
my_guess = None  # "gets stuck" or "tends to 0"


# %%
def energy(x):
    return 0.5 * x[..., 1] ** 2 + 1 - torch.cos(x[..., 0])


long_times = torch.linspace(0, 60, 601)
release = torch.tensor([[2.5, 0.0]])
damped = ode.flow(swing, release, long_times, max_step=0.02)[:, 0]
free = ode.flow(partial(pendulum, gamma=0.0), release, long_times, max_step=0.02)[:, 0]
V_damped = energy(damped)
V_free = energy(free)
falls = (V_damped.diff() < 1e-12).all().item()
print(
    f"friction 0.3:  V falls from {V_damped[0]:.3f} to {V_damped[-1]:.1e};  it never rises: {falls}"
)
print(f"no friction:   V goes from {V_free[0]:.3f} to {V_free[-1]:.3f}")
if my_guess is not None:
    print(f"Your guess was: {my_guess}. It tends to 0.")

# %%
figures.energy_of_the_pendulum(energy, long_times, free, damped)

# %% [markdown]
# Claim 1.11 gives only "stable" here, because $\dot V=0$ on the whole line $p=0$. But the pendulum does not *stay* on that line. This is the idea of LaSalle.
# A set is **invariant** if solutions that start in it stay in it (*positively* invariant: for all later times; invariant: for earlier times too).
#
# > **Claim 1.12 (LaSalle).** Let $\Omega$ be compact (closed and bounded) and positively invariant, $f$ **locally Lipschitz** (Lipschitz on every ball, with a constant that may depend on the ball), and $V$ continuously differentiable with $\dot V\le0$ on $\Omega$. Then every solution that starts in $\Omega$ converges to the largest invariant
# > subset of $\{x\in\Omega:\dot V(x)=0\}$.
#
# For the pendulum take for $\Omega$ the valley $\{V\le1.9\}$, $|q|<\pi$. Where $p=0$ the field is $(0,-\sin q)$, which leaves the line unless $q=0$. The largest invariant subset is the origin alone:

# %%
cloud = torch.rand(400, 2, generator=torch.Generator().manual_seed(4))
cloud = cloud * torch.tensor([6.0, 4.0]) - torch.tensor([3.0, 2.0])
inside = cloud[energy(cloud) <= 1.9]
ends = ode.flow(swing, inside, torch.tensor([0.0, 80.0]), max_step=0.05)[-1]
all_down = (ends.norm(dim=1) < 1e-3).all().item()
print(f"{len(inside)} starts in the valley; all within 0.001 of the bottom at time 80: {all_down}")

# %% [markdown]
# **Drop one hypothesis after the other:**
#
# * *$V>0$ away from $x^*$* (1.11). For $x'=x$ take $V=-x^2$: $\dot V=-2x^2\le0$, and yet solutions run away.
# * *$\dot V\le0$* (1.11). Drive the pendulum with $\gamma=-0.1$: $V$ grows.
# * *compact* (1.12). For $x'=1$ take $V=e^{-x}$: $\dot V=-e^{-x}<0$ everywhere. The set where $\dot V=0$ is empty, and solutions converge to nothing.

# %%
pushed = partial(pendulum, gamma=-0.1)
driven = ode.flow(pushed, torch.tensor([[0.1, 0.0]]), torch.tensor([0.0, 30.0]))[:, 0]
escape = ode.flow(lambda x: x, torch.tensor([[0.01]]), torch.tensor([0.0, 10.0]))[-1].item()
print(
    f"x' = x from 0.01:      V = -x^2 falls from {-(0.01**2):.4f} to {-(escape**2):.1e}, "
    f"while x grows to {escape:.0f}"
)
print(f"driven pendulum:       V rises from {energy(driven[0]):.3f} to {energy(driven[1]):.3f}")
print(f"x' = 1 from 0, t = 10: V falls from 1 to {math.exp(-10):.0e}, while x grows to 10")

# %% [markdown]
# ## 1.9 Valleys and rotations
#
# **Question.** Which fields have $\mu\le0$ by construction, so that nobody needs to compute it?
#
# Two building blocks do: convex valleys and linear rotations. So do their sums, and the stable layers of this course are built on this idea.
#
# **Valleys.** The **gradient flow** $x'=-\nabla V(x)$ runs downhill. Its Jacobian is $-\nabla^2V$, symmetric. A convex $V$ has a Hessian $\nabla^2V$ without negative eigenvalues, so $\mu\le0$.
# $V$ is called **$m$-strongly convex** if $V(x)-\tfrac m2\|x\|^2$ is convex; then $\mu\le-m$.
#
# > **Claim 1.13 (gradient flow).** Let $V$ be differentiable and $\nabla V$ locally Lipschitz. If $V$ is convex, solutions of $x'=-\nabla V(x)$ exist for all $t\ge0$, and their distances never increase. If $V$ is $m$-strongly convex, they shrink at least like $e^{-mt}$.
#
# **Drop the convexity:** the two valleys of Section 1.1, with $\gamma=0$, and two balls 0.02 apart near the ridge. Beside it a bowl, the same with $\gamma=1.5$: here $V=\tfrac14x_1^4+\tfrac14x_1^2+x_2^2$ is $\tfrac12$-strongly convex.
#
# **Predict first.** How far apart are the balls at time 8, in the valleys and in the bowl?

# %%
my_guess = None  # for example (0.1, 0.02)


# %%
def potential(x, gamma):
    return x[..., 0] ** 4 / 4 + (gamma - 1) * x[..., 0] ** 2 / 2 + x[..., 1] ** 2


ridge_pair = torch.tensor([[-0.01, 0.5], [0.01, 0.5]])
ridge_times = torch.linspace(0, 8, 161)
ridge_paths = {}
for name, gamma in (("two valleys", 0.0), ("convex bowl", 1.5)):
    ridge_paths[gamma] = ode.flow(partial(two_valleys, gamma=gamma), ridge_pair, ridge_times)
    distance = gap(ridge_paths[gamma])
    never = (distance.diff() <= 1e-12).all().item()
    print(
        f"{name}: distance 0.0200 at the start, {distance[-1]:.4f} at t = 8; "
        f"never increases: {never}"
    )
if my_guess is not None:
    print(f"Your guess was {my_guess}.")
bound = 0.02 * (-0.5 * ridge_times).exp()
figures.valleys_and_bowl(ridge_times, ridge_paths, potential, gap, bound)

# %% [markdown]
# *Coursework 1.5 asks for the ratio of these distances.*
#
# **Rotations.** A matrix with $S^\top=-S$ is called **skew-symmetric**. Then $\langle Sx,x\rangle=0$: velocities are perpendicular to positions. And for a scalar function $H(q,p)$ the **Hamiltonian** field is
# $x'=J\nabla H(x)$, with the skew matrix $J=\begin{pmatrix}0&1\\-1&0\end{pmatrix}$: it runs *along* the level curves of $H$ rather than down. The pendulum without friction is one, with the energy as $H$.
#
# > **Claim 1.14 (skew and Hamiltonian).** The flow of $x'=Sx$ with $S^\top=-S$ keeps all lengths and distances. The flow of $x'=J\nabla H(x)$ keeps $H$. But it need not keep distances, not even if $J\nabla H$ is linear: the drift of Section 1.6 is the case $H=\tfrac12p^2$.

# %%
S = torch.tensor([[0.0, 2.0, -1.0], [-2.0, 0.0, 3.0], [1.0, -3.0, 0.0]])
Q = torch.linalg.matrix_exp(7.0 * S)
print("exp(7 S) keeps all lengths:", torch.allclose(Q.T @ Q, torch.eye(3)))
neighbours = torch.tensor([[2.4, 0.0], [2.8, 0.0]])
states = ode.flow(partial(pendulum, gamma=0.0), neighbours, long_times)
drift = (energy(states) - energy(neighbours)).abs().max().item()
print(
    f"free pendulum: H is kept (to 1e-6): {drift < 1e-6};  "
    f"distance 0.40 at the start, up to {gap(states).max():.2f} later"
)

# %% [markdown]
# **Both.** Subtracting $\gamma I$ lowers every $\mu$ by exactly $\gamma$: $\mu(S-\gamma I)=-\gamma$ for every skew $S$, because $\mathrm{sym}\,S=0$. (In general only $\mu(A+B)\le\mu(A)+\mu(B)$.) A rotation keeps information, a little pull towards the centre makes it forget slowly. That mixture is one recipe for stable networks (lesson 4).
#
# *Coursework 1.2 makes such a mixture out of any matrix.*
#
# ## 1.10 Towards one point is not towards each other
#
# **Question.** Can we build fields that surely pull towards one point $x^*$, with a free network inside?
#
# Write $f(x)=A(x)(x-x^*)$ with a matrix that may depend on $x$. Then $\frac{d}{dt}\tfrac12\|x-x^*\|^2=\langle A(x)(x-x^*),x-x^*\rangle$, and again only $\mathrm{sym}\,A(x)$ counts.
# Every matrix of the form $A=-R^\top R+(Q-Q^\top)-\beta I$ has $\mathrm{sym}\,A=-R^\top R-\beta I$, whatever the square matrices $R$ and $Q$ are. So let a network produce $R(x)$ and $Q(x)$. This is the idea behind
# *extended linearized contracting dynamics* (Jaffe et al., 2402.08090). Its authors show that all pairs contract too, but in a metric other than the Euclidean one.
#
# > **Claim 1.15 (contraction to one point).** Let $f(x)=A(x)(x-x^*)$ be locally Lipschitz with $\lambda_{\max}(\mathrm{sym}\,A(x))\le-\beta$ for all $x$. Then $\|x(t)-x^*\|\le e^{-\beta t}\|x(0)-x^*\|$ for $t\ge0$.
# > Two solutions may nevertheless move apart, even if $\beta>0$.
#
# A simple case in the plane: $A(x)=-\tfrac12I+5\|x\|\,G$ with the rotation $G=\begin{pmatrix}0&-1\\1&0\end{pmatrix}$ and $x^*=0$. Everybody spirals in at the same rate $\beta=\tfrac12$. But who is farther out turns faster.
#
# **Predict first.** Two solutions start at $(1,0)$ and $(1.2,0)$, so 0.2 apart. What is their largest distance?

# %%
my_guess = None  # for example 0.2


# %%
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
whirl_paths = {}
for name, field in whirls.items():
    states = ode.flow(field, whirl_pair, whirl_times)
    whirl_paths[name] = states
    distance = gap(states)
    shrinks = torch.allclose(states[:, 0].norm(dim=1), (-whirl_times / 2).exp())
    mu = ode.logarithmic_norm(jacobian(field, torch.tensor([[1.0, 0.0]]))[0])
    print(
        f"{name:22s}  largest distance {distance.max():.3f}, at t = 8 {distance[-1]:.3f};  "
        f"|x| = exp(-t/2): {shrinks};  mu at |x| = 1: {mu:.1f}"
    )
if my_guess is not None:
    print(f"Your guess was {my_guess}.")

# %%
figures.two_whirls(whirl_times, whirl_paths, gap)

# %% [markdown]
# The Jacobian knows it: at distance $r$ from the centre $\lambda_{\max}(\mathrm{sym}\,Df)=-\tfrac12+\tfrac52r$, which is 2 at $r=1$.
# Pulling towards one point is what you want for one known target. It is *not* what protects two arbitrary inputs from being torn apart; for that, the $\mu$ of Claim 1.4 must be at most 0.
#
# And **drop the symmetric part**: that all *eigenvalues* of $A(x)$ are negative is not enough. The constant matrix of Section 1.6 had eigenvalues $-1$ and $-2$, and $\|x-x^*\|$ grew by a factor of 2.56.
#
# *Coursework 1.3 asks how much pull a whirl needs so that no two states separate.*
#
# ## Recap
#
# * The flow of a Lipschitz field exists, is unique, and can be cut at any time (1.1). Distances change at most by $e^{\pm Lt}$ (1.2), a bound that cannot tell forgetting from exploding.
# * The one-sided constant $\mu=\sup\lambda_{\max}(\mathrm{sym}\,Df)$ can (1.3, 1.4). If $\mu<0$, there is one equilibrium and everybody goes there (1.5).
# * Stable and attractive are two things (1.6). For linear fields eigenvalues decide about the end (1.7), $\mu$ about the beginning (1.8).
# * Each norm has its own $\mu$ (1.9), and an asymptotically stable linear field is contractive in one of them (1.10). An energy proves stability without any norm (1.11, 1.12).
# * Strongly convex valleys forget, linear rotations remember (1.13, 1.14), and pulling towards one point is weaker than pulling together (1.15).
#
# For a network that follows a flow for the time $T$, $e^{\mu T}$ bounds how much it magnifies a change of its input. That is what the rest of the course is about:
# lesson 2 asks which *steps* keep the promise, and lesson 5 builds layers from valleys.
#
# ## What can go wrong in practice
#
# * *Looking at eigenvalues only.* A recurrent network whose matrix has spectral radius below 1 can still amplify a perturbation by orders of magnitude on the way.
# * *A $\mu$ measured at sample points.* The largest $\lambda_{\max}(\mathrm{sym}\,Df(x))$ over a data set is a lower bound for $\mu$. It may reject a promise, never certify one.
# * *Mixing norms.* $\mu_P<0$ says nothing about Euclidean distances without the factor $\sqrt\kappa$.
# * *Trusting the solver.* All pictures here were drawn with steps small enough. A step too long turns forgetting into exploding; that is the next lesson.
#
# ## References
#
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
# * G. Söderlind: *The logarithmic norm. History and modern theory*, BIT Numerical Mathematics 46, 2006.
# * L. N. Trefethen, M. Embree: *Spectra and Pseudospectra*, Princeton 2005 (transient growth).
# * H. K. Khalil: *Nonlinear Systems*, 3rd edition, 2002 (Lyapunov, LaSalle).
# * S. Jaffe, A. Davydov, D. Lapsekili, A. Singh, F. Bullo: *Learning neural contracting dynamics: extended linearization and global guarantees*, arXiv 2402.08090.
