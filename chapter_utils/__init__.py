"""The helper of the lessons: what is the subject of a lesson is first written out there.

module           holds                                                              lesson
checks           sentences about bad input                                          -
runge_kutta      tableaus, one step, how far it keeps distances (`newton`: stages)  2
ode              flows, logarithmic norms                                           1, 2
verified         singular values with a proof, rounding included                    3, 7
norms            how much a linear map stretches, Jacobian norms                    3
conv_norms       the same for convolutions, by the Fourier transform                3
operators        linear maps with adjoints, keeping them orthonormal                3, 5
image_operators  those of images: shifts and convolutions                           5, 6
layers           non-expansive blocks and the last layer: x - tau A^T act(A x + b)  5
plain_layers     lifts, pooling, normalisation, ordinary skips                      3, 5, 7
expansive        contractive and expansive steps in pairs                           6
structure        layers that keep mass, symplecticity, volume                       8
models           the networks                                                       6, 7
pictures         images from files                                                  7
data             digits, torchvision's sets, a folder of images, moons              5, 7
attacks          FGSM, PGD, curves                                                  7
training         one plain loop, losses, augmentation                               7
muon             the optimiser                                                      7
plotting         house style, described figures                                     all
widgets          live figures                                                       all
certificates     what may be called a proof: Lipschitz bounds, rounding, radii      3, 5, 7

name  means one thing everywhere
h     a step size of a numerical method, a time: x + h f(x)
L     the Lipschitz constant of a field g
tau   the step size of a layer, a time: x - tau g(x)
c     tau L, the step of a layer in units of 1/L: safe up to 2
r     the circle-contractivity radius: a step is safe for h L or c up to 2 r
"""

__version__ = "0.1.0"
