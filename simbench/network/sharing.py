"""How flows share links: max-min fairness.

Source:
    Bertsekas and Gallager, "Data Networks", 2nd edition, section 6.5.2 (progressive filling).
"""

import heapq
from collections.abc import Sequence


def max_min_rates(paths: Sequence[Sequence[int]], link_rates: Sequence[float]) -> list[float]:
    """Return the rate of each flow: no flow's can grow without shrinking that of a slower one.

    Every flow then has a saturated link on which no other flow is faster. A flow whose path is
    empty is bounded by nothing: its rate is infinite.

    >>> max_min_rates([[0, 1], [0], [1]], [10, 4])
    [2.0, 8.0, 2.0]

    Args:
        paths: the links of each flow, as indices into ``link_rates``.
        link_rates: what each link carries, in any unit of rate.
    """
    flows_on: dict[int, list[int]] = {}
    for flow, path in enumerate(paths):
        for link in path:
            flows_on.setdefault(link, []).append(flow)
    left = {link: float(link_rates[link]) for link in flows_on}
    num_open = {link: len(flows) for link, flows in flows_on.items()}
    rates = [float("inf")] * len(paths)
    settled = [not path for path in paths]
    # A link is pushed again when its share has changed, so the first entry that still tells its
    # share is the tightest link; what was pushed before that is passed over.
    queue = [(left[link] / count, link) for link, count in num_open.items()]
    heapq.heapify(queue)
    while queue:
        share, tightest = heapq.heappop(queue)
        if not num_open[tightest] or share != left[tightest] / num_open[tightest]:
            continue
        changed = set()
        for flow in flows_on[tightest]:
            if settled[flow]:
                continue
            settled[flow] = True
            rates[flow] = share
            for link in paths[flow]:
                left[link] = max(0.0, left[link] - share)
                num_open[link] -= 1
                changed.add(link)
        for link in sorted(changed):
            if num_open[link]:
                heapq.heappush(queue, (left[link] / num_open[link], link))
    return rates
