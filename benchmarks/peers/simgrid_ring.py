"""Ring all-reduces by SimGrid's Python binding: a process for the interpreter that has it.

    /usr/bin/python3 -I simgrid_ring.py NODES ALL_REDUCES actors|one_actor

Prints as JSON how many transfers it simulated, in how many seconds of processor time, and the
virtual time in seconds. ``actors`` is one actor per node with mailboxes, as SimGrid's examples are
written; ``one_actor`` starts all transfers of a step from a single actor and waits for them.
"""

import json
import sys
import time

import simgrid

NUM_BYTES = 10**6
RATE_BYTES = 125e6
LATENCY_S = 5e-5  # of each of the two links on a way


def main() -> None:
    """Run and print."""
    nodes, all_reduces, style = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    engine = simgrid.Engine(
        [
            "ring",
            "--cfg=network/model:CM02",
            "--cfg=network/crosstraffic:0",
            "--cfg=network/TCP-gamma:1e30",
            "--log=root.thresh:critical",
        ]
    )
    hosts = star(nodes)
    num_steps = 2 * (nodes - 1) * all_reduces
    chunk = NUM_BYTES // nodes
    if style == "actors":
        for rank, host in enumerate(hosts):
            simgrid.Actor.create(f"n{rank}", host, worker, rank, nodes, num_steps, chunk)
    else:
        simgrid.Actor.create("all", hosts[0], conductor, hosts, num_steps, chunk)
    begun_s = time.process_time()
    engine.run()
    taken_s = time.process_time() - begun_s
    virtual_s = simgrid.Engine.clock
    print(json.dumps([num_steps * nodes, taken_s, virtual_s]))


def star(nodes: int) -> list:
    """Make hosts with a link up and a link down each, and routes between neighbours."""
    zone = simgrid.NetZone.create_full_zone("zone")
    hosts = [zone.create_host(f"h{rank}", 1e9) for rank in range(nodes)]
    up = [link(zone, f"up{rank}") for rank in range(nodes)]
    down = [link(zone, f"down{rank}") for rank in range(nodes)]
    for a in range(nodes):
        b = (a + 1) % nodes
        way = [simgrid.LinkInRoute(up[a]), simgrid.LinkInRoute(down[b])]
        zone.add_route(hosts[a].netpoint, hosts[b].netpoint, None, None, way, False)
    zone.seal()
    return hosts


def link(zone: simgrid.NetZone, name: str) -> simgrid.Link:
    """Make one direction of a cable."""
    return zone.create_link(name, RATE_BYTES).set_latency(LATENCY_S).seal()


def worker(rank: int, nodes: int, num_steps: int, chunk: int) -> None:
    """Send a chunk to the next node and await one from the one before, step by step."""
    to = simgrid.Mailbox.by_name(f"m{(rank + 1) % nodes}")
    own = simgrid.Mailbox.by_name(f"m{rank}")
    for _ in range(num_steps):
        sending = to.put_async(0, chunk)
        own.get()
        sending.wait()


def conductor(hosts: list, num_steps: int, chunk: int) -> None:
    """Start a step's transfers, wait for all of them, go on."""
    pairs = list(zip(hosts, hosts[1:] + hosts[:1], strict=True))
    for _ in range(num_steps):
        simgrid.Comm.wait_all([simgrid.Comm.sendto_async(a, b, chunk) for a, b in pairs])


if __name__ == "__main__":
    main()
