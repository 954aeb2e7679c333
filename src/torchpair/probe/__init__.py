"""The probe: runs inside an image and prints one JSON document about its torch and torchaudio.

It needs the standard library, torch and torchaudio, and nothing of torchpair outside this package: `pack.py`
(which stays on the host) puts the other modules into one file, `probe.pyz`, for any Python from 3.8 on.

Exit codes: 0 nothing failed, 1 a check failed, 2 bad command line, 3 inconclusive.

A check that is skipped says in `needs` what it lacked. Harmless, and counted apart (registry.harmless):
    gpu               no GPU, or switched off; inconclusive only under `--gpu require`
    cuda-build        a GPU check in an image whose torch is built for the CPU; likewise
    expectation       nothing to compare with was given
    torchaudio>=X.Y   the release does not have such a function yet
    torchaudio<X.Y    the release does not have such a function any more
    torchcodec        not installed, and this release of torchaudio does not use it
    ffmpeg            this release of torchaudio has other readers, and they do not know the format
    record            not installed from wheels: no list of files to compare with
    package           an extra package of the profile is not installed
    non-root          run as root: nothing is shown for another user
    read-only         run on a writable root: nothing is shown for a read-only one
Inconclusive:
    import            torch or torchaudio does not import: `pair.import` says why
    known-format      a library is in a form that the probe cannot read
    writable-temp     no folder to write a file into (TMPDIR, /tmp)
"""

__version__ = "1"
SCHEMA = "torchpair.probe/1"
