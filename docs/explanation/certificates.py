# %% [markdown]
# # Certificates
#
# A residual block `F(x) = x + g(x)` has no inverse in closed form. It has one at all if g is a
# *contraction*: if its Lipschitz constant is below one. Then `x ← y - g(x)` converges to the inverse from
# anywhere (Banach), and the log-det series converges. If it is not, the flow's numbers mean nothing, and
# no plot shows it. So every block comes with a certificate: a proven upper bound below one.

# %%
import matplotlib.pyplot as plt
import numpy as np

import keras_flows as kf

flow = kf.zoo.load("idensenet_lc_two_moons")
certificate = flow.certify()
for path, bound in list(certificate.bounds.items())[:3]:
    print(f"{path}: {bound:.6f}")
print(f"… the largest of {len(certificate.bounds)}: {certificate.largest:.6f}")

# %% [markdown]
# ## Where the bound comes from
#
# It is computed from the weights, not from data:
#
# * **Matrices**: the largest singular value, by a decomposition in float64. Training uses power
#   iteration, which bounds a norm from *below*, and so proves nothing; the certificate does not.
# * **Convolutions**: bounds from above on the norm of the linear map on images of that size.
# * **Activations**: 1, each scaled so that this is true.
# * **Learnable concatenation** of an i-DenseNet, `[η₁ x, η₂ h(x)]`: `sqrt(η₁² + η₂² Lip(h)²)`.
# * **Composition**: the product. Of `x + g(x)` only Lip(g) matters.
#
# ## What it promises
#
# With the bound L, every step of the fixed point leaves at most L times the error before it. Here is the
# error of one block's inverse, beside what the bound allows:

# %% alt="The error of the fixed-point inverse by iteration, on a logarithmic axis: it falls to 1e-7 within twelve iterations, far below the dashed line of the bound."
block = flow.blocks[0]
x = kf.data.toy("two_moons").sample(200, seed=0)
y, _ = block.encode(x)
guess, errors = y, []
for _ in range(40):
    errors.append(float(np.linalg.norm(guess - x, axis=1).max()))
    guess = y - block.net(guess)
bound = next(iter(certificate.bounds.values()))
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.semilogy(errors, "o-", markersize=3, color="#3f51b5", label="measured")
axis.semilogy(errors[0] * bound ** np.arange(40), "--", color="black", label=f"bound {bound:.2f}")
axis.set(xlabel="iteration", ylabel="largest error")
axis.legend()
plt.show()

# %% [markdown]
# Measured it is far faster: the bound is for the worst direction at the worst point there could be, and
# data hardly meet it. The floor at the end is float32. `decode` stops at a stated tolerance and raises
# `kf.ConvergenceError` where it was not reached; in exported graphs such an example is NaN.
#
# ## When it does not hold
#
# Weights that were scaled, by hand or by a damaged file, break it. Nothing else would notice:

# %%
broken = kf.models.IDenseNet((2,), blocks=2, depth=2, growth=16)
print(f"as built: {broken.certify().largest:.4f}")
for block in broken.blocks:
    for weight in block.net.weights:
        if len(weight.shape) == 2:
            weight.assign(3.0 * weight)
try:
    broken.certify()
except kf.LipschitzError as error:
    print(error)
broken.converge()
print(f"after converge(): {broken.certify().largest:.4f}")

# %% [markdown]
# The weights are normalised by norms that training keeps up to date; changed by hand, they need
# `flow.converge()`, as the error says. Saving, exporting and evaluating do that by themselves, and certify
# before they write. Loading a preset on vectors computes the certificate anew and compares it with the one
# in the metadata; on images, where that takes minutes, `keras-flows certify` does.
#
# ## What it does not say
#
# * How good the density is. A contraction by 0.5 is as certified as one by 0.99, and less flexible: the
#   entries of the zoo are trained with a bound of 0.99 for a whole block.
# * How large rounding errors are after ten blocks. That is measured: `kf.measure.round_trip` decodes what
#   it encoded, and the cards have the worst case.

# %%
trip = kf.measure.round_trip(flow, x)
print(f"worst error {trip.errors.max():.1e} of {len(x)} points, {trip.refused:.0%} refused")

# %% [markdown]
# * Anything of flows without residual blocks: couplings and autoregressive steps are inverted in closed
#   form or number by number, and need no bound. Their certificate is empty.
# * Who made the file. A checksum is no signature: [Under faults](../faults.md#what-is-not).
#
# Sources: Behrmann et al. 2019, *Invertible Residual Networks*; Chen et al. 2019, *Residual Flows*;
# Perugachi-Diaz et al. 2020, *Invertible DenseNets*.
