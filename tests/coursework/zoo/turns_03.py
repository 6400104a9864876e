import torch

from chapter_utils import certificates, norms

# %% 3.A right: in one line
bound_by_hand = 2 * (1 + 1.2 * 0.25) * 2.5


# %% 3.A right: the number
bound_by_hand = 6.5


# %% 3.A right: a tensor
bound_by_hand = torch.tensor([2.0, 1.3, 2.5]).prod()


# %% 3.A wrong: no skip -> without the skip
bound_by_hand = 2 * 1.2 / 4 / 0.4


# %% 3.A wrong: two skips -> adds 1 to the branch, once
bound_by_hand = 2 * (1 + 1.2) * (1 + 0.25) / 0.4


# %% 3.A wrong: sigmoid 1 -> had the constant 1
bound_by_hand = 2 * (1 + 1.2) / 0.4


# %% 3.A wrong: pooling 3 -> for stride 1
bound_by_hand = 3 * 1.3 / 0.4


# %% 3.A wrong: pooling 3/2 -> not rounded up
bound_by_hand = 3 / 2 * 1.3 / 0.4


# %% 3.A wrong: pooling 4 -> the *length* is its root
bound_by_hand = 4 * 1.3 / 0.4


# %% 3.A wrong: pooling forgotten -> windows overlap
bound_by_hand = 1.3 / 0.4


# %% 3.A wrong: times 0.4 -> division by 0.4 stretches
bound_by_hand = 2 * 1.3 * 0.4


# %% 3.A wrong: the sum -> They multiply
bound_by_hand = 2 + 1.3 + 1 / 0.4


# %% 3.A wrong: division forgotten -> without the division
bound_by_hand = 2 * 1.3


# %% 3.A wrong: a guess -> three numbers first
bound_by_hand = 10.0


# %% 3.B right: with the matrix A'A
def improved(A, v):
    w = (A.T @ A) @ v
    return w / torch.sqrt(w @ w)


# %% 3.B right: normalised first
def improved(A, v):
    return torch.nn.functional.normalize(A.mT @ (A @ (v / v.norm())), dim=0)


# %% 3.B right: the library
def improved(A, v):
    return norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, v, 1)[1]


# %% 3.B right: by the gradient of |A v|^2 / 2
def improved(A, v):
    slope = torch.func.grad(lambda v: (A @ v).square().sum() / 2)(v)
    return slope / slope.norm()


# %% 3.B wrong: not normalised -> its length is not 1
def improved(A, v):
    return A.T @ (A @ v)


# %% 3.B wrong: largest entry -> Divide by its length
def improved(A, v):
    w = A.T @ (A @ v)
    return w / w.abs().max()


# %% 3.B wrong: no adjoint -> A' is missing
def improved(A, v):
    w = A @ v
    return w / w.norm()


# %% 3.B wrong: twice A -> it should be A'
def improved(A, v):
    w = A @ (A @ v)
    return w / w.norm()


# %% 3.B wrong: the other order -> A comes first
def improved(A, v):
    w = A @ (A.T @ v)
    return w / w.norm()


# %% 3.B wrong: two steps -> One is asked for
def improved(A, v):
    for _ in range(2):
        v = A.T @ (A @ v)
        v = v / v.norm()
    return v


# %% 3.B wrong: the old length -> the length of the old v
def improved(A, v):
    return A.T @ (A @ v) / v.norm()


# %% 3.B wrong: only normalised -> the old direction
def improved(A, v):
    return v / v.norm()


# %% 3.B wrong: the estimate -> has shape ()
def improved(A, v):
    return (A @ v).norm()


# %% 3.B wrong: in place -> changes its argument number 2 in place
def improved(A, v):
    v /= v.norm()
    w = A.T @ (A @ v)
    return w / w.norm()


# %% 3.C right: real and imaginary part
def size_of_symbol(kernel, omega):
    a, b, c = kernel
    return torch.hypot(b + (a + c) * omega.cos(), (c - a) * omega.sin())


# %% 3.C right: the first weight as the origin, which changes no size
def size_of_symbol(kernel, omega):
    waves = torch.exp(1j * torch.outer(omega, torch.arange(3.0)))
    return (waves @ kernel.to(waves.dtype)).abs()


# %% 3.C right: the mirrored kernel, which is conjugate
def size_of_symbol(kernel, omega):
    z = torch.exp(1j * omega)
    return abs(kernel[0] * z + kernel[1] + kernel[2] / z)


# %% 3.C right: frequency by frequency
def size_of_symbol(kernel, omega):
    sizes = []
    for w in omega:
        z = torch.polar(torch.tensor(1.0), w)
        sizes.append(abs(kernel[0] / z + kernel[1] + kernel[2] * z))
    return torch.stack(sizes)


# %% 3.C wrong: the example -> kernel (-1, 1, -1)
def size_of_symbol(kernel, omega):
    return (1 - 2 * torch.cos(omega)).abs()


# %% 3.C wrong: the example with its sign -> kernel (-1, 1, -1)
def size_of_symbol(kernel, omega):
    return 1 - 2 * torch.cos(omega)


# %% 3.C wrong: the real part -> with its sign
def size_of_symbol(kernel, omega):
    return kernel[1] + (kernel[0] + kernel[2]) * omega.cos()


# %% 3.C wrong: size of the real part -> there is an imaginary part
def size_of_symbol(kernel, omega):
    return (kernel[1] + (kernel[0] + kernel[2]) * omega.cos()).abs()


# %% 3.C wrong: no size taken -> is torch.complex128
def size_of_symbol(kernel, omega):
    z = torch.exp(1j * omega)
    return kernel[0] / z + kernel[1] + kernel[2] * z


# %% 3.C wrong: squared -> the square of the size
def size_of_symbol(kernel, omega):
    z = torch.exp(1j * omega)
    return (kernel[0] / z + kernel[1] + kernel[2] * z).abs() ** 2


# %% 3.C wrong: both neighbours the same way -> the same for a as for c
def size_of_symbol(kernel, omega):
    z = torch.exp(1j * omega)
    return (kernel[0] * z + kernel[1] + kernel[2] * z).abs()


# %% 3.C wrong: the largest one -> shape ()
def size_of_symbol(kernel, omega):
    z = torch.exp(1j * omega)
    return (kernel[0] / z + kernel[1] + kernel[2] * z).abs().max()


# %% 3.C wrong: sums of sizes -> no frequency need attain
def size_of_symbol(kernel, omega):
    return kernel.abs().sum() + 0 * omega


# %% 3.C wrong: the middle one at the wrong place -> What is left of each term
def size_of_symbol(kernel, omega):
    z = torch.exp(1j * omega)
    return (kernel[0] + kernel[1] / z + kernel[2] * z).abs()


# %% 3.D right: tensors
def enclosed(network, images):
    largest = norms.jacobian_norms(network, images).max()
    return largest, certificates.lipschitz_bound(network, tuple(images[0].shape))


# %% 3.D right: layer by layer
def enclosed(network, images):
    upper = 1.0
    shape = images.shape[1:]
    for layer in network:
        upper = upper * certificates.lipschitz_bound(layer, shape)
        shape = certificates.output_shape(layer, shape)
    return max(norms.jacobian_norms(network, images).tolist()), upper


# %% 3.D right: Jacobians by torch.func
def enclosed(network, images):
    jacobians = [torch.func.jacrev(network)(x[None]).reshape(-1, x.numel()) for x in images]
    slopes = [torch.linalg.matrix_norm(J.detach(), 2).item() for J in jacobians]
    return max(slopes), certificates.lipschitz_bound(network, images.shape[1:])


# %% 3.D wrong: order -> slope first, the guaranteed bound second
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images).max()
    return certificates.lipschitz_bound(network, images.shape[1:]), lower


# %% 3.D wrong: the mean -> the mean of the local slopes
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images).mean()
    return lower, certificates.lipschitz_bound(network, images.shape[1:])


# %% 3.D wrong: first image -> at the first image only
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images)[0]
    return lower, certificates.lipschitz_bound(network, images.shape[1:])


# %% 3.D wrong: all slopes -> should be one number
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images)
    return lower, certificates.lipschitz_bound(network, images.shape[1:])


# %% 3.D wrong: the batch counted as well -> raised
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images).max()
    return lower, certificates.lipschitz_bound(network, images.shape)


# %% 3.D wrong: twice the measurement -> No measurement is an upper bound
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images).max()
    return lower, lower


# %% 3.D wrong: the reshaped kernel -> no bound (Claim 3.13)
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images).max()
    weights = [p.detach().flatten(1) for p in network.parameters()]
    return lower, torch.stack([torch.linalg.matrix_norm(W, 2) for W in weights]).prod()


# %% 3.D wrong: Frobenius norms -> Frobenius
def enclosed(network, images):
    lower = norms.jacobian_norms(network, images).max()
    return lower, torch.stack([p.detach().norm() for p in network.parameters()]).prod()


# %% 3.D wrong: smallest slope -> at the first image only
def enclosed(network, images):
    slopes = norms.jacobian_norms(network, images[:1])
    return slopes.min(), certificates.lipschitz_bound(network, images.shape[1:])


# %% 3.D wrong: bound only -> 2 values together
def enclosed(network, images):
    return certificates.lipschitz_bound(network, images.shape[1:])
