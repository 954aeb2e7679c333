// An operator on torch's stable ABI: y = x + 1, on the CPU here, on a GPU in stable_cuda.cu.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

using torch::stable::Tensor;

Tensor plus_one_cpu(const Tensor& x) {
  Tensor y = torch::stable::empty_like(x);
  const float* in = static_cast<const float*>(x.data_ptr());
  float* out = static_cast<float*>(y.data_ptr());
  for (int64_t i = 0; i < x.numel(); i++) out[i] = in[i] + 1.0f;
  return y;
}

STABLE_TORCH_LIBRARY(torchpair_stable, m) { m.def("plus_one(Tensor x) -> Tensor"); }
STABLE_TORCH_LIBRARY_IMPL(torchpair_stable, CPU, m) { m.impl("plus_one", TORCH_BOX(&plus_one_cpu)); }
