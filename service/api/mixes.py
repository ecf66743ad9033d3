"""The class mix that a request's answers are for: stated, or estimated from its items."""

import asyncio
from collections.abc import Sequence

from contract.estimation import estimate_mix
from contract.priors import Mix, PriorError, resolve_prior
from service.classifier import Classification
from service.errors import InvalidInput, Reason, ServiceError
from service.models.model import ServedTask
from service.schemas import Options


def require_mix(served: ServedTask, options: Options) -> Mix:
    """The mix for items that are answered one by one.

    Raises InvalidInput for `estimate`: an item alone says nothing of a mix, and in a stream or a
    live dialogue the first is answered before the others are there.
    """
    mix = resolve_mix(served, options)
    if mix is None:
        raise _refuse(
            "estimate needs items that come together: use a batch or a whole dialogue, or state "
            "the mix as uniform, training or a share for each label"
        )
    return mix


def resolve_mix(served: ServedTask, options: Options) -> Mix | None:
    """The mix that the options state; None for `estimate`. InvalidInput for what cannot be."""
    labels, training = served.task.label_set.ids, served.task.training_prior
    try:
        return resolve_prior(labels, training, options.prior or "uniform")
    except PriorError as error:
        raise _refuse(str(error)) from None


async def find_mix(
    served: ServedTask, mix: Mix | None, outcomes: Sequence[Classification | ServiceError]
) -> Mix:
    """The mix, estimated from what was classified where it is None."""
    if mix is not None:
        return mix
    items = [each.probabilities for each in outcomes if isinstance(each, Classification)]
    # Some tenths of a second for the largest batch: other requests go on meanwhile.
    return await asyncio.to_thread(estimate_mix, served.task.training_prior, items)


def _refuse(reason: str) -> InvalidInput:
    reasons = [Reason("query.prior", reason)]
    return InvalidInput("the input breaks a rule; `errors` names the fields", reasons=reasons)
