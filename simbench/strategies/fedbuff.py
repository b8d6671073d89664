"""Buffered asynchronous aggregation: workers wait for nobody, the server for a few changes."""

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from simbench.damping import DampingChoice
from simbench.dampings.polynomial import PolynomialDamping
from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy, ServerPlace


class FedBuff(CompressingStrategy):
    """The server gathers K changes, whoever they are from, and adds their damped mean.

    A worker takes ``period`` local steps from the w that it read and pushes what they changed,
    delta_i; the server returns w as it then is, and the worker goes on. With ``buffer`` K

        w <- w + eta / K sum_i s(tau_i) delta_i     once K have come; then the buffer is empty

    where eta is ``server_rate``, tau_i counts the versions of w between reading and adding, and s
    is the ``damping``. One worker may be in a buffer several times. With K = 1, ``period`` 1,
    eta = 1 and constant damping it is ``asynchronous``.

    Source:
        Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022,
        arXiv:2106.06639, algorithms 1 and 2; damping 1 / sqrt(1 + tau) as in its experiments,
        K = 10. Its clients are drawn anew for each task; here each worker goes on.
    """

    kind: Literal["fedbuff"] = "fedbuff"
    buffer: PositiveInt = 4
    """K, the changes behind one version of the model."""
    period: PositiveInt = 4
    """Local steps behind a change."""
    server_rate: PositiveFloat = 1.0
    """eta, a factor on the mean change."""
    damping: DampingChoice = PolynomialDamping()
    """s, how much of a stale change is added."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    def batches_per_count(self, num_workers: int) -> int:
        """Return the local steps behind K changes."""
        return self.buffer * self.period

    def work(self, node: Node) -> Steps:
        """Step from what the server last sent, push the change, wait for the server's answer."""
        state, exchange = node.initial_state(), self.exchange(node)
        while True:
            read = state.parameters
            for _ in range(self.period):
                state = node.step(state, (yield node.compute_gradient(state.parameters)))
            pushed = yield from exchange.encode(node.subtract(state.parameters, read))
            node.send(node.server, pushed, tag="push")
            model = yield node.receive("model")
            state = state.with_parameters(model.body)

    def serve(self, node: Node) -> Steps:
        """Gather changes and add K at a time; answer each with the newest parameters.

        A worker that joins is answered, too.
        """
        update, parameters, gathered = node.resume(0, node.initial_state().parameters, ())
        exchange = self.exchange(node)
        read = dict.fromkeys(node.workers, update)
        while True:
            push = yield node.receive(("push", "join"))
            if push.tag == "push":
                change = exchange.decode(push.body)
                gathered = (*gathered, (change, update - read[push.sender]))
            if len(gathered) == self.buffer:
                changes, stalenesses = zip(*gathered, strict=True)
                share = self.server_rate / self.buffer
                weights = [share * self.damping.factor(each) for each in stalenesses]
                parameters = node.add(parameters, node.mix(*changes, weights=weights))
                update, gathered = update + 1, ()
                contributor = push.sender if self.buffer == 1 else None
                node.publish(
                    parameters, update, contributor=contributor, staleness=max(stalenesses)
                )
            node.send(push.sender, parameters, tag="model")
            read[push.sender] = update
            yield from node.keep(update, parameters, gathered)
