"""Shift records of the SFT runs of a made-up reproduction."""

from points24.harness.records.shift import SCHEMA, Estimate, Layer, ShiftRecord
from points24.tasks.hand_sets import hand_set
from tests.harness.experiment.test_measures import STEPS

DIGEST = "0" * 64
LOSS = {step: 0.5 - 0.1 * i for i, step in enumerate(STEPS)}
"""ID loss and training loss: they fall to the end."""
PREFERENCE = {step: 8.0 - 4.0 * i for i, step in enumerate(STEPS)}


def shift_record(model: str, step: int, side: str, loss: float, preference: float) -> ShiftRecord:
    def estimate(mean: float) -> Estimate:
        return Estimate(mean, mean - 0.01, mean + 0.01, 100)

    measures = {"nll": estimate(loss if side == "id" else 1 - loss), "kl_samples": estimate(0.1 * step / 10)}
    if side == "ood":
        measures["preference"] = estimate(preference)
    place = (0.0 if side == "id" else 1.0) - step / 1000
    layer = Layer(layer=1, cka=0.9, shift=-step / 1000, centroid=(place, 0.1), spread=(0.2, 0.0, 0.1))
    return ShiftRecord(
        schema=SCHEMA,
        model=model,
        step=step,
        weights_sha256=DIGEST,
        base="nano",
        base_sha256=DIGEST,
        task=f"points24_{side}",
        task_version="1.0",
        rule=side,
        rival="ood" if side == "id" else "id",
        hand_set_digest=hand_set(side).digest,
        template_digest=DIGEST,
        chat_template_digest=None,
        dtype="float32",
        n=100,
        n_rival=50,
        samples={"seed": 24, "max_new_tokens": 128},
        training_loss=loss if step else None,
        measures=measures,
        layers=(layer,),
        weights={},
    )


def shifts(seeds: int, loss=LOSS, preference=PREFERENCE) -> list[ShiftRecord]:
    """Of the base and of every SFT checkpoint; seeds differ a little."""
    made = [shift_record("nano", 0, side, 0.6, 9.0) for side in ("id", "ood")]
    for seed in range(seeds):
        for step in STEPS:
            model, more = f"sft-{seed}/checkpoint-{step}", 1 + 0.05 * seed
            made += [
                shift_record(model, step, side, loss[step] * more, preference[step] * more)
                for side in ("id", "ood")
            ]
    return made
