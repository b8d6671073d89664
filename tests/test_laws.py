"""Every plug-in that is discovered passes the laws of its kind: a new file is covered at once."""

import plug_ins
import pytest

from simbench import testing
from simbench.learning.compression.top_k import TopK
from simbench.learning.dataset import Dataset
from simbench.learning.optimizers.sgd import SGD
from simbench.peer_graphs.ring import RingGraph
from simbench.strategies.ad_psgd import ADPSGD
from simbench.strategies.async_local_sgd import AsyncLocalSGD
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.fedasync import FedAsync
from simbench.strategies.fedbuff import FedBuff
from simbench.strategies.hierarchical_averaging import HierarchicalAveraging
from simbench.strategies.parameter_server import ParameterServer


def every(key):
    return [pytest.param(found, id=kind) for kind, found in plug_ins.every(key).items()]


@pytest.mark.parametrize("strategy", every("strategies"))
def test_strategy(strategy):
    testing.check_strategy(strategy)


@pytest.mark.parametrize(
    "strategy",
    [
        ParameterServer(combine="gradients"),
        ParameterServer(server=0),
        Averaging(period=4),
        Averaging(combine="gradients"),
        Averaging(combine="gradients", bucket=3000),
        Averaging(period=4, bucket=3000),
        FedBuff(buffer=1, server=0),
        FedAsync(proximal=0.5, server=0),
        AsyncLocalSGD(grace=20 * testing.MS, local_updates="dynamic", server=0),
        AsyncLocalSGD(grace=None, outer_step="window", outer=SGD(learning_rate=1.0)),
        ADPSGD(graph=RingGraph()),
    ],
    ids=str,
)
def test_strategy_with_other_settings(strategy):
    testing.check_strategy(strategy)


@pytest.mark.parametrize("compression", every("strategies.compression"))
def test_compression(compression):
    testing.check_compression(compression)


@pytest.mark.parametrize("topology", every("network"))
def test_topology(topology):
    testing.check_topology(topology)


@pytest.mark.parametrize("transport", every("network.transport"))
def test_transport(transport):
    testing.check_transport(transport)


@pytest.mark.parametrize("all_reduce", every("all_reduce"))
def test_all_reduce(all_reduce):
    testing.check_collective(all_reduce)


@pytest.mark.parametrize("all_gather", every("all_gather"))
def test_all_gather(all_gather):
    testing.check_collective(all_gather)


@pytest.mark.parametrize("damping", every("strategies.damping"))
def test_damping(damping):
    testing.check_damping(damping)


@pytest.mark.parametrize("condition", every("conditions"))
def test_condition(condition):
    testing.check_condition(condition)


@pytest.mark.parametrize("pipeline", every("parallel.pipeline"))
def test_pipeline(pipeline):
    testing.check_pipeline(pipeline)


@pytest.mark.parametrize("sharding", every("parallel.sharding"))
def test_state_sharding(sharding):
    testing.check_state_sharding(sharding)


@pytest.mark.parametrize("strategy", every("strategies"))
def test_policies(strategy):
    testing.check_policies(strategy)


@pytest.mark.parametrize(
    "strategy",
    [
        ADPSGD(graph=RingGraph()),
        ParameterServer(server=1),
        ParameterServer(servers=3),
        ParameterServer(servers=2, server="colocated"),
        Asynchronous(servers=2),
        Asynchronous(servers=4, server="colocated"),
        HierarchicalAveraging(outer_period=4, compression=TopK()),
    ],
    ids=str,
)
def test_policies_with_other_settings(strategy):
    testing.check_policies(strategy)


@pytest.mark.parametrize("model", every("task.model"))
def test_model(model):
    testing.check_model(model, plug_ins.data_for(model))


@pytest.mark.parametrize("data", every("task.data"))
def test_dataset(data: Dataset):
    testing.check_dataset(data, plug_ins.model_for(data))


@pytest.mark.parametrize("sharding", every("task.shards"))
def test_sharding(sharding):
    testing.check_sharding(sharding)


@pytest.mark.parametrize("optimizer", every("task.optimizer"))
def test_optimizer(optimizer):
    testing.check_optimizer(optimizer)


def test_an_optimizer_with_momentum_remembers_a_vector():
    testing.check_optimizer(SGD(momentum=0.9))


@pytest.mark.parametrize("transform", every("task.gradient"))
def test_transform(transform):
    testing.check_transform(transform)
    testing.check_optimizer(SGD(transforms=(transform,)))


@pytest.mark.parametrize("schedule", every("task.optimizer.schedule"))
def test_schedule(schedule):
    testing.check_schedule(schedule)
    testing.check_optimizer(SGD(schedule=(schedule,)))


@pytest.mark.parametrize("aggregator", every("strategies.aggregator"))
def test_aggregator(aggregator):
    testing.check_aggregator(aggregator)


@pytest.mark.parametrize("fault", every("faults"))
def test_fault(fault):
    testing.check_fault(fault)


@pytest.mark.parametrize("pricing", every("task.priced_as"))
def test_pricing(pricing):
    testing.check_pricing(pricing)


@pytest.mark.parametrize("jitter", every("cluster.machine.jitter"))
def test_jitter(jitter):
    testing.check_jitter(jitter)


@pytest.mark.parametrize("machine", every("cluster.machine"))
def test_machine(machine):
    testing.check_machine(machine)


@pytest.mark.parametrize("straggler", every("cluster.stragglers"))
def test_straggler(straggler):
    testing.check_straggler(straggler)
