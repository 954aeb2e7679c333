"""Stands for torchaudio where a test is about the way there: a few objects, compiled as torchaudio's are.

Each of them includes torch's headers, so that it takes seconds; SALT makes a compile one that ccache has not seen.
"""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
OBJECTS = 8
LAUNCHER = os.environ["CMAKE_CXX_COMPILER_LAUNCHER"]


class Ninja(build_ext):
    def build_extension(self, ext):
        from torch.utils import cpp_extension

        folder = HERE / "build" / "objects"
        folder.mkdir(parents=True)
        includes = " ".join(f"-isystem {path}" for path in cpp_extension.include_paths())
        rules = [
            f"rule cxx\n  command = {LAUNCHER} $CXX -std=c++17 -O1 {includes} -c $in -o $out".replace(
                "$CXX", os.environ["CXX"]
            )
        ]
        salt = (HERE / "SALT").read_text().strip()
        for n in range(OBJECTS):
            (folder / f"part{n}.cpp").write_text(
                f"#include <ATen/ATen.h>\nint torchpair_{salt}_{n}() {{ return at::ones({n}).numel(); }}\n"
            )
            rules.append(f"build part{n}.cpp.o: cxx part{n}.cpp")
        (folder / "build.ninja").write_text("\n".join(rules) + "\n")
        subprocess.check_call(["ninja", "-j", os.environ["MAX_JOBS"]], cwd=folder)
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "part0.cpp.o", target)


(HERE / "torchaudio").mkdir(exist_ok=True)
(HERE / "torchaudio" / "__init__.py").touch()
setup(
    name="torchaudio",
    version=os.environ["BUILD_VERSION"],
    packages=["torchaudio"],
    ext_modules=[Extension("torchaudio.small", [])],
    cmdclass={"build_ext": Ninja},
)
