# %% [markdown]
# # 2. Steps that keep the promise
#
# Lesson 1 found flows that never move two states apart. A computer does not follow a flow. It takes steps, and a layer of a network *is* such a step.
# A step that is too long, or of the wrong kind, breaks the promise of the flow without any warning. Here you learn which steps keep it.
#
# **You will learn**
#
# * to read a Runge–Kutta method from a small table of numbers, and where in the complex plane its steps are stable;
# * one number per method, $r$, that says how long a step may be before two solutions can move apart: $h\le2r/L$;
# * why a stable method can still fail, even for the friendliest fields, and even for *every* step size;
# * why it matters that a field is a gradient, and what implicit steps buy;
# * steps that keep an energy, and steps made of simpler steps.
#
# **Before you start:** lesson 1 (flow, Lipschitz constant $L$, the constant $\mu$, convex potentials), complex numbers as points of a plane.
# **Time:** about 60 minutes of reading and playing; the computer needs less than half a minute.

# %% tags=["setup"]
# setup

# %%
import math

import torch
from tqdm.auto import tqdm

from chapter_utils import norms, ode, plotting, runge_kutta
from figures import lesson_02 as figures

plotting.use_house_style()
torch.set_default_dtype(torch.float64)  # so that what we see is mathematics, not rounding
torch.set_num_threads(1)  # thousands of tiny matrices: one thread is fastest

# %% [markdown]
# ## 2.1 One step, one number
#
# **Question.** We want $x(t+h)$ and know only $x(t)$ and the field $f$ of $x'=f(x)$. What to do?
#
# Go straight along the arrow for a time $h$, the **step size**. That is **Euler's method**:
#
# $$x_{n+1}=x_n+h\,f(x_n).$$
#
# Take the simplest contractive field, $f(x)=-10x$. Its flow multiplies everything by $e^{-10t}$: all solutions rush to 0.
#
# **Predict first.** Up to which step size do Euler's solutions shrink too?

# %%
my_guess = None  # for example 0.1


# %%
def euler_step(f, x, h):
    return x + h * f(x)


for h in (0.05, 0.1, 0.15, 0.19, 0.2, 0.21):
    x = torch.tensor([1.0])
    for _ in range(100):
        x = euler_step(lambda x: -10 * x, x, h)
    size = x.abs().item()
    factor = abs(1 - 10 * h)
    print(f"h = {h:.2f}:  |x| after 100 steps = {size:9.2e}   factor per step {factor:.2f}")
if my_guess is not None:
    print(f"Your guess was {my_guess}; the limit is 0.2.")

# %% [markdown]
# Each step multiplies $x$ by $1-10h$. This number lies between $-1$ and $1$ exactly if $h\le0.2$. Beyond, the numbers explode, although the flow could not be calmer.
#
# Other methods look at the field more than once. A **Runge–Kutta method** with $s$ **stages** first computes $s$ points $X_i$ and then the step:
#
# $$X_i=x+h\sum_{j=1}^s a_{ij}f(X_j),\qquad x_{\text{new}}=x+h\sum_{i=1}^s b_if(X_i).$$
#
# The method *is* its numbers: an $s\times s$ matrix $A=(a_{ij})$ and weights $b=(b_i)$ with $\sum_ib_i=1$, called its **Butcher tableau**. If $A$ has entries only below the diagonal, each stage
# needs only earlier ones. Such a method is **explicit** and takes a few lines:


# %%
def explicit_step(f, x, h, A, b):
    slopes = []
    for row in A.tolist():
        stage = x + h * sum(a * slope for a, slope in zip(row, slopes, strict=False))
        slopes.append(f(stage))
    return x + h * sum(weight * slope for weight, slope in zip(b.tolist(), slopes, strict=True))


def pendulum(x):
    q, p = x.unbind(-1)
    return torch.stack([p, -torch.sin(q) - 0.3 * p], -1)


start = torch.tensor([[2.5, 0.0]])
true_end = ode.flow(pendulum, start, torch.tensor([0.0, 0.5]))[-1]
for name, method in runge_kutta.TABLEAUS.items():
    if method.explicit:
        ours = explicit_step(pendulum, start, 0.5, method.A, method.b)
        same = torch.allclose(ours, runge_kutta.runge_kutta_step(pendulum, start, 0.5, method))
        error = (ours - true_end).norm().item()
        print(
            f"{name:14s} {len(method.b)} stages   error of one step {error:.5f}"
            f"   same as the library: {same}"
        )

# %% [markdown]
# The names are the library's. Here `heun` averages the slope at both ends, `midpoint` uses the slope half-way, `rk4` is the classical method of order four. We return to the others.
#
# What does a method do to $x'=\lambda x$? Let $\lambda$ be a complex number: a real part below 0 is decay, an imaginary part is rotation. Each stage is a multiple of $x$, and so is the result.
#
# > **Claim 2.1 (stability function).** One step of $(A,b)$ for $x'=\lambda x$ is $x\mapsto R(h\lambda)\,x$ with
# > $R(z)=1+z\,b^\top(I-zA)^{-1}\mathbb 1$, where $\mathbb 1=(1,\dots,1)$, if the inverse exists (for explicit methods it always does). For $x'=Kx$ with a matrix $K$ it is $x\mapsto R(hK)\,x$, if no eigenvalue of $hK$ is excluded.
#
# *Proof.* The vector of stages is $X=\mathbb 1x+zAX$, hence $X=(I-zA)^{-1}\mathbb 1x$, and the step is $x+z\,b^\top X$. $\square$
#
# For Euler $R(z)=1+z$. The exact flow has $e^z$. The library's `runge_kutta.stability_function` evaluates $R$. We compare it with a step for a field that spirals:

# %%
spiral = torch.tensor([[-0.3, -1.0], [1.0, -0.3]])  # eigenvalues -0.3 + i and -0.3 - i
x = torch.tensor([[1.0, 0.0]])
h = 0.8
z = h * complex(-0.3, 1.0)
print(f"exact factor  {torch.exp(torch.tensor(z)).item():.4f}")
for name in ("euler", "heun", "rk4", "implicit_euler"):
    x_new = runge_kutta.runge_kutta_step(lambda x: x @ spiral.T, x, h, runge_kutta.TABLEAUS[name])[
        0
    ]
    R = runge_kutta.stability_function(runge_kutta.TABLEAUS[name], z).item()
    print(f"{name:14s} R = {R:.4f}   the step gives {complex(*x_new.tolist()):.4f}")
    assert abs(R - complex(*x_new.tolist())) < 1e-12

# %% [markdown]
# (A state $(x_1,x_2)$ is read as the complex number $x_1+ix_2$ here.)
# **Drop linearity**, and there is no such factor: for $x'=-x^3$ the quotient $x_{n+1}/x_n$ depends on $x_n$.

# %%
states = torch.tensor([[0.5], [1.0], [2.0]])
for name in ("euler", "rk4"):
    quotient = (
        runge_kutta.runge_kutta_step(lambda x: -(x**3), states, 0.4, runge_kutta.TABLEAUS[name])
        / states
    )
    rounded = [round(value, 3) for value in quotient[:, 0].tolist()]
    print(f"{name:6s} x_new / x from 0.5, 1 and 2: {rounded}")

# %% [markdown]
# A solution does not grow if $|R(h\lambda)|\le1$. The set of all $z$ with $|R(z)|\le1$ is the **stability region** of the method. For Euler it is the disc $|1+z|\le1$.
# Now the question "is this step stable?" becomes a picture: does the point $h\lambda$ lie in the region? As $h$ grows, it walks along a ray. Choose a method and a system, then walk.

# %%
decays = {"decay": complex(-1, 0), "spiral": complex(-0.3, 1), "rotation": complex(0, 1)}
real_axis = torch.linspace(-6, 2, 161)
upper = torch.linspace(0, 4, 81)  # the lower half is its mirror image
plane = torch.complex(*torch.meshgrid(real_axis, upper, indexing="xy"))
sizes = {
    name: runge_kutta.stability_function(method, plane).abs()
    for name, method in runge_kutta.TABLEAUS.items()
}


def size_of_factor(name, h, rate):
    return runge_kutta.stability_function(runge_kutta.TABLEAUS[name], h * rate).abs().item()


def step_limit(name, rate, longest=6.0):
    """Largest h so that all shorter steps have |R(h lambda)| <= 1.

    0 if there is none, inf if it exceeds `longest`.
    """
    grid = torch.arange(0.01, longest, 0.01)
    bad = (
        runge_kutta.stability_function(runge_kutta.TABLEAUS[name], grid * torch.tensor(rate)).abs()
        > 1 + 1e-10
    )
    if not bad.any():
        return math.inf
    first = int(bad.double().argmax())
    if first == 0:
        return 0.0
    low = grid[first - 1].item()
    high = grid[first].item()
    for _ in range(40):
        middle = (low + high) / 2
        if size_of_factor(name, middle, rate) > 1 + 1e-10:
            high = middle
        else:
            low = middle
    return low


limits = {
    (name, system): step_limit(name, rate)
    for name in runge_kutta.TABLEAUS
    for system, rate in decays.items()
}


def solution(name, h, rate, until):
    """The numerical solution from 1: powers of R(h lambda), up to a time."""
    R = runge_kutta.stability_function(runge_kutta.TABLEAUS[name], h * rate)
    return R ** torch.arange(int(until / h) + 1)


live_region = figures.stability_region(sizes, decays, limits, size_of_factor, solution)
live_region.still(method="rk4", system="decay", h=2.8)

# %%
live_region

# %% [markdown]
# The three systems are $\lambda=-1$ (decay), $-0.3+i$ (spiral) and $i$ (rotation). The bar across the ray marks the limit. Try this:
#
# * *`euler`, decay:* at $h=1.5$ the solution jumps from side to side but shrinks; at $h=2$ it jumps for ever; beyond, it explodes.
# * *`rk4`:* its region is larger and reaches up the imaginary axis. On the decay the limit is 2.785.
# * *`euler`, rotation:* the limit is 0. Every step is too long.
# * *`implicit_euler`:* the whole left half-plane is shaded. The solution always shrinks, even where it should not.
#
# A method whose region contains the whole left half-plane $\mathrm{Re}\,z\le0$ is called **A-stable**: it never turns a decay into a growth. Which methods are?
#
# > **Claim 2.2 (no explicit method is A-stable).** For an explicit method with $s$ stages $R$ is a polynomial of degree at most $s$ and not constant. So $|R(z)|\to\infty$ as $z\to-\infty$.
#
# *Proof.* $A$ is strictly lower triangular, so $A^s=0$ and $(I-zA)^{-1}=I+zA+\dots+z^{s-1}A^{s-1}$. And $R(z)=1+z+\dots$ is not constant because $\sum b_i=1$. $\square$

# %%
print("                 |R(-10)|   |R(-1000)|   largest on the left half-plane shown")
for name, method in runge_kutta.TABLEAUS.items():
    near, far = (
        runge_kutta.stability_function(method, torch.tensor([-10.0, -1000.0])).abs().tolist()
    )
    largest = sizes[name][:, real_axis <= 0].max().item()
    kind = "explicit" if method.explicit else "A-stable"
    print(f"{name:18s} {near:8.3g} {far:10.3g} {largest:14.4g}   {kind}")
    assert method.explicit == (far > 100) == (largest > 1 + 1e-9)

# %% [markdown]
# The last three are **implicit**: $A$ has entries on the diagonal, and each step solves an equation. That is their price.
#
# Rotations deserve a closer look, for they lie exactly on the edge. A matrix $S$ with $S^\top=-S$ is called **skew**. Its flow keeps all lengths (lesson 1).
#
# > **Claim 2.3 (Euler expands every rotation).** If $S$ is skew, then $\|x+hSx\|^2=\|x\|^2+h^2\|Sx\|^2$. In the plane, with angular speed $\omega$, every step of every size $h>0$
# > multiplies lengths by $\sqrt{1+h^2\omega^2}$.
#
# *Proof.* $\langle x,Sx\rangle=\langle S^\top x,x\rangle=-\langle x,Sx\rangle$, so it is 0, and Pythagoras does the rest. $\square$

# %%
turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
paths = {}
for name in ("euler", "rk4", "implicit_euler"):
    path = [torch.tensor([[1.0, 0.0]])]
    for _ in range(70):
        path.append(
            runge_kutta.runge_kutta_step(
                lambda x: x @ turn.T, path[-1], 0.1, runge_kutta.TABLEAUS[name]
            )
        )
    paths[name] = path
    predicted = size_of_factor(name, 0.1, 1j) ** 70
    print(f"{name:15s} length after 70 steps {path[-1].norm():.4f}   predicted {predicted:.4f}")
figures.around_a_circle(paths)

# %% [markdown]
# **Drop "skew"**, and friction $\gamma$ saves Euler: with $K=S-\gamma I$ the factor is $\sqrt{(1-h\gamma)^2+h^2\omega^2}$. It is at most 1 exactly for $h\le2\gamma/(\gamma^2+\omega^2)$. A network in lesson 4 lives on this line.

# %%
gamma = 0.5
omega = 3.0
longest = 2 * gamma / (gamma**2 + omega**2)
K = omega * turn - gamma * torch.eye(2)
for factor in (0.9, 1.0, 1.1):
    norm = torch.linalg.matrix_norm(torch.eye(2) + factor * longest * K, 2)
    print(f"h = {factor:.1f} x {longest:.5f}:  length is multiplied by {norm:.4f}")

# %% [markdown]
# *Coursework 2.1 asks after how many Euler steps a rotating state has doubled its length.*
#
# ## 2.2 Two solutions
#
# **Question.** Stability watches one solution of a linear field. We want more: for a *nonlinear* field, no two solutions may move apart in a step. Does $|R|\le1$ suffice?
#
# Take the kindest nonlinear fields there are. Let $V$ be a convex potential whose gradient is $L$-Lipschitz ($V$ is **$L$-smooth**), and $f=-\nabla V$. By lesson 1 the flow never increases distances. Where $V$ is twice differentiable, the Jacobian
# of $f$ is $-H$ with a symmetric $H=\nabla^2V$, whose eigenvalues lie in $[0,L]$. So $h\lambda$ is real and lies in $[-hL,0]$.
#
# What we need from such a field can be said without second derivatives. A field is **cocoercive** with constant $\nu>0$ if for all $x,y$
#
# $$\langle f(x)-f(y),\,x-y\rangle\le-\nu\,\|f(x)-f(y)\|^2 .$$
#
# (Strictly speaking, $-f$ is cocoercive.) In words: slopes may differ only if they pull the points together, and the more they differ the stronger.
#
# > **Claim 2.4 (a convex potential gives cocoercivity).** If $V$ is convex and $L$-smooth, then $f=-\nabla V$ is cocoercive with $\nu=1/L$ (Baillon and Haddad 1977).
#
# *Proof* for twice differentiable $V$. Let $d=x-y$ and $G=\int_0^1\nabla^2V(y+sd)\,ds$, a symmetric matrix with eigenvalues in $[0,L]$. Then $f(x)-f(y)=-Gd$, and $\langle Gd,d\rangle\ge\|Gd\|^2/L$,
# because $\lambda\ge\lambda^2/L$ for $0\le\lambda\le L$. $\square$
#
# Both words are needed, *gradient* and *convex*. For three fields we measure the *excess* of the left side over the right side with $\nu=1/L$, divided by $\|x-y\|^2$. It must not be positive:


# %%
def excess(f, L, pairs=100_000):
    """Largest (<df, dx> + |df|^2 / L) / |dx|^2 over random pairs."""
    x, y = 2 * torch.randn(2, pairs, 2, generator=torch.Generator().manual_seed(0))
    df = f(x) - f(y)
    dx = x - y
    return (((df * dx).sum(1) + df.square().sum(1) / L) / dx.square().sum(1)).max().item()


W = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.3, 0.8]])
bias = torch.tensor([0.2, -0.4, 0.1])


def valley(x):
    """-grad V for V(x) = sum of relu(W x + bias)^2 / 2, convex."""
    return -torch.relu(x @ W.T + bias) @ W


def inward_spiral(x):
    return x @ torch.tensor([[-1.0, -3.0], [3.0, -1.0]]).T


def double_well(x):
    """-grad V for V(x) = (|x|^2 - log cosh(2 x_1)) / 2: smooth with L = 1, but not convex."""
    return torch.stack([torch.tanh(2 * x[:, 0]) - x[:, 0], -x[:, 1]], 1)


L = torch.linalg.matrix_norm(W, 2).item() ** 2  # of the valley
for field, constant in ((valley, L), (inward_spiral, math.sqrt(10)), (double_well, 1.0)):
    value = excess(field, constant)
    print(
        f"{field.__name__:14s} L = {constant:.3f}   excess {abs(value):.2f}   "
        f"cocoercive with 1/L: {value <= 1e-12}"
    )

# %% [markdown]
# The spiral contracts, but it is no gradient: it is cocoercive only with $\nu=1/10$, not with $1/L\approx0.316$. The double well is a gradient, but its hill in the middle pushes points apart, and no $\nu>0$ will do.
#
# ### The circle theorem
#
# What does one step do to a pair? Put a $\Delta$ in front of the difference of the two solutions: $\Delta_0$ before the step, $\Delta_1$ after it, $\Delta X_i$ and $\Delta f_i$ at stage $i$.
# From the tableau form the diagonal matrix $B=\mathrm{diag}(b)$ and
#
# $$M=BA+A^\top B-bb^\top .$$
#
# > **Claim 2.5 (circle contractivity).** Let $b_i\ge0$ and let $r$ be the largest number for which $M+\tfrac1rB$ is positive semidefinite (no negative eigenvalue). If $f$ is cocoercive with constant $\nu$, one step (if implicit: any solutions of its equations) is
# > non-expansive, $\|\Delta_1\|\le\|\Delta_0\|$, for every $h\le2r\nu$. In particular for $f=-\nabla V$ with $V$ convex and $L$-smooth: for $h\le\dfrac{2r}{L}$ (Dahlquist and Jeltsch 1979).
#
# We write $r=\infty$ if $M$ itself is positive semidefinite, and $r=0$ if there is no such number.
#
# *Proof.* Insert $\Delta_0=\Delta X_i-h\sum_ja_{ij}\Delta f_j$ into the square of $\Delta_1=\Delta_0+h\sum_ib_i\Delta f_i$:
#
# $$\|\Delta_1\|^2=\|\Delta_0\|^2+2h\sum_ib_i\langle\Delta f_i,\Delta X_i\rangle-h^2\sum_{i,j}m_{ij}\langle\Delta f_i,\Delta f_j\rangle
# \le\|\Delta_0\|^2-h^2\sum_{i,j}\Big(m_{ij}+\frac{2\nu}{h}\,b_i\delta_{ij}\Big)\langle\Delta f_i,\Delta f_j\rangle ,$$
#
# with $\delta_{ii}=1$ and $\delta_{ij}=0$ otherwise. If $h\le2r\nu$, then $2\nu/h\ge1/r$, so the matrix in brackets is positive semidefinite and the last sum is not negative. $\square$
#
# For Euler $A=0$, $b=1$, so $M=-1$ and $M+\tfrac1r\ge0$ means $r\le1$: steps up to $2/L$. The **circle-contractivity radius** of any tableau is found by bisection:


# %%
def contractivity_radius(A, b, largest=1e6):
    """Largest r with M + diag(b) / r positive semidefinite, by bisection."""
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)

    def fits(r):
        return b.min() >= 0 and torch.linalg.eigvalsh(M + B / r)[0] >= -1e-12

    if fits(largest):
        return math.inf
    low = 0.0
    high = largest
    for _ in range(80):
        middle = (low + high) / 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


# %% [markdown]
# **Predict first.** Order all methods by $r$. Does one of the most accurate, `rk4`, win among the explicit ones?

# %%
my_guess = None  # for example "rk4"

# %% [markdown]
# Beside $2r$ we print the *linear* limit, the largest $hL$ with $|R(-hL)|\le1$. It is what you see on the ray "decay" of the live figure.

# %%
print("method                r      pairs: hL <= 2r    one linear solution: hL <=")
two_r = {}
for name, method in runge_kutta.TABLEAUS.items():
    r = contractivity_radius(method.A, method.b)
    two_r[name] = 2 * r
    linear_limit = limits[name, "decay"]
    print(f"{name:18s} {r:7.4f} {2 * r:12.3f} {linear_limit:22.3f}")
    library = runge_kutta.circle_contractivity_radius(method)
    assert r == library or abs(r - library) < 1e-4
    assert 2 * r <= linear_limit + 1e-6
if my_guess is not None:
    print(
        f"Your guess was {my_guess}; "
        "euler, heun, ssprk3 and rk4 share the first place among the explicit methods."
    )

# %%
explicit = [name for name, method in runge_kutta.TABLEAUS.items() if method.explicit]
figures.longest_steps({name: (two_r[name], limits[name, "decay"]) for name in explicit})

# %% [markdown]
# Three surprises. More accurate is not better: `rk4` is as good as `euler`, at four times the work. The limit $2r$ is often much smaller than linear stability suggests. And for `midpoint` and `heun3` there is *no* step with a guarantee.
#
# Is the theorem too pessimistic? Watch it at work first, on the convex field `valley`, at the longest step that it allows. The *slope* of a step at a point is the norm of its Jacobian: how much it stretches a very short pair there.


# %%
def slopes_of_step(f, x, h, name):
    """Norm of the Jacobian of one step at each point of x (B, d)."""
    return norms.jacobian_norms(
        lambda z: runge_kutta.runge_kutta_step(f, z, h, runge_kutta.TABLEAUS[name]), x
    )


points = 2 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
for name in ("euler", "ralston2", "kutta3", "three_eighths", "rk4", "trapezoidal"):
    h = two_r[name] / L
    slopes = slopes_of_step(valley, points, h, name)
    print(f"{name:14s} hL = {h * L:.3f}:  measured slope {slopes.max():.4f} <= 1")
    assert slopes.max() <= 1 + 1e-9

# %% [markdown]
# No slope exceeds 1. But this test is mild: where all ramps are off nothing moves, so the slope 1 occurs at every step size, and `kutta3` would pass at $hL=1.8$ too.
# Section 2.3 looks for the worst fields.
#
# How can one buy longer steps? Divide them.
#
# > **Claim 2.6 (substeps).** $m$ Euler steps of size $h/m$, seen as one method with $m$ stages, have $r=m$.
#
# *Proof.* Here $b_i=\tfrac1m$ and $a_{ij}=\tfrac1m$ for $j<i$, so $BA+A^\top B$ has $\tfrac1{m^2}$ everywhere off the diagonal, and $M=-\tfrac1{m^2}I$. Then $M+\tfrac1rB=\big(\tfrac1{rm}-\tfrac1{m^2}\big)I$, positive semidefinite exactly for $r\le m$. $\square$

# %%
for m in (1, 2, 3, 4):
    method = runge_kutta.substeps(runge_kutta.TABLEAUS["euler"], m)
    r = contractivity_radius(method.A, method.b)
    below = runge_kutta.stability_function(method, -2 * m).abs().item()
    above = runge_kutta.stability_function(method, -2 * m * 1.01).abs().item()
    print(f"m = {m}:  r = {r:.4f}   |R| at hL = 2m: {below:.3f}   a little beyond: {above:.3f}")

# %% [markdown]
# So four Euler steps cost as much as one step of `rk4` and may be four times as long in total. For stability alone, simple is best. Lesson 5 builds layers of this kind.
#
# *Coursework 2.2 asks for some radii.*
#
# ## 2.3 Stable is not enough
#
# **Question.** Between $2r$ and the linear limit: do pairs really separate, or is the theorem just cautious?
#
# Let the field change with time, as the layers of a network do: $f(t,x)=-\nabla V_t(x)$, each $V_t$ convex and $L$-smooth. Then each stage may see its own potential. Claim 2.5 still holds:
# its proof compares only the two solutions at one stage. To test a method we may take the simplest,
# $V(x)=\tfrac12x^\top H_ix$ at stage $i$, with a symmetric matrix $H_i$ whose eigenvalues lie in $[0,L]$. The step is linear, and its matrix shows what it does to every pair:


# %%
def step_matrix(method, hessians, h):
    """Matrix of one step when stage i sees f(x) = -H_i x.

    hessians (..., s, d, d) -> (..., d, d)
    """
    s, d = hessians.shape[-3:-1]
    H = h * hessians
    coupling = torch.einsum("ij,...jkl->...ikjl", method.A, H)
    system = torch.eye(s * d) + coupling.reshape(*H.shape[:-3], s * d, s * d)
    stages = torch.linalg.solve(system, torch.eye(d).repeat(s, 1))
    stages = stages.reshape(H.shape)  # X_i = stages[i] x
    return torch.eye(d) - torch.einsum("i,...ikl,...ilm->...km", method.b, H, stages)


# %% [markdown]
# We let each $H_i$ act in one direction only (Claim 2.7 will show that this is enough): $H_i=L\,p_ip_i^\top$ with a unit vector $p_i$ (check the proof: then $\langle\Delta f_i,\Delta X_i\rangle=-\tfrac1L\|\Delta f_i\|^2$, with equality).
# In the plane this leaves one angle per stage. We search for the angles with the largest stretch: try some at random, then vary the best one less and less.


# %%
def projections(angles):
    p = torch.stack([angles.cos(), angles.sin()], -1)
    return p[..., :, None] * p[..., None, :]


def worst_stretch(method, hL, rounds=24):
    """For each entry of hL (G,): the largest stretch found, and its angles (G, s)."""
    generator = torch.Generator().manual_seed(0)
    G = len(hL)
    s = len(method.b)
    best = torch.zeros(G, 1, s)
    for k in range(rounds):
        change = torch.randn(G, 600 if k == 0 else 60, s, generator=generator)
        trial = torch.cat([best, best + (10 if k == 0 else torch.pi * 0.75**k) * change], 1)
        steps = step_matrix(method, projections(trial), hL[:, None, None, None, None])
        stretch, which = torch.linalg.matrix_norm(steps, 2).max(1)
        best = trial[torch.arange(G), which][:, None]
    return stretch, best[:, 0]


hL_grid = torch.arange(1, 51) / 10
stretches = {}
worst_angles = {}
for name, method in tqdm(runge_kutta.TABLEAUS.items(), leave=False):
    stretches[name], worst_angles[name] = worst_stretch(method, hL_grid)
for name, stretch in stretches.items():
    assert (stretch[hL_grid <= two_r[name]] <= 1 + 1e-9).all()
    safe = hL_grid[stretch <= 1 + 1e-7]
    found = f"{safe.max():.1f}" if len(safe) else "none"
    print(
        f"{name:18s} 2r = {two_r[name]:5.3f}   largest hL without expansion in our search: {found}"
    )

# %% [markdown]
# (We searched $hL=0.1,0.2,\dots,5.0$ and count an excess above $10^{-7}$.) The search finds expansion as soon as $2r$ is passed. That is no accident either.
#
# > **Claim 2.7 (the radius is sharp).** Let $b_i\ge0$ and $h>2r/L$. Then there are unit vectors $p_i$ in the plane such that the step with $V_i(x)=\tfrac L2(p_i^\top x)^2$ at stage $i$ moves some pair apart.
#
# *Proof sketch.* $M+\tfrac2{hL}B$ is not positive semidefinite, so some vector $w$ has $w^\top(M+\tfrac2{hL}B)w<0$. Take a very long $\Delta_0$, and slopes $\Delta f_i=(\delta_i,w_i)$ almost at right angles to it.
# A tiny $\delta_i$ suffices to reach equality in $\langle\Delta f_i,\Delta X_i\rangle\le-\tfrac1L\|\Delta f_i\|^2$. Then the inequality in the proof of Claim 2.5 is an equality too, and its last term has the wrong sign. $\square$
#
# The live figure shows the worst case that our search found. Opposite points of the dotted circle are one apart; the step turns the circle into an ellipse, and the worst pair into the thick line.

# %%
linear = {}
for name, method in runge_kutta.TABLEAUS.items():  # worst of all decays between 0 and L
    fine = (
        runge_kutta.stability_function(method, -torch.arange(0, 501) / 100).abs().cummax(0).values
    )
    linear[name] = fine[10::10]


def worst_step(name, k):
    """Matrix of the worst step found for hL_grid[k]."""
    return step_matrix(runge_kutta.TABLEAUS[name], projections(worst_angles[name][k]), hL_grid[k])


live_stretch = figures.worst_stretch(hL_grid, stretches, linear, two_r, worst_step)
live_stretch.still(method="midpoint", hL=1.5)

# %%
live_stretch

# %% [markdown]
# Compare `heun` with `midpoint`. Their stability functions are *equal*, so linear theory cannot tell them apart. Up to $hL=2$ it sees no growth in either. Yet `midpoint` stretches a pair by $\sqrt2$ at $hL=2$, and `heun` none.
# Then look at `rk4` between 2 and 2.785, and at `trapezoidal`, which is A-stable, beyond 4.
#
# ## 2.4 A method that fails at every step size
#
# **Question.** All this used a potential that changes between two stages. With *one* convex potential, fixed for all times, is `midpoint` safe?
#
# Sanz-Serna and Zygalakis (1909.09971) found that it is not: some methods fail for every step size. Here is a small example. Take two ramps, in the directions $u=(1,0)$ and $w=(\cos60^\circ,\sin60^\circ)$:
#
# $$V(x)=c\cdot x+\tfrac12\max(w\cdot x,0)^2+\tfrac12\max(u\cdot x,0)^2,\qquad w\cdot c=20,\quad u\cdot c=-20 .$$
#
# It is convex, and $L=\|ww^\top+uu^\top\|=1+u\cdot w=1.5$. Choose the start $x$ with $w\cdot x=5h$ and $u\cdot x=-5h$. The constant slope $c$ is steep, so already half a step leads from the ramp $w$ over to the ramp $u$.

# %%
u = torch.tensor([1.0, 0.0])
w = torch.tensor([0.5, 3**0.5 / 2])
rows = torch.stack([w, u])
c = torch.linalg.solve(rows, torch.tensor([20.0, -20.0]))


def two_ramps(x):
    """-grad V for the two ramps."""
    return -(c + torch.relu(x @ rows.T) @ rows)


def crossing_point(h):
    return torch.linalg.solve(rows, torch.tensor([5 * h, -5 * h]))


for name in ("midpoint", "euler", "heun"):
    measured = []
    for hL in (0.1, 0.5, 1.0, 2.0):
        h = hL / 1.5
        measured.append(slopes_of_step(two_ramps, crossing_point(h)[None], h, name).item())
    listed = "  ".join(f"{norm:.6f}" for norm in measured)
    print(f"{name:9s} slope of the step at hL = 0.1, 0.5, 1, 2: {listed}")

# %% [markdown]
# > **Claim 2.8 (midpoint fails at every step size).** For this $V$ and every $0<h<4$, the midpoint step has at the point above the Jacobian $I-h\,uu^\top+\tfrac{h^2}2(u\cdot w)\,uw^\top$. Its norm exceeds 1: it is at least
# > $\sqrt{1+3h^4/64}$.
#
# *Proof.* At $x$ only the ramp $w$ acts: the Jacobian of $f$ is $-ww^\top$. At the half-way point $w\cdot X=-5h-\tfrac52h^2<0$ and $u\cdot X=5h-\tfrac54h^2>0$: there only $u$ acts. The chain rule gives
# $I-h\,uu^\top\big(I-\tfrac h2ww^\top\big)$. Its second column is $(\sqrt3h^2/8,\,1)$. $\square$
#
# The midpoint rule *combines two places*: it takes the slope over there and applies it here. Euler uses one place; Heun averages both.

# %%
h = 2 / 3
x = crossing_point(h)
middle = x + h / 2 * two_ramps(x)
steps = torch.logspace(-1, math.log10(5.9), 40) / 1.5
measured = torch.cat(
    [slopes_of_step(two_ramps, crossing_point(h)[None], h, "midpoint") for h in steps.tolist()]
)
proved = (1 + 3 * steps**4 / 64).sqrt()
assert (measured > proved - 1e-12).all()
figures.midpoint_on_two_ramps(rows, x, middle, 1.5 * steps, measured - 1, proved - 1)

# %% [markdown]
# At small steps the excess is tiny, roughly like $h^3$. But it is there, at every $h$, in every layer. A bound of 1 that is almost true is not a bound.
#
# *Coursework 2.3 asks for the slope at $hL=1$.*
#
# ## 2.5 It matters that the field is a gradient
#
# **Question.** Lesson 1 promises contraction for *any* field with $\mu<0$. May Euler take steps up to $2/L$ there too?
#
# Let $f$ be $L$-Lipschitz and $\langle f(x)-f(y),x-y\rangle\le-m\|x-y\|^2$ with $m>0$, that is $\mu=-m$. Without a potential the spiral below has $m=1$ and $L=\sqrt{10}$.
#
# **Predict first.** What does Euler do to distances at $h=2/L\approx0.632$: shrink, keep, or nearly double them?

# %%
my_guess = None  # for example "keep"

# %%
K = torch.tensor([[-1.0, 3.0], [-3.0, -1.0]])
m = 1.0
L_spiral = math.sqrt(10)
print(f"mu = {ode.logarithmic_norm(K):.3f}   ||K|| = {torch.linalg.matrix_norm(K, 2):.3f}")
for name, h in (("m/L^2", m / 10), ("2m/L^2", 2 * m / 10), ("2/L", 2 / L_spiral)):
    factor = torch.linalg.matrix_norm(torch.eye(2) + h * K, 2)
    print(f"h = {name:7s} = {h:.3f}:  distances are multiplied by {factor:.3f}")
if my_guess is not None:
    print(f"Your guess was {my_guess}; they nearly double.")

# %% [markdown]
# > **Claim 2.9 (without a potential).** If $\mu=-m<0$ and $f$ is $L$-Lipschitz, Euler's step is non-expansive for $h\le2m/L^2$. For the spiral no longer step is.
#
# *Proof.* $\|\Delta_0+h\Delta f\|^2=\|\Delta_0\|^2+2h\langle\Delta f,\Delta_0\rangle+h^2\|\Delta f\|^2\le(1-2hm+h^2L^2)\|\Delta_0\|^2$. For the spiral both inequalities are equalities. $\square$
#
# (Such a field is cocoercive with $\nu=m/L^2$, so Claim 2.5 says the same.) As $m\to0$ the step shrinks to nothing: that is Claim 2.3 again. With a potential, $m=0$ costs nothing, and $m>0$ buys a rate:
#
# > **Claim 2.10 (with a potential).** If $V$ is $L$-smooth and $f=-\nabla V$ has $\mu=-m\le0$, Euler's step multiplies distances by at most $\max(|1-hm|,|1-hL|)$. The best step is $h=\dfrac2{m+L}$.
#
# *Proof.* The eigenvalues of $I-hG$, with the symmetric $G$ from Claim 2.4, lie between $1-hL$ and $1-hm$. $\square$

# %%
L_bowl = 4.0
m_bowl = 0.5
eigenvalues = torch.linspace(m_bowl, L_bowl, 8)
rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2))).Q


def bowl(x):
    """-grad V for a quadratic V with curvatures from m to L in eight rotated directions."""
    return -(x @ (rotation * eigenvalues)) @ rotation.T


for name, h in (("0.2", 0.2), ("2/(m+L)", 2 / (m_bowl + L_bowl)), ("2/L", 2 / L_bowl)):
    measured = slopes_of_step(bowl, torch.zeros(1, 8), h, "euler").item()
    bound = max(abs(1 - h * m_bowl), abs(1 - h * L_bowl))
    spiral_factor = math.sqrt((1 - h * m_bowl) ** 2 + h**2 * (L_bowl**2 - m_bowl**2))
    print(
        f"h = {name:8s} measured {measured:.4f} <= bound {bound:.4f}    "
        f"a spiral with the same m and L: {spiral_factor:.3f}"
    )
    assert measured <= bound + 1e-9

# %% [markdown]
# The same two numbers $m$ and $L$, but no potential, and the factor is above 1 in the last column wherever $h>2m/L^2$. This is why the layers of lesson 5 are gradients: the matrix $W$ on one side, its transpose on the other.
#
# ## 2.6 Implicit steps
#
# **Question.** Some methods are A-stable. Do they solve all problems?
#
# The **trapezoidal rule** averages the slope at both ends, $x_1=x_0+\tfrac h2\big(f(x_0)+f(x_1)\big)$. It is implicit: $x_1$ stands on both sides. It is A-stable, yet $r=2$ is finite.
# Take one dimension and the potential $\tfrac L2\max(x,0)^2$, so $f(x)=-L\max(x,0)$, with $hL=5$:


# %%
def ramp(x):
    return -torch.relu(x)  # L = 1


pair = torch.tensor([[1.0], [2.0]])
for name in ("trapezoidal", "implicit_midpoint", "implicit_euler"):
    one, two = runge_kutta.runge_kutta_step(ramp, pair, 5.0, runge_kutta.TABLEAUS[name])[
        :, 0
    ].tolist()
    distance = abs(one - two)
    print(f"{name:18s} 1 and 2 go to {one:7.4f} and {two:7.4f}   distance {distance:.4f}")

# %% [markdown]
# > **Claim 2.11 (A-stable is not contractive).** For $f(x)=-L\max(x,0)$ the trapezoidal rule maps $x_0>0$ with slope $1-\tfrac{hL}2$ if $hL\ge2$. So it moves points apart exactly for $hL>4=2r$.
#
# *Proof.* The explicit half of the step leads to $x_0(1-\tfrac{hL}2)\le0$. There $f=0$, so this *is* $x_1$. $\square$
#
# The linear theory sees $f$ switched on at both ends; here it is on at one end only. Implicit midpoint and implicit Euler have $r=\infty$ and never fail. Implicit Euler does better still.
#
# > **Claim 2.12 (implicit Euler).** If $\langle f(x)-f(y),x-y\rangle\le0$ for all $x,y$, and $f$ is continuous, the implicit Euler step $T(x)=x+hf(T(x))$ has exactly one solution for every $h>0$, and
# > $\|Tx-Ty\|^2\le\langle Tx-Ty,\,x-y\rangle$. In particular it is non-expansive. No Lipschitz constant is needed.
#
# *Proof of the inequality.* With $\Delta_1=Tx-Ty$ we have $\Delta_0=\Delta_1-h\Delta f$, so $\langle\Delta_1,\Delta_0\rangle=\|\Delta_1\|^2-h\langle\Delta_1,\Delta f\rangle\ge\|\Delta_1\|^2$. Then use Cauchy–Schwarz.
# (That a solution exists is Minty's theorem.) $\square$
#
# The map $T=(I-hf)^{-1}$ is called the **resolvent** of $-f$; a map with this inequality is called *firmly non-expansive*. Rotations are welcome now:


# %%
def steep_spiral(x):
    """A rotation and a steep cubic pull to the centre.

    It pushes no two points apart, but is not Lipschitz.
    """
    return 20 * x.flip(-1) * torch.tensor([-1.0, 1.0]) - 5 * x * x.square().sum(-1, keepdim=True)


x, y = torch.randn(2, 500, 2, generator=torch.Generator().manual_seed(3))
for h in (0.1, 1.0, 10.0):
    Tx = runge_kutta.runge_kutta_step(steep_spiral, x, h, runge_kutta.TABLEAUS["implicit_euler"])
    Ty = runge_kutta.runge_kutta_step(steep_spiral, y, h, runge_kutta.TABLEAUS["implicit_euler"])
    d = x - y
    Td = Tx - Ty
    slack = ((d * Td).sum(1) - Td.square().sum(1)).min().item()
    ratio = (Td.norm(dim=1) / d.norm(dim=1)).max().item()
    firmly = slack >= -1e-12
    print(f"h = {h:4.1f}:  firmly non-expansive: {firmly}   largest stretch {ratio:.3f} <= 1")
    assert firmly and ratio <= 1 + 1e-9

# %% [markdown]
# The price: an equation in every step. `runge_kutta_step` solves it with Newton's method, and says so when it cannot.
# **Drop the hypothesis**: $f(x)=x^2+1$ pushes points with $x>0$ apart. The equation $T=x+h(T^2+1)$ may have no solution at all. And for $f(x)=x$ the step $x/(1-h)$ expands for $0<h<1$:

# %%
try:
    runge_kutta.runge_kutta_step(
        lambda x: x**2 + 1, torch.ones(1), 1.0, runge_kutta.TABLEAUS["implicit_euler"]
    )
except ArithmeticError as error:
    print("refused:", str(error).split(":")[0])
grown = runge_kutta.runge_kutta_step(
    lambda x: x, torch.ones(1), 0.5, runge_kutta.TABLEAUS["implicit_euler"]
).item()
print(f"x' = x with h = 0.5: factor {grown:.1f}")

# %% [markdown]
# *Coursework 2.4 and 2.5 ask for the slope of the trapezoidal rule and for the longest Euler step of a spiral.*
#
# ## 2.7 Keep the energy instead
#
# **Question.** A rotation neither forgets nor magnifies. Explicit Euler makes it grow, implicit Euler lets it die. Is there a cheap step that does neither?
#
# Write the rotation as an oscillator with position $q$ and momentum $p$: $q'=\omega p$, $p'=-\omega q$. Its **energy** $H=\tfrac12(q^2+p^2)$ is constant.
# **Symplectic Euler** updates one after the other, and uses the new momentum at once:
#
# $$p_{n+1}=p_n-h\omega\,q_n,\qquad q_{n+1}=q_n+h\omega\,p_{n+1}.$$
#
# It costs as much as Euler. (*Symplectic* means that it keeps areas in the plane; lesson 8 says more.)
#
# **Predict first.** After 1,000 steps with $h\omega=0.1$: by what factor has the energy changed for explicit, implicit and symplectic Euler?

# %%
my_guess = None  # for example (2, 0.5, 1)


# %%
def symplectic_euler(x, h, omega=1.0):
    q, p = x.unbind(-1)
    p = p - h * omega * q
    return torch.stack([q + h * omega * p, p], -1)


def oscillator(x):
    return torch.stack([x[..., 1], -x[..., 0]], -1)


def implicit_euler(x):
    return runge_kutta.runge_kutta_step(oscillator, x, 0.1, runge_kutta.TABLEAUS["implicit_euler"])


steppers = {
    "explicit Euler": lambda x: euler_step(oscillator, x, 0.1),
    "implicit Euler": implicit_euler,
    "symplectic Euler": lambda x: symplectic_euler(x, 0.1),
}
orbits = {}
energies = {}
for name, step in steppers.items():
    states = [torch.tensor([1.0, 0.0])]
    for _ in range(1000):
        states.append(step(states[-1]))
    orbits[name] = torch.stack(states)
    energy = orbits[name].square().sum(1) / 2
    energies[name] = energy
    print(
        f"{name:17s} energy: start {energy[0]:.3f}   after 1000 steps {energy[-1]:.4g}   "
        f"between {energy.min():.4g} and {energy.max():.4g}"
    )
print(f"1.01^1000 = {1.01**1000:.0f}")
if my_guess is not None:
    print(f"Your guess was {my_guess}; the answer is (20959, 1/20959, about 1).")

# %% [markdown]
# Explicit Euler multiplies the energy by $1+h^2\omega^2=1.01$ in every step (Claim 2.3), implicit Euler divides it by that. Symplectic Euler lets it swing a little and always brings it back. Why?
#
# > **Claim 2.13 (symplectic Euler keeps a nearby energy).** It keeps $\tilde H=\tfrac12(q^2+p^2)-\tfrac{h\omega}2\,qp$ exactly. If $h\omega<2$, all orbits stay bounded, with $\dfrac{\tilde H}{1+h\omega/2}\le\tfrac12(q^2+p^2)\le\dfrac{\tilde H}{1-h\omega/2}$.
# > If $h\omega\ge2$, some orbits grow without bound.
#
# *Proof.* Let $a=h\omega$ and $p_1=p-aq$, $q_1=q+ap_1$. Then $q_1^2+p_1^2-a\,q_1p_1=q_1(q_1-ap_1)+p_1^2=q_1q+p_1^2$. Since $q_1q=q^2+a\,p_1q$, this is $q^2+p_1(p_1+aq)=q^2+p_1p=q^2+p^2-a\,qp$.
# Since $|qp|\le\tfrac12(q^2+p^2)$, $\tilde H$ lies between $(1\mp\tfrac a2)H$. For $a\ge2$ the step, a matrix of determinant 1 and trace $2-a^2\le-2$, has an eigenvalue below $-1$ or, at $a=2$, a Jordan block. $\square$
#
# (Update $q$ first, and the sign of the last term in $\tilde H$ changes.) From $(1,0)$ with $h\omega=0.1$ the energy must stay in $[0.4762,\,0.5263]$:

# %%
q, p = orbits["symplectic Euler"].T
nearby = (q**2 + p**2) / 2 - 0.05 * q * p
energy = energies["symplectic Euler"]
low = energy.min()
high = energy.max()
print(f"the nearby energy moves by less than 1e-12: {(nearby - 0.5).abs().max().item() < 1e-12}")
print(f"bound {0.5 / 1.05:.4f} <= measured {low:.4f} ... {high:.4f} <= bound {0.5 / 0.95:.4f}")
for a in (1.9, 2.0, 2.1):
    x = torch.tensor([1.0, 0.0])
    for _ in range(100):
        x = symplectic_euler(x, a)
    print(f"h omega = {a}:  length after 100 steps {x.norm():.3g}")

# %%
figures.three_orbits(orbits, energies)

# %% [markdown]
# ## 2.8 Steps made of steps
#
# **Question.** Can one combine simple steps and keep the promise?
#
# > **Claim 2.14 (composition).** If $S_1$ and $S_2$ are non-expansive, so is $S_2\circ S_1$.
#
# *Proof.* $\|S_2(S_1x)-S_2(S_1y)\|\le\|S_1x-S_1y\|\le\|x-y\|$. $\square$
#
# It is one line, and the most useful one of the lesson: it makes whole networks from layers. It also lets us **split** a field, $f=f_1+f_2$, and treat each part with the method that suits it.
# Here $f_1$ is our `valley`, and $f_2$ a very steep potential, $V_2(x)=500\,x_2^2$. An explicit step on $f_1$ followed by an implicit one on $f_2$ may ignore the steepness:


# %%
def steep(x):
    return -1000 * x * torch.tensor([0.0, 1.0])


def sum_step(x, h):
    return euler_step(lambda z: valley(z) + steep(z), x, h)


def split_step(x, h):
    x = euler_step(valley, x, h)
    return runge_kutta.runge_kutta_step(steep, x, h, runge_kutta.TABLEAUS["implicit_euler"])


h = 2 / L
together = norms.jacobian_norms(lambda x: sum_step(x, h), points).max().item()
split = norms.jacobian_norms(lambda x: split_step(x, h), points).max().item()
print(
    f"h = 2/L of the valley alone:  Euler on the sum {together:.0f}    split step {split:.4f} <= 1"
)
assert split <= 1 + 1e-9

# %% [markdown]
# **Drop it**: non-expansive *parts* are needed. Cut the rotation into two shears, a **drift** $q'=p$ and a **kick** $p'=-q$. The flow of each is exact in one step, but each stretches some pairs, and so does their composition,
# although the rotation itself stretches nothing:

# %%
drift = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
kick = torch.tensor([[0.0, 0.0], [-1.0, 0.0]])
flow_of = {
    "kick": torch.linalg.matrix_exp(0.5 * kick),
    "drift": torch.linalg.matrix_exp(0.5 * drift),
}
flow_of["kick, then drift"] = flow_of["drift"] @ flow_of["kick"]
flow_of["the rotation"] = torch.linalg.matrix_exp(0.5 * (kick + drift))
printed = [f"{name} {torch.linalg.matrix_norm(M, 2):.3f}" for name, M in flow_of.items()]
print("   ".join(printed))
x = torch.tensor([0.3, -0.8])
same = torch.allclose(flow_of["kick, then drift"] @ x, symplectic_euler(x, 0.5))
print("kick, then drift = symplectic Euler:", same)

# %% [markdown]
# So symplectic Euler *is* a splitting. It keeps an energy, not the distances: two different promises.
#
# How accurate is a splitting? For linear fields $x'=(K_1+K_2)x$ let $E_i(h)=e^{hK_i}$ be the exact flow of each part. **Lie** splitting uses $E_2(h)E_1(h)$ in each step, **Strang** splitting $E_1(\tfrac h2)E_2(h)E_1(\tfrac h2)$.
#
# > **Claim 2.15 (splitting orders).** Up to a fixed time, with $N$ steps, the error of Lie splitting is at most a constant times $1/N$, the error of Strang splitting at most a constant times $1/N^2$.
#
# *Why.* Expand both products and $e^{h(K_1+K_2)}$ in powers of $h$. For Lie the first difference is $\tfrac{h^2}2(K_2K_1-K_1K_2)$; for the symmetric product it appears only with $h^3$. Then $N\sim1/h$ steps add up. $\square$


# %%
def splitting_errors(K1, K2, N, T=1.0):
    """Errors at time T of Lie and Strang splitting: roots of the sum of squares of all entries."""
    h = T / N
    E = torch.linalg.matrix_exp
    exact = E(T * (K1 + K2))
    lie = torch.linalg.matrix_power(E(h * K2) @ E(h * K1), N)
    strang = torch.linalg.matrix_power(E(h / 2 * K1) @ E(h * K2) @ E(h / 2 * K1), N)
    return [(step - exact).norm().item() for step in (lie, strang)]


counts = [10, 20, 40, 80, 160]
errors = torch.tensor([splitting_errors(drift, kick, N) for N in counts])
for N, (lie, strang) in zip(counts[:2], errors, strict=False):
    print(f"N = {N}:  Lie {lie:.4f}   Strang {strang:.2e}")
ratios = [round(value, 2) for value in (errors[0] / errors[1]).tolist()]
print("error ratio when N doubles:", ratios)
figures.errors_of_splitting(counts, *errors.T)

# %% [markdown]
# Move half a step from the beginning to the end, and the order doubles. In a long product the half steps merge, so Strang costs almost nothing extra.
# **Drop "exact"**, and take an Euler step for each part, and the second order is gone (for the kick and the drift Euler is exact, so we use the spiral):


# %%
def inexact_strang_error(K1, K2, N, T=1.0):
    h = T / N
    I = torch.eye(2)
    step = (I + h / 2 * K1) @ (I + h * K2) @ (I + h / 2 * K1)
    exact = torch.linalg.matrix_exp(T * (K1 + K2))
    return (torch.linalg.matrix_power(step, N) - exact).norm().item()


exact_ratio = splitting_errors(spiral, drift, 80)[1] / splitting_errors(spiral, drift, 160)[1]
inexact_ratio = inexact_strang_error(spiral, drift, 80) / inexact_strang_error(spiral, drift, 160)
print(f"error ratio when N doubles: exact parts {exact_ratio:.1f}, Euler parts {inexact_ratio:.1f}")

# %% [markdown]
# A chain of approximations is as accurate as its worst link. The *promise* of Claim 2.14 needs no accuracy at all.
#
# ## Recap
#
# * A Runge–Kutta method is a tableau. On $x'=\lambda x$ it multiplies by $R(h\lambda)$ (2.1); no explicit method is A-stable (2.2), and Euler expands every rotation (2.3).
# * For a convex potential (2.4) pairs stay together for $h\le2r/L$ (2.5), and $r$ is computed from the tableau. Substeps add up (2.6); the limit is sharp (2.7).
# * Linear stability is not enough: `midpoint` fails at every step size (2.8), the A-stable trapezoidal rule beyond $hL=4$ (2.11).
# * Without a potential Euler's limit falls from $2/L$ to $2m/L^2$ (2.9, 2.10). Implicit Euler has no limit (2.12), only a price.
# * Symplectic Euler keeps a nearby energy (2.13). Compositions keep the promise of their parts (2.14), and a symmetric splitting is of order 2 (2.15).
#
# ## What can go wrong in practice
#
# * *A step that was short enough yesterday.* Training makes $L$ grow, and $h\le2r/L$ shrinks. The step must follow the weights; lesson 5 does that.
# * *A "better" solver.* Replacing Euler by `midpoint` in a layer removes its guarantee. `runge_kutta.circle_contractivity_radius` tells you before you try.
# * *An adaptive solver.* It chooses steps for the accuracy of one solution (on stiff problems they end up near the stability limit), and promises nothing about pairs.
# * *Newton without convergence.* An implicit step is only as good as its solution. Never ignore the error message.
# * *Checking one trajectory.* It shows linear stability at best. Check pairs, or the Jacobian norm.
#
# ## References
#
# * G. Dahlquist, R. Jeltsch: *Generalized disks of contractivity for explicit and implicit Runge–Kutta methods*, 1979.
# * J. M. Sanz-Serna, K. C. Zygalakis: *Contractivity of Runge–Kutta methods for convex gradient systems*, arXiv 1909.09971.
# * J.-B. Baillon, G. Haddad: *Quelques propriétés des opérateurs angle-bornés et n-cycliquement monotones*, 1977.
# * E. Hairer, G. Wanner: *Solving Ordinary Differential Equations II*, Springer, 1996 (stability regions, A- and B-stability).
# * E. Hairer, C. Lubich, G. Wanner: *Geometric Numerical Integration*, Springer, 2006 (symplectic methods, splitting).
# * M. J. Ehrhardt, D. Murari, F. Sherry: *Stable neural networks and connections to continuous dynamical systems*, arXiv 2510.22299.
