# %% [markdown]
# # 4. Networks as dynamical systems
#
# A residual network takes many small steps. So does a solver of differential equations.
# In this lesson you use that likeness in both directions: to understand training, and to build networks that are stable by design.
#
# **You will learn**
#
# * why a deep residual network follows a flow, and what a flow can never do;
# * that backpropagation is an old friend of optimal control, the *adjoint* equation, and why running a network backwards is dangerous;
# * to diagnose and cure the error "underflow in dt" of adaptive solvers;
# * seven ways to make a network stable, by its structure or by its training, each in the plane: antisymmetric, Hamiltonian, projected, SODEF, LyaNet, ELCD, monotone equilibrium;
# * for each of them: what is promised, in which norm, and what breaks the promise.
#
# **Before you start:** lessons 1 to 3 (flow, one-sided Lipschitz constant, Euler and Runge–Kutta steps, spectral norm), gradients in PyTorch.
# **Time:** about 75 minutes of reading and playing; the computer needs less than one minute.

# %% tags=["setup"]
# setup

# %%
import math
from functools import partial

import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

from chapter_utils import ode, plotting, runge_kutta
from figures import lesson_04 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
_ = torch.set_num_threads(1)  # our matrices are tiny: more threads would only wait for each other
J = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # rotation by 90 degrees, used all through the lesson

# %% [markdown]
# ## 4.1 Layers are time steps
#
# **Question.** What happens to a residual network if it has more and more, thinner and thinner layers?
#
# A residual layer adds something to its input. Write it with a small factor $h$ in front:
#
# $$x_{n+1}=x_n+h\,f(x_n,\theta_n),\qquad n=0,\dots,N-1 .$$
#
# Here $x_n\in\mathbb R^d$ is the state after $n$ layers and $\theta_n$ the weights of the next one.
# Lesson 2 called this an *Euler step* of length $h$ for the differential equation $x'=f(x,\theta)$.
# With $N$ layers and $h=T/N$ the network walks up to time $T$. If the weights are samples $\theta_n=\theta(nh)$ of one continuous function of time, or the same in all layers, the limit $h\to0$ is a **neural ODE** (Chen et al., 1806.07366).
#
# Take $f(x)=\tanh(Wx+b)$, the same in all layers, and compare networks of different depth with the flow.

# %%
generator = torch.Generator().manual_seed(3)
W = torch.randn(2, 2, generator=generator)
b = torch.randn(2, generator=generator)
T = 2.0


def field(x):
    """tanh(W x + b) for a batch x of shape (B, 2)."""
    return torch.tanh(x @ W.T + b)


def network(x, depth):
    for _ in range(depth):
        x = x + T / depth * field(x)
    return x


# %% [markdown]
# **Predict first.** The depth doubles. By which factor does the distance between network and flow shrink?

# %%
my_guess = None  # for example 4

# %%
x = torch.randn(200, 2, generator=generator)
end_of_flow = ode.flow(field, x, torch.tensor([0.0, T]))[-1]
L = torch.linalg.matrix_norm(W, 2).item()  # the slope of tanh is at most 1
F = math.sqrt(2)  # |f| <= sqrt(2): two entries of a tanh
distances = {}
for depth in (10, 20, 40, 80, 160):
    distance = (network(x, depth) - end_of_flow).norm(dim=1).max().item()
    distances[depth] = distance
    bound = 0.5 * T / depth * F * math.expm1(L * T)
    print(f"{depth:3d} layers: largest distance to the flow {distance:.4f} <= bound {bound:.3f}")
    assert distance <= bound
ratio = distances[80] / distances[160]
print(f"doubling the depth divides the distance by {ratio:.1f}; your guess: {my_guess}")

# %% [markdown]
# > **Claim 4.1 (thin layers follow the flow).** Let $f$ be differentiable and $L$-Lipschitz with $\|f\|\le F$.
# > Then $N$ layers with $h=T/N$ end within $\tfrac12hF\,(e^{LT}-1)$ of the flow at time $T$.
#
# *Why.* Along the flow $\|x''\|=\|Df(x)\,f(x)\|\le LF$, so one step errs by at most $\tfrac12h^2LF$. Each later step magnifies the error by at most $1+hL$.
# Summing the geometric series gives the bound. $\square$
#
# The hypothesis *Lipschitz* is needed. For $f(x)=x^2$ the exact solution from $x_0=1$ is $1/(1-t)$. It has left every bound at $t=1$: there is no flow up to $T=1.2$.
# The networks do not notice, and answer with ever larger numbers:

# %%
outputs = []
for depth in (5, 10, 20, 40):
    z = 1.0
    for _ in range(depth):
        z = z + 1.2 / depth * z**2
    outputs.append(z)
    print(f"{depth:3d} layers: x(1.2) = {z:.3g}")
assert outputs[-1] > 1e4 * outputs[0]

# %% [markdown]
# ### What a flow cannot do
#
# Two solutions of $x'=f(x)$ never meet: at a common point they would have the same past. On the *line* that has a consequence. Whoever starts to the left stays to the left.
#
# > **Claim 4.2 (flows on the line are increasing).** If $f:\mathbb R\to\mathbb R$ is Lipschitz, every map $x(0)\mapsto x(t)$ is strictly increasing.
# > One Euler step $x+hf(x)$ with $hL<1$ is too; with $hL>1$ it need not be.
#
# So no neural ODE on the line computes $x\mapsto-x$, however it is trained. But *one layer* does: $f(x)=-x$ with $h=2$. And so does a flow if we **augment** the line by a second
# coordinate and rotate (Dupont et al., 1904.01681).

# %%
starts = torch.linspace(-1, 1, 9)[:, None]
t = torch.linspace(0, 3, 61)
lines = ode.flow(lambda x: -torch.tanh(2 * x), starts, t)[:, :, 0]
step = 1.0  # L = 2, so h L = 2
x = starts
crossing = [x]
for _ in range(3):
    x = x - step * torch.tanh(2 * x)
    crossing.append(x)
turn = torch.linspace(0, math.pi, 61)
half_turns = starts[:, :, None] * torch.stack([turn.cos(), turn.sin()])  # (9, 2, 61)
assert (lines[:, 1:] > lines[:, :-1]).all() and (crossing[1][1:] < crossing[1][:-1]).any()
figures.crossing_or_not(t, lines, torch.stack(crossing)[:, :, 0], half_turns)

# %% [markdown]
# ## 4.2 Training is optimal control
#
# **Question.** Backpropagation is usually told as the chain rule. What does it look like for a differential equation?
#
# Let $\Phi(x_N)$ be the loss. We want weights $\theta_0,\dots,\theta_{N-1}$ that make it small: we *steer* the state. Define the **adjoint state**
# $p_n=\nabla_{x_n}\Phi$, the sensitivity of the loss to the state after $n$ layers. The chain rule for one layer reads
#
# $$p_N=\nabla\Phi(x_N),\qquad p_n=p_{n+1}+h\,\big(\partial_xf(x_n,\theta_n)\big)^\top p_{n+1},\qquad
# \nabla_{\theta_n}\Phi=h\,\big(\partial_\theta f(x_n,\theta_n)\big)^\top p_{n+1}.$$
#
# It runs backwards, and it is an Euler step too: for the **adjoint equation** $p'=-(\partial_xf)^\top p$. Write it out for $f(x,W)=\tanh(Wx)$, whose slope is $1-\tanh^2$:


# %%
def states_of(x, weights, h):
    states = [x]
    for W in weights:
        states.append(states[-1] + h * torch.tanh(W @ states[-1]))
    return states


def adjoint(states, weights, h, p):
    """Gradients for each layer's W, from p = gradient of the loss at the last state."""
    gradients = []
    for x, W in zip(states[-2::-1], weights[::-1], strict=True):
        s = (1 - torch.tanh(W @ x) ** 2) * p  # p_{n+1} behind the activation
        gradients.insert(0, h * torch.outer(s, x))
        p = p + h * W.T @ s
    return torch.stack(gradients), p


# %%
depth = 20
h = 0.1
weights = torch.randn(depth, 4, 4, generator=generator).requires_grad_()
x0 = torch.randn(4, generator=generator)
target = torch.randn(4, generator=generator)
states = states_of(x0, weights, h)
loss = 0.5 * (states[-1] - target).square().sum()
by_autograd = torch.autograd.grad(loss, weights)[0]
with torch.no_grad():
    by_adjoint, _ = adjoint([x.detach() for x in states], list(weights), h, states[-1] - target)
difference = ((by_adjoint - by_autograd).norm() / by_autograd.norm()).item()
print("adjoint equals backpropagation to 14 digits:", difference < 1e-14)
assert difference < 1e-13

# %% [markdown]
# > **Claim 4.3 (backpropagation is the adjoint).** With the states $x_n$ of the forward pass, the recursion for $p_n$ gives exactly the gradients of the network, for every $h$, not only in the limit.
#
# This order of work is called **discretise, then optimise**: first choose the network, then differentiate it.
#
# ### Weights that steer best
#
# Let the control $\theta_n\in\Theta$ cost something: the total cost is $\Phi(x_N)+h\sum_nR(\theta_n)$. Collect what the choice of $\theta$ at layer $n$ does to the cost in one number, the
# **Hamiltonian of control** $-p_{n+1}^\top f(x_n,\theta)-R(\theta)$.
#
# > **Claim 4.4 (maximum principle).** Let all functions be differentiable, $f$ affine in $\theta$, $R$ and $\Theta$ convex. At optimal weights, each $\theta_n$ maximises
# > $-p_{n+1}^\top f(x_n,\theta)-R(\theta)$ over $\Theta$.
#
# *Proof.* The cost has the derivative $h\,(\partial_\theta f^\top p_{n+1}+\nabla R)$ in $\theta_n$. At an optimum no allowed direction descends. So none descends for the function
# $p_{n+1}^\top f(x_n,\theta)+R(\theta)$ either, and that one is convex in $\theta$: its minimum is reached. $\square$
#
# In continuous time this is Pontryagin's principle (E, Han and Li, 1807.01083), and there convexity is not needed.
# Steer $x'=x+\theta$ from $0.8$ towards $0$ with $|\theta|\le1$, $\Phi=x^2$ and $R=\tfrac12\theta^2$. The maximiser is then $-p_{n+1}$, clipped to $[-1,1]$.
# We find the optimal weights by gradient descent with the adjoint, and compare:

# %%
N = 20
h = 0.1
theta = torch.zeros(N)
for _ in range(600):
    x = [0.8]
    for control in theta.tolist():
        x.append(x[-1] + h * (x[-1] + control))
    p = [2 * x[N]]
    for _ in range(N):
        p.insert(0, p[0] + h * p[0])
    steering = -torch.tensor(p[1:])  # -p_{n+1} for n = 0, ..., N-1
    theta = (theta + 0.03 * (steering - theta)).clamp(-1, 1)  # downhill, then back into [-1, 1]
print(f"x_N = {x[N]:.3f}; without control it would be {0.8 * 1.1**N:.3f}")
optimal = torch.allclose(theta, steering.clamp(-1, 1), atol=1e-6)
print("optimal weights maximise the Hamiltonian, to 6 digits:", optimal)
assert optimal

# %%
figures.best_steering(theta, steering, x)

# %% [markdown]
# Drop the hypothesis that $\Theta$ is convex. One layer $x_1=\theta$ from $x_0=0$ with $h=1$, only $\theta=-1$ or $\theta=1$ allowed, $\Phi(x)=(x-0.4)^2$, $R=0$. The better weight is $1$.
# But there $p_1=1.2$, and $-p_1\theta$ is larger for $\theta=-1$: the principle points the wrong way.

# %%
cost = {theta: (theta - 0.4) ** 2 for theta in (-1, 1)}
best = min(cost, key=cost.get)
p_1 = 2 * (best - 0.4)
pointed_at = max((-1, 1), key=lambda theta: -p_1 * theta)
print(f"best weight {best}, weight that maximises -p theta: {pointed_at}")

# %% [markdown]
# ### The other order
#
# The adjoint needs all states $x_n$, and they cost memory. A neural ODE may forget them: it solves $x'=f(x)$ *backwards* from the last state, together with $p'=-(\partial_xf)^\top p$.
# This is **optimise, then discretise**. The states that come back are not quite the old ones:


# %%
def adjoint_without_memory(x, weights, h, p):
    """Only the last state is known; earlier ones are recomputed by Euler steps backwards."""
    gradients = []
    for W in weights[::-1]:
        s = (1 - torch.tanh(W @ x) ** 2) * p
        gradients.insert(0, h * torch.outer(s, x))
        x = x - h * torch.tanh(W @ x)
        p = p + h * W.T @ s
    return torch.stack(gradients), p


def disagreement(W, x0, target, depth, T=1.0):
    """Relative difference of the two gradients for one matrix W shared by all layers."""
    h = T / depth
    weights = [W] * depth
    states = states_of(x0, weights, h)
    p = states[-1] - target
    kept = adjoint(states, weights, h, p)[0].sum(0)
    lost = adjoint_without_memory(states[-1], weights, h, p)[0].sum(0)
    return ((kept - lost).norm() / kept.norm()).item()


shared = torch.randn(4, 4, generator=generator)
gaps = {}
for depth in (10, 20, 40, 80, 160):
    gaps[depth] = disagreement(shared, x0, target, depth)
    print(f"{depth:3d} layers: relative difference of the two gradients {gaps[depth]:.4f}")
print(f"from 80 to 160 layers it is divided by {gaps[80] / gaps[160]:.1f}")
assert 1.7 < gaps[80] / gaps[160] < 2.3

# %% [markdown]
# > **Claim 4.5 (the other order).** Let the derivatives of $f$ in $x$ and $\theta$ be bounded and Lipschitz where the states are, and $T$ fixed. Then the two gradients differ by at most $Ch$, with $C$ independent of $h$.
#
# Drop "bounded derivatives": $f(x)=-\mathrm{sign}(x)\sqrt{|x|}$ has slope $-\infty$ at zero. From $x=0.5$ its flow comes to rest at zero before $t=1.5$. At $T=3$ nothing remembers when it arrived:

# %%
for depth in (100, 1000, 10_000):
    h = 3 / depth
    x = 0.5
    for direction in (-1, 1):  # to T = 3 and back
        for _ in range(depth):
            x = x + direction * h * math.copysign(math.sqrt(abs(x)), x)
    print(f"{depth:5d} layers: the start 0.5 is recomputed as a number of size {abs(x):.0f}")
    assert abs(x - 0.5) > 1

# %% [markdown]
# Even for smooth fields the constant can be enormous. Recall the one-sided Lipschitz constant $\mu$ of lesson 1: $\langle f(x)-f(y),x-y\rangle\le\mu\|x-y\|^2$ makes distances grow at most like $e^{\mu t}$.
# A strongly contractive flow has $\mu=-\nu<0$ and forgets its start. Backwards, it must invent what it forgot:
#
# > **Claim 4.6 (reversal expands).** If $\langle f(x)-f(y),x-y\rangle\le-\nu\|x-y\|^2$, then two solutions of the reversed equation $x'=-f(x)$ separate at least like $e^{\nu t}$.
#
# Rate $\nu=20$ and $T=1$ are not extreme. Take $f(x)=-\nu(x-c)+J(x-c)$ with $c=(1,1)$, a spiral into $c$ whose rate is exactly $\nu$,
# and two end states which differ by one rounding error of float32. We follow $-f$:


# %%
def reversed_field(nu, x):
    return nu * (x - 1) - (x - 1) @ J.T


unit_error = torch.finfo(torch.float32).eps
ends = 1 + torch.tensor([[0.0, 0.0], [unit_error, 0.0]])
for name, nu in {"contractive, rate 20": 20.0, "rate 0 (a rotation)": 0.0}.items():
    starts = ode.flow(partial(reversed_field, nu), ends, torch.tensor([0.0, 1.0]))[-1]
    apart = (starts[1] - starts[0]).norm().item()
    print(f"{name:20s}: ends {unit_error:.2g} apart belong to starts {apart:.2g} apart")
print(f"e^20 x rounding unit = {math.exp(20) * unit_error:.0f}")

# %% [markdown]
# A rounding error at the end becomes 58 at the start. For a *nonlinear* field it gets worse, as you will see next.
#
# *Coursework 4.1 asks for both gradients of your own network.*
#
# ## 4.3 "underflow in dt"
#
# **Question.** A neural ODE runs well forwards. In `backward()` the solver stops with `AssertionError: underflow in dt`. What happened?
#
# The solver of `torchdiffeq` chooses its own step `dt`: it shortens the step until the error looks small. "Underflow" means that no step is small enough.
# Either the numbers are no longer finite, or the solution runs away to infinity in finite time, like $x'=x^2$ in section 4.1.
#
# Our field pulls the state to a place $a$, which is to be learned: $f(x)=-\lambda(x-a)-(x-a)^3$.
# It is as stable as can be. The one-sided constant is $\mu=-\lambda$. The function `odeint_adjoint` recomputes the states backwards.


# %%
class Pull(nn.Module):
    def __init__(self, rate, cubic=1.0):
        super().__init__()
        self.rate = rate
        self.cubic = cubic
        self.place = nn.Parameter(torch.tensor(0.5))

    def forward(self, t, x):
        return -self.rate * (x - self.place) - self.cubic * (x - self.place) ** 3


def gradient(solve, rate, times=2, cubic=1.0):
    """Derivative of x_1(1) + x_2(1) by the place a, or the error message.

    The solver is asked for the states at this many `times` from 0 to 1.
    """
    pull = Pull(rate, cubic)
    start = torch.tensor([2.0, -0.5])
    states = solve(pull, start, torch.linspace(0, 1, times), rtol=1e-6, atol=1e-6)
    try:
        states[-1].sum().backward()
    except AssertionError as error:
        return str(error)[:15]
    return f"{pull.place.grad.item():.3f}"


# %% [markdown]
# **Predict first.** The solver's tolerance is $10^{-6}$. The rates $\lambda$ are 1, 5, 10, 20 and 40. Which is the first to fail?
# (A strong pull brings both components of the state to $a$, so the derivative should approach 2.)

# %%
my_guess = None  # for example 40

# %%
answers = {}
for rate in (1.0, 5.0, 10.0, 20.0, 40.0):
    answers[rate] = gradient(odeint_adjoint, rate)
    amplified = math.exp(rate) * 1e-6
    print(
        f"lambda = {rate:2.0f}: e^lambda x tolerance = {amplified:7.1g}   backward: {answers[rate]}"
    )
print(f"first failure at lambda = 20; your guess: {my_guess}")
assert "underflow" in answers[20.0] and "underflow" not in answers[10.0]

# %% [markdown]
# **Diagnosis.** Forwards, $\mu(f)=-\lambda$. Backwards the field is $-f$. For it, $\mu(-f)=\lambda+3r^2$ on states at distance up to $r$ from $a$, and it has *no* finite value on the whole line.
# The forward error, about the tolerance $10^{-6}$, is magnified by $e^{\lambda}$. For $\lambda=20$ the recomputed state is off by hundreds.
# There the cubic term takes over, and the solution is at infinity before $t=0$. A finite $\mu$ excludes that:
#
# > **Claim 4.7 (no blow-up).** Let $f$ be locally Lipschitz with a finite one-sided constant $\mu$. Then every solution exists for all $t\ge0$, and
# > $\|x(t)\|\le e^{\mu t}\|x(0)\|+\|f(0)\|\int_0^te^{\mu s}ds$.
#
# *Proof.* With $y=0$: $\tfrac{d}{dt}\|x\|^2=2\langle f(x)-f(0),x\rangle+2\langle f(0),x\rangle\le2\mu\|x\|^2+2\|f(0)\|\|x\|$. So $\|x\|'\le\mu\|x\|+\|f(0)\|$. $\square$
#
# Without it: $x'=x^2$ blows up forwards, $x'=-x^3$ backwards. Both end in the same message.

# %%
runaways = {"x' = x^2": lambda t, x: x**2, "x' = -x^3, reversed": lambda t, x: x**3}
for name, runaway in runaways.items():
    try:
        odeint(runaway, torch.tensor([1.0]), torch.tensor([0.0, 1.2]))
    except AssertionError as error:
        print(f"{name:20s} {str(error)[:15]}")

# %% [markdown]
# **Cures.** There are four, and they attack different causes.
#
# 1. *Do not reverse.* `odeint` keeps the states and differentiates the solver itself: discretise, then optimise.
# 2. *Reverse in short pieces.* If more output times are asked for, `odeint_adjoint` starts each piece from the stored state. With $k$ pieces the magnification is only $e^{\lambda/k}$.
# 3. *Bound the field.* If $\mu(-f)$ is finite, nothing runs away; if $\mu(-f)\,T$ is moderate, little is lost. Penalise large Jacobians, or choose activations that level off. Here: leave out the cubic term. Then nothing runs away. But $\mu(-f)\,T=20$ is not moderate: the recomputed start is still wrong by hundreds. The gradient below is right only because the derivatives of a *linear* field do not depend on the state.
# 4. *Use an implicit method* if the trouble is forwards: a stiff field (large $\lambda$) forces an explicit method to tiny steps, although nothing happens any more.

# %%
kept = gradient(odeint, 20.0)
print(f"lambda = 20, odeint:                     {kept}")
for pieces in (1, 2, 4, 8):
    in_pieces = gradient(odeint_adjoint, 20.0, times=pieces + 1)
    print(f"lambda = 20, odeint_adjoint, {pieces} piece(s):  {in_pieces}")
linear = gradient(odeint_adjoint, 20.0, cubic=0.0)
print(f"lambda = 20, odeint_adjoint, not cubic:   {linear}")
assert kept == in_pieces == linear

# %% [markdown]
# The fourth cure needs an example. Count how often the solver calls the field $-\lambda(x-\cos t)$, which follows a slow cosine.
# The implicit Euler method (lesson 2) takes 20 steps, whatever $\lambda$ is; each of them solves an equation. Its field must not depend on $t$, so the time becomes a second state variable:

# %%
implicit_euler = runge_kutta.tableau([[1]], [1])
calls = {10.0: 0, 1000.0: 0}


def follow(rate, t, x):
    calls[rate] += 1
    return -rate * (x - torch.cos(t))


def follow_with_time(rate, state):
    x, t = state.unbind(1)
    return torch.stack([-rate * (x - t.cos()), torch.ones_like(t)], 1)


for rate in calls:
    path = odeint(partial(follow, rate), torch.tensor([0.0]), torch.tensor([0.0, 1.0]))
    adaptive = path[-1].item()
    state = torch.tensor([[0.0, 0.0]])
    for _ in range(20):
        field_in_time = partial(follow_with_time, rate)
        state = runge_kutta.runge_kutta_step(field_in_time, state, 1 / 20, implicit_euler)
    x = state[0, 0].item()
    print(f"lambda = {rate:4.0f}: x(1) = {adaptive:.3f} adaptive, {x:.3f} by 20 implicit steps")
more = calls[1000.0] / calls[10.0]
print(f"the stiff field was called more than 5 times as often: {more > 5}")

# %% [markdown]
# ## Recap
#
# | family | what is promised | in which sense | what breaks it |
# |---|---|---|---|
# | thin residual layers | close to a flow (4.1), increasing on the line (4.2) | error $\propto h$ | $f$ not Lipschitz, $hL>1$ |
# | antisymmetric | no growing mode (4.8) | frozen eigenvalues | saturated units; steps above $2\gamma/(\gamma^2+\omega^2)$ (4.9) |
# | Hamiltonian | symplectic, reversible, derivative of norm $\ge1$ (4.10, 4.11) | Verlet steps | Euler steps; $h>2$ |
# | projection | $V\le V(0)e^{-\alpha t}$ (4.12) | exact flow | flat points of $V$; long steps |
# | SODEF | disturbed features return (4.13) | small disturbances, maximum norm | rows not dominant |
# | LyaNet | $V_y\le e^{-\kappa t}V_y(0)$ (4.14) | if the loss is zero everywhere | only sampled states; only the endpoint |
# | ELCD | rate $\alpha$ to the equilibrium (4.15) | distance to $x^*$ | pairs of points (4.16) |
# | monotone equilibrium | one equilibrium, $\|U\|/m$-Lipschitz (4.17, 4.19) | Euclidean, all pairs | $m\le0$; step $a$ too long (4.18) |
#
# * Backpropagation is the adjoint equation of the *network* (4.3). The maximum principle describes its best weights (4.4). The adjoint equation of the *flow* agrees up to $O(h)$ (4.5).
# * Reversing a contractive flow expands (4.6). A finite one-sided constant excludes blow-up (4.7). At "underflow in dt", ask first whether the field that you integrate, perhaps the reversed one, has such a constant; then look for numbers that are not finite.
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
