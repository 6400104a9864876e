import torch

from chapter_utils.runge_kutta import TABLEAUS, runge_kutta_step, stability_function


# %% 2.A right: expanded
def R_midpoint(z):
    return 1 + z + z**2 / 2


# %% 2.A right: stage by stage
def R_midpoint(z):
    X1 = 1.0
    X2 = X1 + z / 2 * X1
    return X1 + z * X2


# %% 2.A right: a step of the library
def R_midpoint(z):
    x = torch.ones(1, dtype=torch.float64)
    return runge_kutta_step(lambda v: z * v, x, 1.0, TABLEAUS["midpoint"])


# %% 2.A right: the formula of the claim
def R_midpoint(z):
    A, b = TABLEAUS["midpoint"]
    stages = torch.linalg.solve(torch.eye(2, dtype=torch.float64) - z * A, torch.ones(2).double())
    return 1 + z * b @ stages


# %% 2.A wrong: Euler -> Euler's 1 + z
def R_midpoint(z):
    return 1 + z


# %% 2.A wrong: stopped half-way -> the factor of X_2
def R_midpoint(z):
    return 1 + z / 2


# %% 2.A wrong: the flow -> the factor of the flow
def R_midpoint(z):
    return torch.exp(torch.tensor(z)).item()


# %% 2.A wrong: without x -> Where is x itself
def R_midpoint(z):
    return z * (1 + z / 2)


# %% 2.A wrong: a whole step -> goes half-way
def R_midpoint(z):
    return 1 + z * (1 + z)


# %% 2.A wrong: from the middle -> the step starts at x
def R_midpoint(z):
    half_way = 1 + z / 2
    return half_way + z * half_way


# %% 2.A wrong: implicit -> with the old x
def R_midpoint(z):
    return (1 + z / 2) / (1 - z / 2)


# %% 2.A wrong: rk4 -> Start from x = 1
def R_midpoint(z):
    return stability_function(TABLEAUS["rk4"], z)


# %% 2.B right: by hand
M_midpoint = torch.tensor([[0.0, 0.5], [0.5, -1.0]])


# %% 2.B right: in single precision
M_midpoint = torch.tensor([[0, 1 / 2], [1 / 2, -1]], dtype=torch.float32)


# %% 2.B right: by the computer
A, b = TABLEAUS["midpoint"]
B = torch.diag(b)
M_midpoint = B @ A + A.T @ B - torch.outer(b, b)


# %% 2.B right: entry by entry
A, b = TABLEAUS["midpoint"]
M_midpoint = torch.zeros(2, 2)
for i in range(2):
    for j in range(2):
        M_midpoint[i, j] = b[i] * A[i, j] + b[j] * A[j, i] - b[i] * b[j]


# %% 2.B wrong: no square -> Subtract b b' too
M_midpoint = torch.tensor([[0.0, 0.5], [0.5, 0.0]])


# %% 2.B wrong: no transpose -> must be symmetric
M_midpoint = torch.tensor([[0.0, 0.0], [0.5, -1.0]])


# %% 2.B wrong: plus -> The last term is subtracted
M_midpoint = torch.tensor([[0.0, 0.5], [0.5, 1.0]])


# %% 2.B wrong: heun -> the M of heun
M_midpoint = torch.tensor([[-0.25, 0.25], [0.25, -0.25]])


# %% 2.B wrong: AB -> the rows of A, not its columns
M_midpoint = torch.tensor([[0.0, 0.0], [0.0, -1.0]])


# %% 2.B wrong: b from every row -> a matrix of its own
M_midpoint = torch.tensor([[0.0, -0.5], [0.5, -1.0]])


# %% 2.B wrong: a list -> is a tensor
M_midpoint = [[0.0, 0.5], [0.5, -1.0]]


# %% 2.B wrong: other numbers -> Write down BA first
M_midpoint = torch.tensor([[0.0, 1.0], [1.0, -1.0]])


# %% 2.B wrong: one row -> it should be (2, 2)
M_midpoint = torch.tensor([0.5, -1.0])


# %% 2.C right: step by step
def midpoint_jacobian(at_start, half_way, h):
    inner = torch.eye(at_start.shape[0], dtype=torch.float64) + h * at_start / 2
    return torch.eye(at_start.shape[0], dtype=torch.float64) + h * (half_way @ inner)


# %% 2.C right: expanded
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h * half_way + h**2 / 2 * half_way @ at_start


# %% 2.C right: a step of the unit vectors
def midpoint_jacobian(at_start, half_way, h):
    columns = []
    for e in torch.eye(len(at_start), dtype=torch.float64):
        X = e + h / 2 * at_start @ e
        columns.append(e + h * half_way @ X)
    return torch.stack(columns, 1)


# %% 2.C wrong: wrong order -> Df(x) acts first
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h * (I + h / 2 * at_start) @ half_way


# %% 2.C wrong: places exchanged -> is taken at X
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h * at_start @ (I + h / 2 * half_way)


# %% 2.C wrong: no inner factor -> has an inner factor
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h * half_way


# %% 2.C wrong: Euler -> Euler's Jacobian
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h * at_start


# %% 2.C wrong: entries -> multiplied with @
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h * half_way * (I + h / 2 * at_start)


# %% 2.C wrong: without x -> the derivative of x itself
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return h * half_way @ (I + h / 2 * at_start)


# %% 2.C wrong: a whole step -> goes half-way
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h * half_way @ (I + h * at_start)


# %% 2.C wrong: no identity inside -> X contains x itself
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h / 2 * half_way @ (h * at_start)


# %% 2.C wrong: half in the wrong place -> It stands in X
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h / 2 * half_way @ (I + h * at_start)


# %% 2.C wrong: heun -> Differentiate X first
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return I + h / 2 * at_start + h / 2 * half_way @ (I + h * at_start)


# %% 2.C wrong: a row only -> it should be
def midpoint_jacobian(at_start, half_way, h):
    I = torch.eye(len(at_start), dtype=torch.float64)
    return (I + h * half_way @ (I + h / 2 * at_start))[0]


# %% 2.D right: two lines
def symplectic_euler(q, p, h, omega):
    new_p = p - h * omega * q
    return q + h * omega * new_p, new_p


# %% 2.D right: a matrix
def symplectic_euler(q, p, h, omega):
    a = h * omega
    step = torch.tensor([[1 - a * a, a], [-a, 1.0]], dtype=torch.float64)
    return step @ torch.tensor([q, p], dtype=torch.float64)


# %% 2.D right: a list, in place
def symplectic_euler(q, p, h, omega):
    p -= h * omega * q
    q += h * omega * p
    return [q, p]


# %% 2.D wrong: explicit -> needs the *new* momentum
def symplectic_euler(q, p, h, omega):
    return q + h * omega * p, p - h * omega * q


# %% 2.D wrong: q first -> Here p moves first
def symplectic_euler(q, p, h, omega):
    q = q + h * omega * p
    p = p - h * omega * q
    return q, p


# %% 2.D wrong: order of the results -> Return q first
def symplectic_euler(q, p, h, omega):
    p = p - h * omega * q
    q = q + h * omega * p
    return p, q


# %% 2.D wrong: omega forgotten -> omega = 1
def symplectic_euler(q, p, h, omega):
    p = p - h * q
    q = q + h * p
    return q, p


# %% 2.D wrong: backwards -> Check the signs
def symplectic_euler(q, p, h, omega):
    q = q - h * omega * p
    p = p + h * omega * q
    return q, p


# %% 2.D wrong: a sign -> differs from the formula
def symplectic_euler(q, p, h, omega):
    p = p + h * omega * q
    q = q + h * omega * p
    return q, p


# %% 2.D wrong: one value -> should return 2 values
def symplectic_euler(q, p, h, omega):
    p = p - h * omega * q
    return q + h * omega * p
