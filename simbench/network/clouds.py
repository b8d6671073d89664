"""Latency and bandwidth between regions of a public cloud, as published.

Source:
    Yuan, He, Davis, Zhang, Dao, Chen, Liang, Re, Zhang, "Decentralized Training of Foundation
    Models in Heterogeneous Environments", NeurIPS 2022, arXiv:2206.01288: delay and bandwidth
    between regions of Amazon Web Services, from ``scheduler/generate_sim_com_matrices.py`` of
    github.com/DS3Lab/DT-FM (MIT licence, commit 69f05e5).

The source doesn't say whether a delay is there and back; its values are those that ``ping`` shows
between these regions, so they are taken for round trips, and halved. Bandwidth is that of one pair
of machines.
"""

AWS_REGIONS = (
    "us-west-2",  # Oregon
    "us-east-1",  # Virginia
    "us-east-2",  # Ohio
    "ap-northeast-1",  # Tokyo
    "ap-northeast-2",  # Seoul
    "ap-southeast-1",  # Singapore
    "ap-southeast-2",  # Sydney
    "eu-west-2",  # London
    "eu-central-1",  # Frankfurt
    "eu-west-1",  # Ireland
)
"""Regions that the table knows, in its order."""

# Above the diagonal: round trip in ms. Below it: bandwidth in Mbit/s.
_AWS = (
    (   0,   67,   49,   96,  124,  163,  139,  136,  143,  124),
    ( 790,    0,   11,  143,  172,  230,  197,   76,   90,   67),
    (1100, 1120,    0,  130,  159,  197,  185,   86,   99,   77),
    ( 523,  524,  694,    0,   34,   73,  100,  210,  223,  199),
    ( 460,  500,  529, 1100,    0,   74,  148,  238,  235,  228),
    ( 341,  364,  452, 1010, 1140,    0,   92,  169,  155,  179),
    ( 360,  383,  484,  761,  580,  816,    0,  262,  265,  254),
    ( 420, 1160, 1050,  366,  342,  500,  326,    0,   14,   12),
    ( 404, 1020,  799,  360,  358,  535,  328, 1140,    0,   24),
    ( 482, 1050, 1140,  465,  335,  492,  344, 1090, 1080,    0),
)  # fmt: skip


def aws(one: str, other: str) -> tuple[int, int]:
    """Return the latency in ns, one way, and the rate in bit/s between two regions of AWS.

    >>> aws("us-west-2", "us-east-1")
    (33500000, 790000000)
    """
    low, high = sorted((AWS_REGIONS.index(one), AWS_REGIONS.index(other)))
    return _AWS[low][high] * 10**6 // 2, _AWS[high][low] * 10**6
