"""Compute the few probabilities that every interval of the gate is made of.

Three sums of random numbers are enough for all of them:

- a binomial count, through the incomplete beta function (`incomplete_beta`);
- a sum of negative-binomial counts, an exact finite sum (`failures_at_most`);
- a weighted sum of exponential waiting times, the tail behind Gaffke's bound
  (`waiting_at_most_zero`), which picks the cheapest exact form for the weights it is given.

Everything is a function of its arguments alone: no random numbers, no tables, `math.fsum` instead
of `sum`, and inputs are sorted by the callers, so the same cases give the same bits in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate

BOUND_TOLERANCE = 1e-11
"""Width to which a bound is pinned down; finer than the grid that bounds are rounded to."""

_NEGLIGIBLE = 1e-100
"""Terms this much smaller than the largest one are left out of a sum of probabilities."""

_MOST_TERMS = 100_000
_MOST_TURNS = 120
_SECANT_TURNS = 20
_MOST_HALVINGS = 8


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Give the regularised incomplete beta function, P[Beta(a, b) <= x].

    Continued fraction by Lentz's method; at a = b = 50,000 about 300 terms, and a relative error
    near 1e-10 that comes from the logarithm of the gamma function.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # The fraction converges fast only on its own side of the mean.
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_front) * _beta_fraction(x, a, b) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(1.0 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    upper = 1.0
    lower = 1.0 - (a + b) * x / (a + 1.0)
    lower = 1.0 / (lower if abs(lower) > tiny else tiny)
    value = lower
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            lower = 1.0 + term * lower
            lower = 1.0 / (lower if abs(lower) > tiny else tiny)
            upper = 1.0 + term / upper
            upper = upper if abs(upper) > tiny else tiny
            step = lower * upper
            value *= step
        if abs(step - 1.0) < 1e-15:
            return value
    raise ArithmeticError(f"incomplete beta did not converge at x = {x}, a = {a}, b = {b}")


@lru_cache(maxsize=64)
def normal_quantile(probability: float) -> float:
    """Give the standard normal quantile, accurate to 1e-12, without importing `statistics`."""
    return crossing(lambda z: 0.5 * math.erfc(-z / math.sqrt(2.0)), probability, -40.0, 40.0, 0.0)


@lru_cache(maxsize=256)
def student_quantile(probability: float, degrees: int) -> float:
    """Give the quantile of Student's t for a probability of one half or more."""
    if probability == 0.5:
        return 0.0

    def below(t: float) -> float:
        return 1.0 - 0.5 * incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5)

    high = 2.0
    while below(high) < probability:
        high *= 2.0
    return crossing(below, probability, 0.0, high, min(normal_quantile(probability), high))


def failures_at_most(limit: int, parts: Sequence[tuple[int, float]]) -> float:
    """Give P[NB(r1, p1) + NB(r2, p2) <= limit] for one or two parts (r, p).

    NB(r, p) counts the failures before r successes of probability p. The sum is finite and exact;
    each part is worked out from its largest term outward, so nothing underflows at r = 100,000
    although p**r does.
    """
    if limit < 0:
        return 0.0
    first_start, first = _failure_terms(*parts[0], limit)
    second_start, second = _failure_terms(*parts[1], limit) if len(parts) > 1 else (0, [1.0])
    below = list(accumulate(second))
    reach = limit - first_start - second_start
    products = [
        term * below[min(reach - j, len(below) - 1)] for j, term in enumerate(first) if j <= reach
    ]
    return min(1.0, math.fsum(products))


def _failure_terms(r: int, p: float, limit: int) -> tuple[int, list[float]]:
    """List P[NB(r, p) = j] for the j up to the limit that matter, and the first such j."""
    q = 1.0 - p
    if r == 0 or q <= 0.0:
        return 0, [1.0]
    anchor = min(limit, max(0, math.floor((r - 1) * q / p)))
    peak = math.exp(
        math.lgamma(anchor + r)
        - math.lgamma(r)
        - math.lgamma(anchor + 1)
        + r * math.log(p)
        + anchor * math.log1p(-p)
    )
    down: list[float] = []
    term, j = peak, anchor
    floor = peak * _NEGLIGIBLE
    while j > 0 and term > floor:
        term *= j / ((j + r - 1) * q)
        j -= 1
        down.append(term)
    start = j
    up = [peak]
    term, j = peak, anchor
    while j < limit and term > floor:
        term *= (j + r) / (j + 1) * q
        j += 1
        up.append(term)
    down.reverse()
    return start, down + up


def waiting_at_most_zero(gaps: Sequence[float], shapes: Sequence[int]) -> float:
    """Give P[sum of gap * Gamma(shape) <= 0], the tail behind Gaffke's bound.

    Gamma(k) is the waiting time of k independent exponentials. The form is chosen by the signs:

    - one exponential against the rest: a closed product;
    - one value against at most two others: `failures_at_most`;
    - otherwise a contour integral through the saddlepoint, with a relative error below 1e-8.

    Args:
        gaps: Distance of each value from the point in question, times its weight.
        shapes: How many cases share that value; zero leaves it out.
    """
    pairs = [(g, k) for g, k in zip(gaps, shapes, strict=True) if k > 0 and g != 0.0]
    negative = [pair for pair in pairs if pair[0] < 0.0]
    positive = [pair for pair in pairs if pair[0] > 0.0]
    if not positive:
        return 1.0
    if not negative:
        return 0.0
    if len(negative) == 1 and negative[0][1] == 1:
        own = -negative[0][0]
        return math.exp(-math.fsum(k * math.log1p(g / own) for g, k in positive))
    if len(negative) == 1 and len(positive) <= 2:
        own, k = -negative[0][0], negative[0][1]
        return failures_at_most(k - 1, [(r, own / (own + g)) for g, r in positive])
    if len(positive) == 1 and len(negative) <= 2:
        own, k = positive[0]
        return 1.0 - failures_at_most(k - 1, [(r, own / (own - g)) for g, r in negative])
    return _contour(pairs)


def _contour(pairs: Sequence[tuple[float, int]]) -> float:
    """Integrate exp(K(z)) / -z, with K(z) = -sum(k * log(1 - z * gap)), through its saddlepoint.

    Lugannani and Rice (1980) keep the leading terms of this integral, which costs up to 4.9 % of
    the probability here. It is worked out instead, at about the same price: along a hyperbola that
    follows the steepest descent, so that nothing oscillates, and in steps that grow with sinh, so
    that one far-off case among thousands alike needs no more steps than any other. On such an
    integrand the trapezoid rule converges geometrically: half the step squares the error.
    """
    s = _saddlepoint(pairs)
    log_scale = -math.fsum(k * math.log1p(-s * g) for g, k in pairs) - math.log(-s)
    # Seen from the saddlepoint every factor is 1 - away * b, and the pole at zero is one of them.
    factors = [*((g / (1.0 - s * g), k) for g, k in pairs), (-1.0 / s, 1)]
    single = [b for b, k in factors if k == 1]
    several = [(b, k) for b, k in factors if k > 1]
    square = math.fsum(k * b * b for b, k in factors)
    cube = math.fsum(k * b * b * b for b, k in factors)
    # Both found by trial on 1,800 sets of scores with exact rational answers: fewest steps.
    reach = 1.25 / math.sqrt(square)
    step = 0.35
    bend = reach * cube / (1.5 * square)

    def along(start: float) -> float:
        values = []
        u = start
        while True:
            sinh, cosh = math.sinh(u), math.cosh(u)
            away = complex(reach * bend * (cosh - 1.0), reach * sinh)
            product = math.prod([1.0 - away * b for b in single], start=complex(1.0))
            for b, k in several:
                product *= (1.0 - away * b) ** k
            values.append((complex(cosh, -bend * sinh) / product).real)
            # From here on nothing counts, and going on would overflow.
            if abs(product) > 1e14 * cosh:
                return math.fsum(values)
            u += step

    total = 0.5 + along(step)
    value = total * step
    for _ in range(_MOST_HALVINGS):
        total += along(0.5 * step)
        step *= 0.5
        before, value = value, total * step
        if abs(value - before) <= 1e-6 * abs(value):
            break
    return min(1.0, max(0.0, math.exp(log_scale) * reach * value / math.pi))


def _saddlepoint(pairs: Sequence[tuple[float, int]]) -> float:
    """Find roughly where the integrand is lowest between its nearest pole on the left and zero."""
    # A hair inside the pole: on it, 1 - s * gap is zero and the division below fails.
    left, right = (1.0 - 1e-9) / min(g for g, _ in pairs), 0.0
    s = max(0.5 * left, -1.6 / math.sqrt(math.fsum(k * g * g for g, k in pairs)))
    for _ in range(_MOST_TURNS):
        factors = [(g / (1.0 - s * g), k) for g, k in pairs]
        slope = math.fsum(k * b for b, k in factors) - 1.0 / s
        curve = math.fsum(k * b * b for b, k in factors) + 1.0 / (s * s)
        # Half a standard deviation is near enough: any place gives the same integral.
        if 4.0 * slope * slope <= curve:
            break
        if slope > 0.0:
            right = s
        else:
            left = s
        s -= slope / curve
        if not left < s < right:
            s = 0.5 * (left + right)
    return s


def crossing(
    tail: Callable[[float], float],
    level: float,
    low: float,
    high: float,
    guess: float,
    spread: float = 1.0,
) -> float:
    """Give the largest point, to 1e-11, at which a growing tail is still at most `level`.

    Secant steps on the log-odds inside a bracket, and bisection should they not settle. The answer
    is the lower end of the bracket, the side on which the tail was seen to be at most `level`.

    Args:
        low: A point known to be low enough; returned when no higher one is.
        high: A point known to be too high.
        spread: Rough standard deviation of the tail; it sizes the first step only.
    """
    target = _log_odds(level)
    x = guess if low < guess < high else 0.5 * (low + high)
    last_x, last_error = math.nan, math.nan
    for turn in range(_MOST_TURNS):
        error = _log_odds(tail(x)) - target
        if error <= 0.0:
            low = x
        else:
            high = x
        if high - low <= BOUND_TOLERANCE:
            break
        # In the lower tail of a normal the log-odds grow by about 2 per standard deviation.
        rise = (error - last_error) / (x - last_x) if turn else 2.0 / spread
        step = -error / rise if rise > 0.0 else math.inf
        # Reach a little past the root, so that the bracket closes from its other side as well.
        following = x + step + math.copysign(0.25 * BOUND_TOLERANCE, step)
        if turn > _SECANT_TURNS or not low < following < high:
            following = 0.5 * (low + high)
        last_x, last_error, x = x, error, following
    return low


def _log_odds(probability: float) -> float:
    inside = min(max(probability, 1e-300), 1.0 - 1e-16)
    return math.log(inside / (1.0 - inside))
