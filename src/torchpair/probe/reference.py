"""What the right answers are, worked out in plain Python floats (IEEE double), independent of torch.

Signals are lists of samples; a table is a list of rows. Nothing here is fast and nothing here needs to be.
"""

from __future__ import annotations

import cmath
import math
import random
from typing import List, Sequence, Tuple, TypeVar

from .registry import worst

Row = List[float]
Table = List[List[float]]
A = TypeVar("A")
B = TypeVar("B")


def both(one: Sequence[A], other: Sequence[B]) -> List[Tuple[A, B]]:
    """Pairs of two sequences of one length; a shorter one is an error, never a shorter comparison."""
    if len(one) != len(other):
        raise ValueError("{} values beside {}".format(len(one), len(other)))
    return list(zip(one, other))  # noqa: B905 - zip(strict=) needs Python 3.10


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    """The inner product."""
    return sum(x * y for x, y in both(one, other))


def largest_error(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """The largest absolute difference of two tables; infinity when their shapes differ, NaN when one has a NaN."""
    if [len(row) for row in one] != [len(row) for row in other]:
        return math.inf
    return worst(abs(x - y) for row, ref in both(one, other) for x, y in both(row, ref))


def noise(count: int, seed: int) -> Row:
    """`count` reproducible values in (-1, 1), multiples of 2^-12: exact in float32, so both sides start equal."""
    generator = random.Random(seed)
    return [generator.randrange(-4095, 4096) / 4096 for _ in range(count)]


def sine(count: int, rate: float, hertz: float, amplitude: float, phase: float = 0.0) -> Row:
    """`count` samples of a sine at `rate` samples a second."""
    return [amplitude * math.sin(2 * math.pi * hertz * n / rate + phase) for n in range(count)]


def lfilter(signal: Sequence[float], a: Sequence[float], b: Sequence[float]) -> Row:
    """The difference equation a[0] y[n] = sum b[k] x[n-k] - sum a[k] y[n-k], from rest."""
    out: Row = []
    for n in range(len(signal)):
        total = sum(b[k] * signal[n - k] for k in range(len(b)) if n >= k)
        total -= sum(a[k] * out[n - k] for k in range(1, len(a)) if n >= k)
        out.append(total / a[0])
    return out


def log_sum(values: Sequence[float]) -> float:
    """log(sum(exp(values))) without overflow."""
    top = max(values)
    return top if top == -math.inf else top + math.log(sum(math.exp(value - top) for value in values))


def log_softmax(row: Sequence[float]) -> Row:
    """Logits to log-probabilities."""
    total = log_sum(row)
    return [value - total for value in row]


def rnnt_loss(logits: Sequence[Table], targets: Sequence[int], blank: int) -> float:
    """-log P(targets | logits) of a transducer; logits are [time][len(targets) + 1][classes].

    Source: Graves, "Sequence Transduction with Recurrent Neural Networks" (2012), section 2.4: the forward
    variable over time (blank) and labels (emission), and a last blank.
    """
    log_p = [[log_softmax(row) for row in table] for table in logits]
    forward = [[-math.inf] * (len(targets) + 1) for _ in log_p]
    forward[0][0] = 0.0
    for t in range(len(log_p)):
        for u in range(len(targets) + 1):
            ways = [forward[t][u]] if t == u == 0 else []
            if t > 0:
                ways.append(forward[t - 1][u] + log_p[t - 1][u][blank])
            if u > 0:
                ways.append(forward[t][u - 1] + log_p[t][u - 1][targets[u - 1]])
            forward[t][u] = log_sum(ways)
    return -(forward[-1][-1] + log_p[-1][-1][blank])


def rnnt_gradient(logits: Sequence[Table], targets: Sequence[int], blank: int) -> List[Table]:
    """The gradient of rnnt_loss with respect to every logit, by central differences; good to about 1e-9."""
    step = 1e-5
    work = [[list(row) for row in table] for table in logits]
    gradient = [[[0.0] * len(row) for row in table] for table in logits]
    for t, table in enumerate(work):
        for u, row in enumerate(table):
            for v, value in enumerate(row):
                row[v] = value + step
                above = rnnt_loss(work, targets, blank)
                row[v] = value - step
                gradient[t][u][v] = (above - rnnt_loss(work, targets, blank)) / (2 * step)
                row[v] = value
    return gradient


def ctc_align(log_p: Table, targets: Sequence[int], blank: int) -> Tuple[List[int], Row]:
    """The most likely CTC path: the label of every frame and its log-probability. log_p is [time][classes].

    Source: Graves et al., "Connectionist Temporal Classification" (2006), section 4.1, with max for sum: states
    are the targets with blanks around them; a blank may be left out between two different labels.
    """
    states = [blank]
    for label in targets:
        states += [label, blank]
    best = [-math.inf] * len(states)
    best[0], best[1] = log_p[0][states[0]], log_p[0][states[1]]
    back: List[List[int]] = []
    for frame in log_p[1:]:
        previous, best, came = best, [], []
        for s, label in enumerate(states):
            sources = [s, s - 1] if s >= 1 else [s]
            if s >= 2 and label != blank and label != states[s - 2]:
                sources.append(s - 2)
            source = max(sources, key=lambda index: previous[index])
            came.append(source)
            best.append(previous[source] + frame[label])
        back.append(came)
    state = max(len(states) - 1, len(states) - 2, key=lambda index: best[index])
    path = [state]
    for came in reversed(back):
        path.append(came[path[-1]])
    labels = [states[state] for state in reversed(path)]
    return labels, [frame[label] for frame, label in both(log_p, labels)]


def _bin(signal: Sequence[float], start: int, count: int, cycles: float) -> complex:
    """One Fourier coefficient of signal[start:start + count] under a Hann window; cycles are per sample."""
    turn = -2j * math.pi * cycles
    return sum(
        signal[start + n] * (0.5 - 0.5 * math.cos(2 * math.pi * n / count)) * cmath.exp(turn * (start + n))
        for n in range(count)
    )


def fit_sine(signal: Sequence[float], rate: float, hertz: float) -> Tuple[float, float, float]:
    """Fit one sine near `hertz`: its frequency in Hz, its amplitude, and the rms of what is left over.

    Frequency from the phase advance between the two halves, then amplitude and phase by least squares.
    The frequency is found if it is within rate / len(signal) of `hertz`; anything else shows in what is left over.
    """
    half = len(signal) // 2
    for _ in range(2):
        first, second = _bin(signal, 0, half, hertz / rate), _bin(signal, half, half, hertz / rate)
        if abs(first) == 0:
            return math.nan, 0.0, 0.0
        hertz += cmath.phase(second / first) / (2 * math.pi) * rate / half
    angle = 2 * math.pi * hertz / rate
    cos, sin = [math.cos(angle * n) for n in range(len(signal))], [math.sin(angle * n) for n in range(len(signal))]
    cc, ss, cs, xc, xs = dot(cos, cos), dot(sin, sin), dot(cos, sin), dot(signal, cos), dot(signal, sin)
    determinant = cc * ss - cs * cs
    p, q = (xc * ss - xs * cs) / determinant, (xs * cc - xc * cs) / determinant
    left = [x - p * cos[n] - q * sin[n] for n, x in enumerate(signal)]
    return hertz, math.hypot(p, q), math.sqrt(dot(left, left) / len(left))


def mel_filters(bins: int, rate: float, bands: int) -> Table:
    """Triangles on the HTK mel scale, [band][bin], from 0 to rate / 2; bins are evenly spaced over the same range.

    Source: The HTK Book, section 5.4: mel(f) = 2595 log10(1 + f / 700); neighbouring triangles share their corners.
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corner = [700 * (10 ** (top * i / (bands + 1) / 2595) - 1) for i in range(bands + 2)]
    hertz = [rate / 2 * k / (bins - 1) for k in range(bins)]
    return [
        [max(0.0, min((f - low) / (mid - low), (high - f) / (high - mid))) for f in hertz]
        for low, mid, high in (corner[i : i + 3] for i in range(bands))
    ]


def mel_spectrogram(signal: Sequence[float], rate: float, n_fft: int, hop: int, bands: int) -> Table:
    """Power mel spectrogram [band][frame]: periodic Hann window, frames centred with reflection at both ends."""
    half = n_fft // 2
    padded = list(signal[half:0:-1]) + list(signal) + list(signal[-2 : -half - 2 : -1])
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / n_fft) for n in range(n_fft)]
    cos = [math.cos(2 * math.pi * n / n_fft) for n in range(n_fft)]
    sin = [math.sin(2 * math.pi * n / n_fft) for n in range(n_fft)]
    filters = mel_filters(half + 1, rate, bands)
    out: Table = [[] for _ in filters]
    for start in range(0, len(padded) - n_fft + 1, hop):
        frame = [value * weight for value, weight in both(padded[start : start + n_fft], window)]
        power = []
        for k in range(half + 1):
            real = dot(frame, [cos[k * n % n_fft] for n in range(n_fft)])
            imaginary = dot(frame, [sin[k * n % n_fft] for n in range(n_fft)])
            power.append(real * real + imaginary * imaginary)
        for row, band in both(out, filters):
            row.append(dot(band, power))
    return out
