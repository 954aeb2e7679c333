"""An extension of our own on torch's stable ABI, in torchaudio's place: it shows that the compiler of NVIDIA's wheels
makes code that this torch runs, where upstream's repository cannot be reached."""

import os

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

setup(
    name="torchaudio",
    version=os.environ["BUILD_VERSION"],
    packages=["torchaudio"],
    ext_modules=[CUDAExtension("torchaudio._stable", ["stable.cpp", "stable_cuda.cu"], py_limited_api=True)],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
