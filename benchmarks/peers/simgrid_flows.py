"""Flows over given links by SimGrid: a process for the interpreter that has its Python binding.

    /usr/bin/python3 -I simgrid_flows.py < PROBLEM.json

Reads {"links": [[bit/s, latency in s], ...], "nodes": n, "flows": [[sender, receiver, bytes,
start in s, [links]], ...]} and prints when each flow ends, in seconds of virtual time. Model CM02:
latency, then a share of the links that is max-min fair with weights of 1/latency; no cross-traffic
and no limit by a TCP window.
"""

import json
import sys

import simgrid

OPTIONS = [
    "network/model:CM02",
    "network/crosstraffic:0",
    "network/TCP-gamma:1e30",
    "surf/precision:1e-12",
    "maxmin/precision:1e-12",
]


def main() -> None:
    """Read, simulate, print."""
    problem = json.load(sys.stdin)
    options = ["--log=root.thresh:critical", *("--cfg=" + option for option in OPTIONS)]
    engine = simgrid.Engine(["flows", *options])
    zone = simgrid.NetZone.create_full_zone("zone")
    hosts = [zone.create_host(f"h{rank}", 1e9) for rank in range(problem["nodes"])]
    links = [
        zone.create_link(f"l{index}", rate_bps / 8).set_latency(latency_s).seal()
        for index, (rate_bps, latency_s) in enumerate(problem["links"])
    ]
    routed = set()
    for sender, receiver, _, _, way in problem["flows"]:
        if (sender, receiver) not in routed:
            routed.add((sender, receiver))
            ends = hosts[sender].netpoint, hosts[receiver].netpoint
            hops = [simgrid.LinkInRoute(links[index]) for index in way]
            zone.add_route(*ends, None, None, hops, False)
    zone.seal()
    ended: list[float] = [0.0] * len(problem["flows"])
    for number, flow in enumerate(problem["flows"]):
        simgrid.Actor.create(f"f{number}", hosts[flow[0]], carry, hosts, flow, number, ended)
    engine.run()
    print(json.dumps(ended))


def carry(hosts: list, flow: list, number: int, ended: list) -> None:
    """Send one flow when its time has come."""
    sender, receiver, num_bytes, start_s, _ = flow
    if start_s:
        simgrid.this_actor.sleep_until(start_s)
    simgrid.Comm.sendto(hosts[sender], hosts[receiver], num_bytes)
    ended[number] = simgrid.Engine.clock


if __name__ == "__main__":
    main()
