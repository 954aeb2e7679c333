// An operator on torch's stable ABI: y = x + 1, on the CPU here, on a GPU in stable_cuda.cu.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

// torch.ops.load_library opens it; a limited-API module needs a symbol for Python all the same.
#include <Python.h>

using torch::stable::Tensor;

Tensor plus_one_cpu(Tensor x) {
  Tensor y = torch::stable::empty_like(x);
  const float* in = static_cast<const float*>(x.data_ptr());
  float* out = static_cast<float*>(y.data_ptr());
  for (int64_t i = 0; i < x.numel(); i++) out[i] = in[i] + 1.0f;
  return y;
}

void boxed_plus_one_cpu(StableIValue* stack, uint64_t num_args, uint64_t num_outputs) {
  stack[0] = torch::stable::detail::from(plus_one_cpu(torch::stable::detail::to<Tensor>(stack[0])));
}

STABLE_TORCH_LIBRARY(torchpair_stable, m) { m.def("plus_one(Tensor x) -> Tensor"); }
STABLE_TORCH_LIBRARY_IMPL(torchpair_stable, CPU, m) { m.impl("plus_one", &boxed_plus_one_cpu); }

extern "C" PyObject* PyInit__stable(void) {
  static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_stable", nullptr, -1, nullptr};
  return PyModule_Create(&module);
}
