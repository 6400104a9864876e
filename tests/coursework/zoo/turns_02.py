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


# %% 2.C right: the norm squared
def longest_step(W, m, r):
    return 2 * r / (torch.linalg.matrix_norm(W, 2) ** 2 + m)


# %% 2.C right: the eigenvalues of the Hessian
def longest_step(W, m, r):
    hessian = W.T @ W + m * torch.eye(W.shape[1], dtype=torch.float64)
    return 2 * r / torch.linalg.eigvalsh(hessian).max().item()


# %% 2.C right: singular values
def longest_step(W, m, r):
    largest = torch.linalg.svdvals(W)[0]
    return r / (0.5 * largest * largest + 0.5 * m)


# %% 2.C wrong: r over L -> twice that
def longest_step(W, m, r):
    return r / (torch.linalg.matrix_norm(W, 2) ** 2 + m)


# %% 2.C wrong: without m -> The second part of V bends too
def longest_step(W, m, r):
    return 2 * r / torch.linalg.matrix_norm(W, 2) ** 2


# %% 2.C wrong: the norm not squared -> is W'W
def longest_step(W, m, r):
    return 2 * r / (torch.linalg.matrix_norm(W, 2) + m)


# %% 2.C wrong: Frobenius -> the Frobenius norm
def longest_step(W, m, r):
    return 2 * r / (torch.linalg.norm(W) ** 2 + m)


# %% 2.C wrong: half of m -> when you differentiate
def longest_step(W, m, r):
    return 2 * r / (torch.linalg.matrix_norm(W, 2) ** 2 + m / 2)


# %% 2.C wrong: times L -> Divide by it
def longest_step(W, m, r):
    return 2 * r * (torch.linalg.matrix_norm(W, 2) ** 2 + m)


# %% 2.C wrong: Euler only -> Other methods have another r
def longest_step(W, m, r):
    return 2 / (torch.linalg.matrix_norm(W, 2) ** 2 + m)


# %% 2.C wrong: the smallest curvature -> Too long
def longest_step(W, m, r):
    return 2 * r / (torch.linalg.svdvals(W)[-1] ** 2 + m)


# %% 2.C wrong: square of the sum -> not the longest
def longest_step(W, m, r):
    return 2 * r / (torch.linalg.matrix_norm(W, 2) + m + 3) ** 2


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
