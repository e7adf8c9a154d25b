"""Queues in closed form: waits at a single FIFO server, open and closed, and a reader-writer lock with a fair queue."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.polynomial import Polynomial


def mg1_wait(rate: float, service_mean: float, service_square_mean: float) -> float:
    """Mean wait of Poisson requests at one FIFO server: rate E[S^2] / (2 (1 - rho)), rho = rate E[S] < 1.

    rate: requests per unit of time.
    service_mean, service_square_mean: E[S] and E[S^2], in that unit and its square; the wait is in that unit.
    Source: Pollaczek (1930), Khinchine (1932).
    """
    assert rate * service_mean < 1.0, "the queue grows without bound"
    return rate * service_square_mean / (2.0 * (1.0 - rate * service_mean))


def mm1_wait(rho: float, service_mean: float) -> float:
    """Mean wait with exponential service at utilisation ``rho``: rho S / (1 - rho)."""
    return mg1_wait(rho / service_mean, service_mean, 2.0 * service_mean**2)


def md1_wait(rho: float, service: float) -> float:
    """Mean wait with constant service at utilisation ``rho``: half that of exponential service."""
    return mg1_wait(rho / service, service, service**2)


def closed_throughput_bound(requesters: int, think: float, service: float) -> float:
    """Upper bound of the throughput of N requesters that think, then queue for one server: min(N / (Z + S), 1 / S).

    With constant times the throughput reaches the bound once the requesters are out of phase.
    """
    return min(requesters / (think + service), 1.0 / service)


def saturation_requesters(think: float, service: float) -> float:
    """N* = (Z + S) / S: with more requesters the server is never free.

    think, service: Z and S, mean times in one unit.
    """
    return (think + service) / service


def closed_response(requesters: int, think: float, service: float) -> float:
    """Mean response, wait included, of one exponential server with N ``requesters``: mean value analysis, R = S (1 + Q).

    think: Z, mean of any distribution. service: S, mean. R has their unit.
    Source: Reiser and Lavenberg, JACM 27 (1980).
    """
    queue, response = 0.0, service
    for n in range(1, requesters + 1):
        response = service * (1.0 + queue)
        queue = n * response / (think + response)
    return response


def closed_throughput(requesters: int, think: float, service: float) -> float:
    """Throughput that belongs to ``closed_response``: N / (Z + R), requests per unit of ``think`` and ``service``.

    requesters: N.
    """
    return requesters / (think + closed_response(requesters, think, service))


def longest_residual_mean(hold: float, inside: Sequence[float]) -> float:
    """E[longest time that some reader stays on] at a moment independent of the readers; 0 if no reader is inside.

    Reader i holds the lock for ``hold`` and is inside with probability inside[i], the readers independent: the integral of
    1 - prod(1 - inside[i] (1 - x)) over x in [0, 1], times hold.
    """
    nobody_longer = math.prod((Polynomial([1.0 - p, p]) for p in inside), start=Polynomial([1.0]))
    area = nobody_longer.integ()
    return hold * (1.0 - float(area(1.0) - area(0.0)))
