"""`vectorise: true`: fewer calls, the same losses within rounding, and no bits mixed up."""

from typing import Literal

import pytest
import torch
from torch import nn

from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.execution.vectorised import VectorisedExecutor
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.sequences import Sequences
from simbench.learning.datasets.text import Text
from simbench.learning.model import Model
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.lstm import LSTM
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.task import Task
from simbench.parallel.parallel import Parallel
from simbench.parallel.pipelines.gpipe import GPipe
from simbench.records import RunFolder
from simbench.report.verdict import verdict
from simbench.run import run
from simbench.scenario import Stop
from simbench.scenario_file import ScenarioError, dump, load
from simbench.simulation import simulate
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.d_psgd import DPSGD
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import small_scenario

NODES = 4

TASKS = {
    "quadratic": Task(model=Quadratic(condition=2, noise=0.5, optimum=(0.0, 1.0)), data=Gaussian()),
    "logistic": Task(model=Logistic(), data=Classification()),
    "gpt": Task(
        model=GPT(layers=1, width=16, heads=2, context=8),
        data=Text(validation_samples=40),
        optimizer=AdamW(learning_rate=0.003),
    ),
}

STRATEGIES = {
    "averaging": Averaging(period=2),
    "parameter_server": ParameterServer(combine="gradients"),
    "asynchronous": Asynchronous(),
    "d_psgd": DPSGD(),
}

UPDATES = 8


def scenario(strategy, task="logistic", dtype="float64", *, vectorise=True, **changes):
    described = {
        "task": (TASKS[task] if isinstance(task, str) else task).model_copy(
            update={"dtype": dtype, "batch_size": 2}
        ),
        "evaluate_every": 2,
        "stop": Stop(samples=2 * NODES * UPDATES),
        "vectorise": vectorise,
        **changes,
    }
    return small_scenario(STRATEGIES[strategy], **described)


def run_on(executor, described, memo=None):
    try:
        return simulate(described, "law", 0, executor, memo or Memo(None))
    finally:
        executor.close()


def losses(outcome):
    return torch.tensor([each.loss for each in outcome.evaluations], dtype=torch.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_losses_are_those_of_a_plain_run_within_rounding(strategy, task, dtype):
    plain = run_on(ThreadExecutor(1), scenario(strategy, task, dtype, vectorise=False))
    executor = VectorisedExecutor("cpu")

    vectorised = run_on(executor, scenario(strategy, task, dtype))

    difference = (losses(vectorised) - losses(plain)).abs() / losses(plain)
    assert difference.max() <= {"float32": 1e-5, "float64": 1e-12}[dtype]
    # All times are the very same: only the arithmetic is another.
    assert [each.time_ns for each in vectorised.evaluations] == [
        each.time_ns for each in plain.evaluations
    ]
    again = run_on(VectorisedExecutor("cpu"), scenario(strategy, task, dtype))
    assert again.evaluations == vectorised.evaluations
    assert again.summary == vectorised.summary


def test_a_model_in_stages_trains_as_well():
    """Its stages run one by one, since each has what the one before made; steps run together."""
    split = {"parallel": Parallel(pipeline=GPipe(stages=2, microbatches=2), tensor=2)}
    task = TASKS["gpt"].model_copy(update={"model": GPT(layers=2, width=16, heads=2, context=8)})
    plain = run_on(ThreadExecutor(1), scenario("averaging", task, vectorise=False, **split))
    executor = VectorisedExecutor("cpu")

    vectorised = run_on(executor, scenario("averaging", task, **split))

    assert ((losses(vectorised) - losses(plain)).abs() / losses(plain)).max() <= 1e-12
    assert executor.calls_run["part_backward"] == executor.operations_run["part_backward"]
    assert executor.calls_run["step"] < executor.operations_run["step"]


@pytest.mark.parametrize("strategy", ["averaging", "parameter_server", "d_psgd"])
def test_the_gradients_of_a_synchronous_step_are_one_call(strategy):
    executor = VectorisedExecutor("cpu")
    run_on(executor, scenario(strategy, "gpt"))

    assert executor.operations_run["gradient"] == NODES * UPDATES
    assert executor.calls_run["gradient"] == UPDATES
    # Of 16, 16 and 8 samples; at the start and after every second update.
    assert executor.operations_run["evaluate_part"] == 3 * (1 + UPDATES // 2)
    assert executor.calls_run["evaluate_part"] == 2 * (1 + UPDATES // 2)


def test_asynchronous_gradients_share_calls_though_nobody_waits():
    executor = VectorisedExecutor("cpu")
    run_on(executor, scenario("asynchronous"))

    assert executor.operations_run["gradient"] == NODES * UPDATES
    assert executor.calls_run["gradient"] < NODES * UPDATES / 2


def test_one_memo_never_mixes_the_bits_of_both_kinds_of_run():
    memo = Memo(None)
    run_on(ThreadExecutor(1), scenario("averaging", vectorise=False), memo)
    first, second = VectorisedExecutor("cpu"), VectorisedExecutor("cpu")

    outcome = run_on(first, scenario("averaging"), memo)
    again = run_on(second, scenario("averaging"), memo)

    assert first.operations_run["gradient"] == NODES * UPDATES
    assert second.operations_run["gradient"] == 0
    assert again.evaluations == outcome.evaluations


@pytest.mark.parametrize("vectorise", [True, False])
def test_an_executor_of_the_other_kind_is_refused(vectorise):
    other = ThreadExecutor(1) if vectorise else VectorisedExecutor("cpu")

    with pytest.raises(ValueError, match=f"vectorise: {str(vectorise).lower()} in the scenario"):
        run_on(other, scenario("averaging", vectorise=vectorise))


def test_the_records_say_so(tmp_path):
    plain, vectorised = (scenario("averaging", vectorise=each) for each in (False, True))
    assert plain.run_id != vectorised.run_id
    folders = []
    for described, executor in (
        (plain, ThreadExecutor(1)),
        (vectorised, VectorisedExecutor("cpu")),
    ):
        folder = RunFolder(tmp_path / described.run_id)
        folders.append(run(described, executor, Memo(None), folder))
        executor.close()
    before, after = folders

    assert "vectorise: true" in after.scenario_yaml
    assert "vectorise" not in before.scenario_yaml
    assert after.provenance["operations"]["calls"]["gradient"] == UPDATES
    assert after.provenance["operations"]["run"]["gradient"] == NODES * UPDATES
    assert "calls" not in before.provenance["operations"]
    assert after.provenance["fingerprint"]["vectorised"] == "64 operations a call"
    assert "ran as one call (vectorise: true)" in " ".join(verdict(after))
    assert "vectorise" not in " ".join(verdict(before))


class Reads(Model):
    """Looks at a number to decide what to do, so that nodes can't be done together."""

    kind: Literal["reads"] = "reads"

    @property
    def takes(self):
        return "noise"

    @property
    def length(self):
        return 3

    def build(self):
        return nn.Linear(3, 1)

    def initialise(self, module, generator):
        for parameter in module.parameters():
            nn.init.zeros_(parameter)

    def loss(self, module, batch):
        told = module(batch[0]).square().mean()
        return told if told.item() > 1 else 2 * told


class Drops(Reads):
    """Draws from torch's own generator."""

    kind: Literal["drops"] = "drops"

    def loss(self, module, batch):
        return nn.functional.dropout(module(batch[0])).square().mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": Reads(), "data": Gaussian()}, "model reads can't be computed for several nodes"),
        ({"model": Drops(), "data": Gaussian()}, "model drops can't be computed for several nodes"),
        ({"model": LSTM(), "data": Sequences()}, "model lstm can't be computed for several nodes"),
        ({"compile": True}, "can't be combined with task.compile"),
    ],
)
def test_what_cannot_be_vectorised_is_refused_in_words(changes, message):
    task = TASKS["logistic"].model_copy(update=changes)
    scenario("averaging", task, vectorise=False)

    with pytest.raises(ValueError, match=f"vectorise\n.*{message}"):
        scenario("averaging", task)


@pytest.mark.parametrize("values", ["vectorise: [false, true]", "deterministic: [true, false]"])
def test_one_executor_computes_all_points_of_a_sweep(values, tmp_path):
    file = tmp_path / "swept.yaml"
    text = dump(scenario("averaging", vectorise=False))
    file.write_text(f"{text}sweep:\n  {values}\n", encoding="utf-8")

    with pytest.raises(ScenarioError, match=f"{values.split(':')[0]} holds for all points"):
        load(file)


def test_giving_up_the_same_bits_is_another_question_and_the_verdict_says_so(tmp_path):
    plain = scenario("averaging", vectorise=False)
    given_up = scenario("averaging", vectorise=False, deterministic=False)
    assert plain.run_id != given_up.run_id
    assert "deterministic" not in plain.model_dump(mode="json")
    executor = ThreadExecutor(1)

    folder = run(given_up, executor, Memo(None), RunFolder(tmp_path / "run"))

    executor.close()
    assert "deterministic: false" in folder.scenario_yaml
    assert "the same run may give other losses each time" in " ".join(verdict(folder))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_on_a_gpu_losses_are_those_of_the_processor_and_the_same_bits_twice(strategy):
    described = scenario(strategy, "gpt", "float32")
    on_cpu = run_on(VectorisedExecutor("cpu"), described)
    executor = VectorisedExecutor("cuda")

    on_gpu = run_on(executor, described)

    assert executor.fingerprint["device"] == "cuda"
    assert executor.calls_run["gradient"] < executor.operations_run["gradient"]
    torch.testing.assert_close(losses(on_gpu), losses(on_cpu), rtol=1e-4, atol=0)
    again = run_on(VectorisedExecutor("cuda"), described)
    assert again.evaluations == on_gpu.evaluations
    assert again.summary == on_gpu.summary
