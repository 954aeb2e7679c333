"""What all checks of one run share: the options, and torch and torchaudio, imported once and only when asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from . import arch, driver, fatbin, network, versions
from .expect import Expectation
from .registry import Skip, told


class Context:
    """gpu: "auto", "require" or "off"."""

    def __init__(self, gpu: str = "auto", expect: Optional[Expectation] = None) -> None:
        self.gpu = gpu
        self.expect = expect or Expectation()
        self.import_seconds: Dict[str, float] = {}
        self.import_error: Optional[str] = None
        self.watch = network.Watch()
        self.imports = True  # False: nothing is imported, because that ended the process before
        self.memory: Dict[str, Any] = {}  # what one check found out and another needs too
        self._modules: Optional[Dict[str, Any]] = None
        self._driver: Optional[driver.Driver] = None
        self._distributions: Optional[Dict[str, str]] = None

    def modules(self) -> Dict[str, Any]:
        """Import torch, then torchaudio; those that came. import_error says what stopped the rest."""
        if self._modules is None:
            self._modules = {}
            if not self.imports:
                self.import_error = "nothing was imported"
            for name in ("torch", "torchaudio") if self.imports else ():
                started = time.perf_counter()
                try:
                    self._modules[name] = importlib.import_module(name)
                # Whatever a broken package raises, the answer is the same: it does not import.
                except (Exception, SystemExit) as error:
                    self.import_error = "import {}: {}".format(name, told(error))
                    break
                finally:
                    self.import_seconds[name] = round(time.perf_counter() - started, 3)
        return self._modules

    @property
    def imported(self) -> bool:
        """Whether torch and torchaudio have been imported, both; imports nothing itself."""
        return self._modules is not None and not self.import_error

    def ready(self) -> None:
        """Import both, or raise Skip."""
        self.modules()
        if self.import_error:
            raise Skip("import", "torch and torchaudio do not both import; pair.import has the error")

    @property
    def torch(self) -> Any:
        self.ready()
        return self.modules()["torch"]

    @property
    def torchaudio(self) -> Any:
        self.ready()
        return self.modules()["torchaudio"]

    def torchcodec(self) -> Any:
        """The module torchcodec; ImportError, RuntimeError or OSError where it cannot be loaded."""
        self.ready()
        for part in ("decoders", "encoders"):  # what torchaudio uses; encoders came with 0.5
            if part == "decoders" or importlib.util.find_spec("torchcodec." + part):
                importlib.import_module("torchcodec." + part)
        return importlib.import_module("torchcodec")

    @property
    def audio_release(self) -> Tuple[int, int]:
        """torchaudio's major and minor version."""
        return versions.release(self.torchaudio.__version__)

    def torch_cuda(self) -> Optional[str]:
        """The CUDA version that torch was built for; None for a CPU build."""
        value = self.torch.version.cuda
        return None if value is None else str(value)

    def audio_cuda(self) -> Optional[str]:
        """The CUDA version that torchaudio's extension was built for; None for a CPU build.

        Through 2.10 a Python module carries it, from 2.11 (stable ABI) an operator. RuntimeError where neither does.
        """
        if self.audio_release < (2, 11):
            number = importlib.import_module("torchaudio.lib._torchaudio").cuda_version()
        else:
            number = self.torch.ops._torchaudio.cuda_version()
        return versions.cuda_of_number(int(number or 0))

    def compiled(self) -> List[arch.Arch]:
        """The GPU architectures that torch was compiled for; empty for a CPU build. Needs no GPU."""
        flags = getattr(self.torch._C, "_cuda_getArchFlags", None)  # absent in CPU builds
        return arch.parse_flags((flags() or "") if flags else "")

    def audio_compiled(self) -> Optional[List[arch.Arch]]:
        """The GPU architectures in torchaudio's operator library; None when they cannot be read from it."""
        folder = Path(self.torchaudio.__file__).parent / "lib"
        for name in ("libtorchaudio.so", "libtorchaudio.abi3.so"):  # the second from 2.11 on
            if (folder / name).is_file():
                return fatbin.architectures((folder / name).read_bytes())
        raise FileNotFoundError("torchaudio has no compiled operator library")

    def driver(self) -> driver.Driver:
        """The driver's view of the GPUs; asked once."""
        if self._driver is None:
            self._driver = driver.ask()
        return self._driver

    def device(self) -> str:
        """The word "cuda", or Skip with the reason why there is no such device."""
        if self.gpu == "off":
            raise Skip("gpu", "switched off by --gpu off")
        if self.torch_cuda() is None:
            raise Skip("cuda-build", "torch is not built for CUDA")
        if self.torch.cuda.is_available():
            return "cuda"
        seen = self.driver()
        if seen.devices:
            raise Skip("gpu", "the driver offers a GPU that torch cannot use; cuda.device has the error")
        raise Skip("gpu", seen.error)

    def distributions(self) -> Dict[str, str]:
        """Installed distributions, by normalised name, as pip sees them: the first on the path counts.

        Two versions in the same folder are a broken installation and are shown as "1.0, 2.0".
        """
        if self._distributions is None:
            found: Dict[str, Dict[str, None]] = {}
            place: Dict[str, str] = {}
            for dist in importlib.metadata.distributions():
                try:
                    name, version = dist.metadata["Name"], dist.version
                except Exception:  # a damaged folder is no distribution; a lock will miss it
                    continue
                if not name or not version:
                    continue
                key = versions.normal_name(name)
                folder = str(dist.locate_file(""))
                if place.setdefault(key, folder) == folder:
                    found.setdefault(key, {})[version] = None
            self._distributions = {name: ", ".join(sorted(found[name])) for name in sorted(found)}
        return self._distributions
