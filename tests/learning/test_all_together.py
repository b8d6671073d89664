"""Everything that stands around a gradient and a step, at once, on processes as in this one."""

import pytest

from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor
from simbench.scenario import Scenario
from simbench.simulation import simulate

OPTIMIZER = {
    "kind": "torch",
    "name": "RAdam",
    "learning_rate": 0.01,
    "transforms": ({"kind": "momentum"}, {"kind": "clip_by_value"}),
    "schedule": ({"kind": "warmup", "steps": 3}, {"kind": "cosine", "steps": 5}),
}
TASK = {
    "model": {"kind": "gpt", "layers": 1, "width": 16, "heads": 2, "context": 16},
    "data": {"kind": "text", "validation_samples": 16},
    "batch_size": 2,
    "accumulate": 2,
    "optimizer": OPTIMIZER,
    "gradient": ({"kind": "gaussian_noise"}, {"kind": "momentum"}, {"kind": "clip_by_norm"}),
}


@pytest.mark.parametrize(
    "more",
    [
        {"mixed_precision": "bfloat16", "checkpoint_activations": True},
        {"privacy": {"noise_multiplier": 0.5}},
    ],
    ids=["precision", "privacy"],
)
def test_processes_give_the_same_records(more):
    scenario = Scenario.model_validate(
        {
            "name": "together",
            "task": {**TASK, **more},
            "cluster": {"nodes": 3, "machine": {"kind": "fixed", "step_time": "100 ms"}},
            "strategies": {
                "server": {
                    "kind": "parameter_server",
                    "combine": "gradients",
                    "optimizer": {"kind": "sgd", "transforms": ({"kind": "gaussian_noise"},)},
                },
                "alone": {"kind": "slowmo", "period": 2, "buffers": "reset"},
            },
            "evaluate_every": 3,
            "stop": {"updates": 6},
        }
    )
    found = []
    for executor in (ThreadExecutor(1), ProcessExecutor(3, 2)):
        found += [simulate(scenario, name, 0, executor, Memo(None)) for name in scenario.strategies]
        executor.close()
    for here, there in zip(found[:2], found[2:], strict=True):
        assert here.evaluations == there.evaluations
        assert here.summary == there.summary
    assert found[0].summary["parameters_sha256"] != found[1].summary["parameters_sha256"]
