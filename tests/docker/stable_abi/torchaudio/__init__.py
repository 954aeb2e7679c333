from pathlib import Path

import torch

torch.ops.load_library(next(Path(__file__).parent.glob("_stable*.so")))
