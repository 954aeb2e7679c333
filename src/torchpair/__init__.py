"""torchpair: Docker images in which torch and torchaudio are a proven pair."""

__version__ = "0.1.0"
