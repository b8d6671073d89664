"""Weighted max-min fairness from scratch, in fractions, by its definition: slow and plain."""

from fractions import Fraction


def fair_rates(paths, link_rates, weights=None, caps=None):
    """Return the rate of each flow: let all grow alike until a link or a cap stops some.

    A cap is a link that nobody else uses. A flow that nothing stops has no rate (None).
    """
    weights = [Fraction(weight) for weight in weights or [1] * len(paths)]
    left = {("link", i): Fraction(rate) for i, rate in enumerate(link_rates)}
    over = [[("link", link) for link in path] for path in paths]
    for flow, cap in enumerate(caps or []):
        if cap is not None:
            left["cap", flow] = Fraction(cap)
            over[flow].append(("cap", flow))
    rates = [None] * len(paths)
    growing = {flow for flow in range(len(paths)) if over[flow]}
    while growing:
        shares = {}
        for link, bps in left.items():
            weight = sum(weights[flow] for flow in growing if link in over[flow])
            if weight:
                shares[link] = bps / weight
        level = min(shares.values())
        full = {link for link, share in shares.items() if share == level}
        stopped = {flow for flow in growing if full & set(over[flow])}
        for flow in stopped:
            rates[flow] = level * weights[flow]
            for link in over[flow]:
                left[link] -= rates[flow]
        growing -= stopped
    return rates
