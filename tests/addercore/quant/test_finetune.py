"""Fine-tuning: the fake-quantised network is the integer one, and its training repeats and resumes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from addercore.errors import Diverged, Stopped
from addercore.quant import fast, quantize
from addercore.quant.fake import FakeNetwork, stored, straight
from addercore.quant.plan import format_for
from addercore.runtime.program import SCORES
from tests.addercore.quant.models import SHAPES, images_for, model_of, only_powers_of_two

pytestmark = pytest.mark.filterwarnings("ignore:.*calibration images")


@pytest.mark.parametrize(
    ("arch", "method", "first_last", "options"),
    [
        ("lenet5_bn", "adder", "adder", {"bits": 8}),
        ("lenet5_bn", "adder", "adder", {"bits": 4}),
        ("lenet5_bn", "adder", "adder", {"bits": 4, "groups": 3}),
        ("lenet5_bn", "adder", "adder", {"bits": 8, "rescale": "shift"}),
        ("lenet5_bn", "conv", "conv", {"bits": 4}),
        ("resnet20", "adder", "conv", {"bits": 6}),
        ("resnet20", "adder", "adder", {"bits": 4, "groups": 2, "rescale": "shift"}),
        ("resnet20", "conv", "conv", {"bits": 8, "rescale": "shift"}),
    ],
)
def test_the_fake_network_has_the_numbers_of_the_program(
    arch: str, method: str, first_last: str, options: dict[str, Any]
) -> None:
    """Each operation, on the program's own input: float32 rounds few codes otherwise, and by one."""
    images = images_for(SHAPES[arch], 8)
    made = quantize(model_of(arch, method, first_last, seen=8), images, search=False, **options)
    fake = FakeNetwork(made.graph, made.plan, torch.from_numpy(images))
    expected = fast.values(made.program, images)
    shared = made.graph.stored_in()
    allowed = 0.005 if options.get("groups") else 0.001  # the excess is rounded in the program alone
    real = {number: made.plan.formats[shared[number]].real(codes) for number, codes in expected.items() if number >= 0}
    torch.testing.assert_close(fake.values(torch.from_numpy(images))[0], real[0])
    for node in made.graph.nodes:
        with torch.no_grad():
            found = fake.computed(node, real)
        if node.target == SCORES:
            torch.testing.assert_close(found.flatten(1), expected[SCORES], rtol=1e-3, atol=1e-3)
            continue
        difference = (made.plan.formats[shared[node.target]].codes(found) - expected[node.target]).abs()
        assert (difference > 0).sum() <= 2 + allowed * difference.numel(), node.name
        assert difference.max() <= 1, node.name


def test_what_was_fine_tuned_is_what_the_program_computes() -> None:
    images = images_for(SHAPES["lenet5_bn"], 12)
    labels = np.arange(12) % 4
    model = model_of(seen=12)
    states: list[Any] = []
    before = quantize(model, images, bits=4, labels=labels)
    settings = {"epochs": 3, "lr": 0.05, "batch_size": 4}
    after = quantize(model, images, bits=4, labels=labels, finetune=settings, on_epoch=states.append)
    assert [state["epoch"] for state in states] == [1, 2, 3]
    assert not torch.equal(after.graph.layers[1].weight, before.graph.layers[1].weight)
    assert after.plan.formats == before.plan.formats
    fake = FakeNetwork(before.graph, before.plan, torch.from_numpy(images))
    fake.load_state_dict(states[-1]["model"])
    with torch.no_grad():
        scores = fake(torch.from_numpy(images))
    np.testing.assert_allclose(after.run(images), scores.numpy(), atol=0.1 * float(scores.abs().max()))
    wanted = torch.from_numpy(labels)
    scored = [torch.from_numpy(one.run(images)) for one in (before, after)]
    first, second = (float(cross_entropy(one, wanted)) for one in scored)
    assert second < first


def test_it_repeats_and_resumes_to_the_same_bits() -> None:
    images = images_for(SHAPES["lenet5_bn"], 10)
    model = model_of(seen=10)
    states: list[Any] = []
    options: dict[str, Any] = {"bits": 5, "finetune": {"epochs": 2, "batch_size": 4}, "seed": 3}
    whole = quantize(model, images, on_epoch=states.append, **options)
    again = quantize(model, images, **options)
    resumed = quantize(model, images, resume=states[0], **options)
    other = quantize(model, images, **options | {"seed": 4})
    np.testing.assert_array_equal(whole.run(images), again.run(images))
    np.testing.assert_array_equal(whole.run(images), resumed.run(images))
    assert not np.array_equal(whole.run(images), other.run(images))
    with pytest.raises(ValueError, match="other settings"):
        quantize(model, images, resume=states[0], bits=5, finetune={"epochs": 3, "batch_size": 4})


def test_progress_is_told_and_may_end_the_call() -> None:
    images = images_for(SHAPES["lenet5_bn"], 8)
    told: list[tuple[str, float]] = []
    options: dict[str, Any] = {"finetune": {"epochs": 2, "batch_size": 4}, "search": False}
    quantize(model_of(), images, on_progress=lambda what, part: told.append((what, part)), **options)
    assert list(dict.fromkeys(what for what, _ in told)) == ["calibrating", "correcting", "fine-tuning"]
    for phase in ("calibrating", "correcting", "fine-tuning"):
        parts = [part for what, part in told if what == phase]
        assert parts[0] == 0
        assert parts == sorted(set(parts))
        assert parts[-1] < 1

    def stop(what: str, part: float) -> None:
        if what == "fine-tuning" and part > 0:
            raise Stopped

    with pytest.raises(Stopped):
        quantize(model_of(), images, on_progress=stop, **options)


def test_gains_that_were_trained_are_powers_of_two_again() -> None:
    images = images_for(SHAPES["lenet5_bn"], 8)
    settings = {"epochs": 2, "lr": 0.1, "batch_size": 4}
    made = quantize(model_of(), images, bits=6, groups=2, rescale="shift", finetune=settings, search=False)
    only_powers_of_two(made.program)
    units = made.graph.layers[0].gain.abs().log2()
    assert not torch.equal(units.sub(units[0]), units.sub(units[0]).round())  # the float gains did train


def test_gradients_pass_through_rounding_and_stop_at_the_ranges() -> None:
    x = torch.tensor([-1.0, 0.2, 0.9, 3.0], requires_grad=True)
    found = stored(x, format_for(0.0, 1.5, 2))
    assert found.tolist() == [0.0, 0.0, 1.0, 1.5]
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    weight = torch.tensor([2.7], requires_grad=True)
    straight(weight, torch.tensor([3.0])).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.item() == 1.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, r"finetune\.epochs must be an integer ≥ 1, got 0"),
        ({"lr": -1.0}, r"finetune\.lr must be > 0"),
        ({"lr": float("nan")}, r"finetune\.lr must be > 0"),
        ({"distill": 2.0}, r"finetune\.distill must be from 0 to 1"),
        ({"rate": 1}, r"unknown finetune field 'rate'; known: .*lr"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        quantize(model_of(), images_for(SHAPES["lenet5_bn"], 4), finetune=settings)


def test_a_rate_that_is_far_too_high_is_named() -> None:
    with pytest.raises(Diverged, match="smaller lr"):
        quantize(model_of(), images_for(SHAPES["lenet5_bn"], 40), finetune={"epochs": 5, "lr": 1e30, "batch_size": 4})
