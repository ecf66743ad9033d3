"""What the page computes itself is what the contract computes."""

import random
from collections import Counter

import pytest
from playwright.async_api import Page

from contract.estimation import estimate_mix
from contract.priors import shift_prior
from labelling.results.agreement import measure_agreement
from tests.e2e.page.conftest import OpenPage

# The event loop is that of the browser.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(600)]


async def call(page: Page, module: str, function: str, *values: object) -> object:
    script = """async ([module, name, values]) =>
      (await import(new URL(`page/core/${module}.js`, document.baseURI)))[name](...values)"""
    return await page.evaluate(script, [module, function, list(values)])


@pytest.mark.parametrize("number", [0, 1, 7, 300])
async def test_the_mix_of_a_file_is_that_of_the_contract(open_page: OpenPage, number: int) -> None:
    page = await open_page("model")
    source = random.Random(number)
    training = [0.6, 0.25, 0.1, 0.05]
    rows = []
    for _ in range(number):
        weights = [source.random() ** 4 + 1e-6 for _ in training]
        rows.append([weight / sum(weights) for weight in weights])
    shares = await call(page, "mix", "estimateMix", training, rows)
    assert shares == pytest.approx(estimate_mix(training, rows).shares, abs=1e-3)
    again = await call(page, "mix", "estimateMix", training, rows, [0.1, 0.2, 0.3, 0.4])
    assert again == pytest.approx(shares, abs=1e-3)
    for row in rows[:3]:
        shifted = await call(page, "mix", "shiftPrior", row, training)
        assert shifted == pytest.approx(shift_prior(row, training))


async def test_agreement_is_that_of_the_command_line(open_page: OpenPage) -> None:
    page = await open_page("model")
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("c", "c"), ("c", "a"), ("a", "a")]
    found = await call(page, "agreement", "measureAgreement", pairs)
    expected = measure_agreement(Counter(pairs))
    assert isinstance(found, dict)
    assert found["kappa"] == pytest.approx(expected.kappa)
