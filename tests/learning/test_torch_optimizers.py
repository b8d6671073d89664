"""Any optimiser of torch by its name: the same bits as torch's, or a refusal in words."""

import pytest
import torch
from pydantic import ValidationError

from simbench import testing
from simbench.learning import operations
from simbench.learning.operations import Step
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.torch_optim import TorchOptimizer
from simbench.learning.task import Task
from simbench.scenario_file import ScenarioError, dump, load
from simbench.strategies.averaging import Averaging
from simbench.testing import run, small_scenario

ENTRY_BY_ENTRY = {
    "ASGD": ({"t0": 1.0}, 1),
    "Adadelta": ({"rho": 0.8}, 2),
    "Adagrad": ({"lr_decay": 0.1}, 1),
    "Adam": ({"betas": (0.8, 0.99), "amsgrad": True}, 3),
    "AdamW": ({"weight_decay": 0.1}, 2),
    "Adamax": ({"eps": 1e-6}, 2),
    "NAdam": ({"momentum_decay": 0.01}, 2),
    "RAdam": ({"betas": (0.9, 0.99)}, 2),
    "RMSprop": ({"centered": True, "momentum": 0.9}, 3),
    "Rprop": ({"etas": (0.4, 1.3)}, 2),
    "SGD": ({"momentum": 0.9, "dampening": 0.5}, 1),
}


@pytest.mark.parametrize(
    ("name", "options", "vectors"), [(n, *v) for n, v in ENTRY_BY_ENTRY.items()]
)
def test_steps_are_torchs_own_to_the_last_bit_in_any_pieces(
    name, options, vectors, tasks, bench_for, monkeypatch
):
    chosen = TorchOptimizer(name=name, options=options, learning_rate=0.05)
    testing.check_optimizer(chosen)
    assert chosen.state_vectors == vectors

    # A length that no other test has: what a thread keeps goes by the number of pieces.
    monkeypatch.setattr(operations, "_PIECE", 7)
    x, *gradients = torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    parameter = torch.nn.Parameter(x.clone())
    plain = getattr(torch.optim, name)([parameter], lr=0.05, **options)
    step, state = Step(bench_for(tasks["quadratic"]), chosen), {}
    for gradient in gradients:
        x, state = step(x, state, gradient)
        parameter.grad = gradient.clone()
        plain.step()
        assert torch.equal(x, parameter.detach())


def test_the_options_tell_identities_apart(tasks, bench_for):
    bench = bench_for(tasks["quadratic"])
    chosen = [
        TorchOptimizer(name="Adam"),
        TorchOptimizer(name="Adamax"),
        TorchOptimizer(name="Adam", options={"eps": 1e-7}),
        TorchOptimizer(name="Adam", options={"eps": 1e-7, "betas": (0.9, 0.9)}),
    ]
    assert len({Step(bench, each).identity for each in chosen}) == len(chosen)


def test_adamw_by_name_trains_as_its_own_kind_does():
    named = TorchOptimizer(name="AdamW", learning_rate=0.05, options={"betas": (0.8, 0.99)})
    own = AdamW(learning_rate=0.05, beta1=0.8, beta2=0.99)
    losses = []
    for optimizer in (named, own):
        scenario = small_scenario(Averaging(period=2))
        task = scenario.task.model_copy(update={"optimizer": optimizer})
        losses.append(run(scenario.model_copy(update={"task": task})).evaluations)
    assert losses[0] == losses[1]


# -- through a file

FILE = """
name: by-name
task:
  model: {kind: quadratic}
  data: {kind: gaussian}
  optimizer: {kind: torch, name: NAME, options: OPTIONS}
network: {kind: instant}
strategies: {only: {kind: averaging}}
cluster: {nodes: 2, machine: {kind: fixed}}
stop: {updates: 2}
"""


def loaded(folder, name, options="{}"):
    path = folder / "scenario.yaml"
    path.write_text(FILE.replace("NAME", name).replace("OPTIONS", options))
    return load(path)


def test_a_file_keeps_the_name_and_its_options(tmp_path):
    scenario = loaded(tmp_path, "RAdam", "{betas: [0.9, 0.99], weight_decay: 0.1}")
    expected = TorchOptimizer(name="RAdam", options={"weight_decay": 0.1, "betas": (0.9, 0.99)})
    assert scenario.task.optimizer == expected
    again = tmp_path / "again.yaml"
    again.write_text(dump(scenario))
    assert load(again) == scenario


@pytest.mark.parametrize(
    ("name", "options", "where", "what"),
    [
        ("Radam", "{}", "name", "unknown optimiser of torch 'Radam'; did you mean 'RAdam'?"),
        ("Optimizer", "{}", "name", "unknown optimiser of torch 'Optimizer'"),
        ("RAdam", "{beta: 0.9}", "options.beta", "option of RAdam 'beta'; did you mean 'betas'?"),
        ("Adam", "{lr: 0.1}", "options.lr", "is set by learning_rate"),
        ("Adam", "{maximize: true}", "options.maximize", "unknown option of Adam 'maximize'"),
        ("Adam", "{betas: [0.9, 2.0]}", "options", "Invalid beta parameter at index 1: 2.0"),
        ("Adam", "{betas: 0.9}", "options", "torch.optim.Adam refuses them"),
        ("Adam", "{eps: tiny}", "options", "torch.optim.Adam refuses them"),
        ("LBFGS", "{}", "name", "can't step on a flat vector"),
        ("SparseAdam", "{}", "name", "can't step on a flat vector"),
        ("Muon", "{}", "name", "can't step on a flat vector"),
        ("Adafactor", "{}", "name", "Adafactor doesn't work entry by entry"),
    ],
)  # fmt: skip
def test_what_does_not_work_is_refused_in_one_message(tmp_path, name, options, where, what):
    with pytest.raises(ScenarioError) as told:
        loaded(tmp_path, name, options)
    message = str(told.value)
    assert f"task.optimizer.{where}: " in message
    assert what in message
    assert len(message.splitlines()) == 1


def test_memory_counts_what_the_optimiser_remembers():
    plain = Task(optimizer=TorchOptimizer(name="SGD"))
    adam = Task(optimizer=TorchOptimizer(name="Adam", options={"amsgrad": True}))
    assert adam.training_bytes - plain.training_bytes == 3 * plain.vector_bytes


def test_json_brings_it_back():
    chosen = TorchOptimizer(name="RAdam", options={"betas": (0.9, 0.99)})
    assert TorchOptimizer.model_validate_json(chosen.model_dump_json()) == chosen
    with pytest.raises(ValidationError):
        TorchOptimizer(options={"momentum": 0.9})
