import json
from typing import Any

import pytest

from points24.harness.analysis.comparison import interval_of, recovered_share
from points24.harness.analysis.recovery import against_baseline, missing_references, recipe_of, recoveries
from points24.harness.analysis.recovery_summaries import recovery_sentence, recovery_summary, recovery_table
from points24.harness.analysis.retention import harmonic_mean
from points24.harness.analysis.statistics import holm
from points24.tasks.cards import RULES
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from tests.leaderboards.conftest import record

ON_ID = {
    "task": "points24_id",
    "hand_set": "id",
    "rule": "id",
    "hand_set_digest": hand_set("id", RULES["id"]).digest,
}
DIRECTIONS = {"method": "spectral", "restore": "directions", "ranks": "all", "layers": "all", "modules": None}
INTERPOLATE = {"method": "interpolate", "weight": 0.5, "layers": "all"}
RESET = {"method": "reset", "layers": "first 25%"}


def bits(k, n=20):
    return "1" * k + "0" * (n - k)


def scored(model, ood, of_id=None, n=20, **changes: Any):
    """The OOD record of a model that wins the first so many deals, and its ID record."""
    found = [record(bits(ood, n), model=model, **changes)]
    return found if of_id is None else [*found, record(bits(of_id, n), model=model, **ON_ID | changes)]


def ends(n=20, **changes: Any):
    return [*scored("early", 15, 8, n, **changes), *scored("late", 3, 18, n, **changes)]


def recovered(model, ood, of_id=None, recipe=DIRECTIONS, pair=("early", "late"), **changes):
    recipe = {"source": pair[0], "target": pair[1]} | recipe
    return scored(model, ood, of_id, **{"stage": "recovered", "recipe": recipe} | changes)


def names(found):
    return [checkpoint.ood.record.model for checkpoint in found.checkpoints]


def test_a_recovered_checkpoint_is_measured_between_its_target_and_its_source():
    found = recoveries([*recovered("made", 9, 12), *ends()])
    (pair,) = found
    (made,) = pair.checkpoints
    source, target, checkpoint = pair.source.ood.record, pair.target.ood.record, made.ood.record
    assert (source.model, target.model, checkpoint.model) == ("early", "late", "made")
    assert (made.ood.share, made.ood.interval) == (9 / 20, interval_of(checkpoint))
    assert made.shares.recovered == recovered_share(checkpoint, source, target)
    assert [share and share.value for share in made.shares] == [
        (9 - 3) / (15 - 3), (12 - 8) / (18 - 8), harmonic_mean(0.5, 0.4)
    ]  # fmt: skip
    assert made.ood_gain.share == (9 - 3) / 20
    assert made.id is not None
    assert made.id.record.k == 12
    assert made.id_gain is not None
    # 6 deals to none on each side: p 2/64, and twice that after Holm.
    assert (made.ood_gain.p, made.ood_gain.p_holm) == (2 / 64, 4 / 64)
    assert (made.id_gain.p, made.id_gain.p_holm) == (2 / 64, 4 / 64)


def test_a_recovered_checkpoint_that_equals_an_end_recovers_all_or_nothing():
    (pair,) = recoveries([*recovered("all", 15), *recovered("none", 3, recipe=INTERPOLATE), *ends()])
    assert [r.shares.recovered for r in pair.checkpoints] == [(1, (1, 1)), (0, (0, 0))]


def test_a_target_that_lost_nothing_has_nothing_to_recover():
    (pair,) = recoveries([*recovered("made", 9, pair=("late", "early")), *ends()])
    assert pair.checkpoints[0].shares == (None, None, None)
    assert recovery_sentence(pair).startswith(
        "Nothing to recover: on OOD the target is not below the source (75.0 %"
    )


def test_pairs_filters_and_decodings_stand_apart():
    sampled: dict[str, Any] = {"decoding": {"do_sample": True}}
    found = recoveries(
        [
            *(r for f in ("flexible-extract", "strict-match") for r in ends(filter=f)),
            *recovered("lenient", 9, filter="flexible-extract"),
            *recovered("made", 9),
            *recovered("back", 9, pair=("late", "early")),
            *ends(**sampled),
            *recovered("drawn", 8, **sampled),
        ]
    )
    assert [(each.filter[:6], each.target.name, names(each)) for each in found] == [
        ("strict", "early", ["back"]),
        ("strict", "late", ["made"]),
        ("strict", "late", ["drawn"]),
        ("flexib", "late", ["lenient"]),
    ]


def test_ends_are_found_by_label_too():
    early, late = record(bits(15), model="run", step=5), record(bits(3), model="run", step=400)
    (pair,) = recoveries([early, late, *recovered("made", 9, pair=("run step 5", "run step 400"))])
    assert (pair.source.ood.record, pair.target.ood.record) == (early, late)


def test_of_several_records_of_one_checkpoint_the_newest_counts():
    newer: dict[str, Any] = {"date": "2026-02-01T00:00:00Z"}
    again = recovered("made-again", 10, recipe=DIRECTIONS | {"name": "x"}, weights_sha256="a" * 64, **newer)
    first = recovered("made", 9, weights_sha256="a" * 64)
    (pair,) = recoveries([*again, *first, *scored("late", 4, **newer), *ends()])
    assert names(pair) == ["made-again"]
    assert pair.target.ood.record.k == 4


def test_one_recipe_of_other_weights_is_another_recovered_checkpoint():
    one, other = (recovered(name, 9, weights_sha256=name * 64) for name in "ab")
    assert len(recoveries([*one, *other, *ends()])[0].checkpoints) == 2


def test_what_was_scored_on_other_deals_is_no_end():
    records = [*recovered("made", 9), *ends(30), *scored("late", 3)]
    assert recoveries(records) == []
    assert missing_references(records) == ["early"]
    assert missing_references([*records, *scored("early", 15)]) == []


def test_id_goes_with_ood_where_the_limit_is_the_same():
    (pair,) = recoveries([*recovered("made", 9, 12), *ends(), *ends(30), *recovered("made", 9, 25, n=30)])[1:]
    assert [
        score.record.n for score in (pair.source.id, pair.target.id, pair.checkpoints[0].id) if score
    ] == [20] * 3
    full = {"n": len(hand_set("ood", RULES["ood"]))}
    of_id = {**ON_ID, "n": len(hand_set("id", RULES["id"]))}

    def whole(model, ood, k, **changes):
        return [
            record(bits(ood, full["n"]), model=model, **changes),
            record(bits(k, of_id["n"]), model=model, **{**ON_ID, **changes}),
        ]

    recipe = DIRECTIONS | {"source": "early", "target": "late"}
    (pair,) = recoveries(
        [*whole("early", 90, 500), *whole("late", 9, 900), *whole("m", 50, 700, recipe=recipe)]
    )
    assert pair.checkpoints[0].id is not None
    assert pair.checkpoints[0].id.record.k == 700


def test_without_id_a_recovered_checkpoint_is_on_no_front():
    (pair,) = recoveries([*recovered("made", 9), *ends()])
    assert (pair.checkpoints[0].id, pair.checkpoints[0].id_gain, pair.checkpoints[0].on_front) == (
        None,
        None,
        False,
    )


def test_the_front_is_what_nothing_is_better_than_on_both():
    # (ID, OOD): source (8, 15), target (18, 3).
    recipes = [INTERPOLATE | {"weight": weight / 10} for weight in range(1, 6)]
    points = [(12, 9), (12, 9), (12, 8), (7, 15), (18, 2)]
    made = [
        r
        for (of_id, ood), recipe, name in zip(points, recipes, "abcde", strict=True)
        for r in recovered(name, ood, of_id, recipe)
    ]
    (pair,) = recoveries([*made, *ends()])
    assert pair.source.on_front
    assert pair.target.on_front
    assert [r.ood.record.model for r in pair.checkpoints if r.on_front] == ["a", "b"]
    # An end may be dominated, too.
    (pair,) = recoveries([*recovered("better", 16, 19), *ends()])
    assert (pair.source.on_front, pair.target.on_front, pair.checkpoints[0].on_front) == (False, False, True)


def test_tests_are_adjusted_over_every_gain_of_the_pair():
    made = [*recovered("a", 9, 12), *recovered("b", 12, 10, INTERPOLATE)]
    (pair,) = recoveries([*made, *ends()])
    gains = [gain for r in pair.checkpoints for gain in (r.ood_gain, r.id_gain) if gain]
    assert [gain.p_holm for gain in gains] == holm([gain.p for gain in gains])
    assert len(gains) == 4


@pytest.mark.parametrize(
    ("recipe", "label", "short", "shares"),
    [
        (DIRECTIONS, "directions, all ranks", "all", (1, 1)),
        (DIRECTIONS | {"ranks": "top 20%", "restore": "both"}, "both, top 20% of ranks", "top 20%", (0.2, 1)),
        (DIRECTIONS | {"ranks": "top 128"}, "directions, top 128 ranks", "top 128", (None, 1)),
        (DIRECTIONS | {"layers": "0-3"}, "directions, all ranks, layers 0-3", "0-3", (1, None)),
        (
            DIRECTIONS | {"ranks": "tail 5%", "modules": ["q_proj", "k_proj"], "taper": "2%"},
            "directions, tail 5% of ranks, q_proj k_proj, taper 2%", "tail 5%, q_proj k_proj, taper 2%", (0.05, 1),
        ),
        (INTERPOLATE, "interpolate 0.5", "0.5", (None, 1)),
        ({"method": "reset", "layers": "first 25%"}, "reset, first 25% of layers", "first 25%", (None, 0.25)),
    ],
)  # fmt: skip
def test_recipes_read_as_they_were_asked_for(recipe, label, short, shares):
    found = recipe_of(record(recipe=recipe))
    assert (found.label, found.short) == (label, short)
    assert (found.method.rank_share, found.layers.share) == shares


def test_a_recipe_that_cannot_be_read_is_bad_input():
    with pytest.raises(InputError, match=r"made recovered: recipe: ranks 'most': expected all, or"):
        recoveries([*recovered("made", 9, recipe=DIRECTIONS | {"ranks": "most"}), *ends()])


def placed(wins, n=40):
    """Outcomes that win so many of the deals at even places, and so many of those at odd ones."""
    even, odd = (bits(k, n // 2) for k in wins)
    return "".join(a + b for a, b in zip(even, odd, strict=True))


def played(model, ood, of_id, recipe=None, **changes: Any):
    """Records by their wins at even and at odd places: of `early`, of `late`, or of what was recovered."""
    if recipe:
        about: dict[str, Any] = {"recipe": {"source": "early", "target": "late"} | recipe}
        changes |= {"stage": "recovered"} | about
    return [
        record(placed(ood), model=model, **changes),
        record(placed(of_id), model=model, **ON_ID | changes),
    ]


BETWEEN = [*played("early", (16, 16), (6, 6)), *played("late", (2, 2), (18, 18))]


def test_what_one_half_of_the_deals_picks_the_other_measures():
    # Each has its luck on one half; on the other it is no better than the target.
    lucky_even = played("even", (12, 2), (18, 18), DIRECTIONS)
    lucky_odd = played("odd", (2, 12), (18, 18), INTERPOLATE)
    (pair,) = recoveries([*BETWEEN, *lucky_even, *lucky_odd])
    assert pair.best is not None
    assert [each.ood.record.model for each in pair.best.halves] == ["odd", "even"]
    assert [share and share.value for share in pair.best.shares] == [0, 1, 0]
    assert "chance alone can explain that" in recovery_sentence(pair)
    # One that is good on both is picked by both.
    (pair,) = recoveries([*BETWEEN, *lucky_even, *lucky_odd, *played("both", (13, 13), (18, 18), RESET)])
    assert pair.best is not None
    assert (pair.best.among, pair.best.labels) == (3, ["reset, first 25% of layers"])
    assert pair.best.shares == next(r.shares for r in pair.checkpoints if r.ood.record.model == "both")


def test_the_sentence_says_how_many_it_was_picked_from_and_what_is_ahead():
    others = [r for k in (5, 6) for r in played(f"t{k}", (k, k), (9, 9), DIRECTIONS | {"ranks": f"top {k}%"})]
    made = [
        *others,
        *played("best", (14, 14), (15, 15), DIRECTIONS),
        *played("half", (4, 4), (16, 16), INTERPOLATE),
    ]
    (pair,) = recoveries([*BETWEEN, *made])
    lead = against_baseline(pair)
    best, half = (
        next(r.outcomes for r in pair.checkpoints if r.ood.record.model == name) for name in ("best", "half")
    )
    assert lead == pair.scales.lead(best, half)
    assert lead is not None
    assert lead.value == pytest.approx(harmonic_mean(12 / 14, 9 / 12) - harmonic_mean(2 / 14, 10 / 12))
    assert recovery_sentence(pair) == (
        "Best of 4 recipes, picked on each half of the deals and measured on the other: directions, all "
        "ranks recovers 86 % (95 % interval 72 to 100 %) of the 70.0 points that the target lost on OOD and "
        "retains 75 % (95 % interval 56 to 94 %) of the 60.0 points that it gained on ID: harmonic mean 80 % "
        "(95 % interval 67 to 90 %). The best of 3 spectral recipes (directions, all ranks) against the one "
        "baseline (interpolate 0.5), likewise: +55.6 points of harmonic mean (95 % interval +36.5 to +76.5); "
        "the spectral recipe is ahead."
    )
    (pair,) = recoveries([*BETWEEN, *played("weak", (5, 4), (16, 16), DIRECTIONS), *made[-2:]])
    assert recovery_sentence(pair).endswith("; chance alone can explain that.")
    (pair,) = recoveries([*BETWEEN, *played("gone", (4, 4), (2, 2), DIRECTIONS), *made[-2:]])
    assert recovery_sentence(pair).endswith("; the baseline is ahead.")


def test_without_the_other_kind_the_sentence_says_so():
    (pair,) = recoveries([*BETWEEN, *played("a", (9, 9), (12, 12), DIRECTIONS)])
    assert recovery_sentence(pair).startswith("The one recipe, directions, all ranks, recovers 50 %")
    assert recovery_sentence(pair).endswith("No baseline was scored.")
    (pair,) = recoveries([*BETWEEN, *played("a", (9, 9), (12, 12), INTERPOLATE)])
    assert recovery_sentence(pair).endswith("No spectral recipe was scored.")


def test_without_id_recipes_are_compared_by_what_they_recover():
    made = [*recovered("a", 9), *recovered("b", 13, recipe=INTERPOLATE)]
    (pair,) = recoveries([*made, *ends()])
    assert names(pair) == ["a", "b"] or names(pair) == ["b", "a"]
    only_ood = [r for r in [*made, *ends()] if r.hand_set == "ood"]
    (pair,) = recoveries(only_ood)
    assert names(pair) == ["b", "a"]
    assert pair.best is not None
    assert pair.best.labels == ["interpolate 0.5"]
    sentence = recovery_sentence(pair)
    assert "What it retains on ID was not measured." in sentence
    assert "points of recovered share" in sentence


def test_a_target_that_gained_nothing_retains_nothing():
    at_id = [*scored("early", 15, 8), *scored("late", 3, 8), *recovered("a", 12, 9)]
    (pair,) = recoveries(at_id)
    assert pair.checkpoints[0].shares[1:] == (None, None)
    assert "The target gained nothing on ID that could be retained." in recovery_sentence(pair)


def test_a_loss_that_is_hardly_seen_tells_nothing():
    records = [*scored("early", 5), *scored("late", 4), *recovered("made", 5)]
    (pair,) = recoveries(records)
    assert pair.checkpoints[0].shares.recovered == (1, None)
    assert recovery_table(pair)[2]["recovered %"] == "100 [unbounded]"
    assert recovery_sentence(pair) == (
        "Nothing can be told: these deals hardly tell the target from the source, which is 5.0 points above "
        "it on OOD (p = 1.00)."
    )


def test_many_recipes_stand_by_their_kind_the_best_kind_first():
    weights = [r for w in range(1, 7) for r in recovered(f"w{w}", w, 10, INTERPOLATE | {"weight": w / 10})]
    tops = [
        r for k in range(1, 7) for r in recovered(f"t{k}", k + 3, 10, DIRECTIONS | {"ranks": f"top {k}%"})
    ]
    rows = [row["checkpoint"] for row in recovery_table(recoveries([*weights, *tops, *ends()])[0])[2:]]
    assert rows == [f"directions, top {k}% of ranks" for k in range(6, 0, -1)] + [
        f"interpolate 0.{w}" for w in range(6, 0, -1)
    ]


def test_rows_are_the_ends_and_the_recovered_checkpoints_best_first():
    made = [*recovered("a", 9, 12), *recovered("b", 12, 14, INTERPOLATE)]
    rows = recovery_table(recoveries([*made, *ends()])[0])
    assert [row["checkpoint"] for row in rows] == [
        "source: early", "target: late", "interpolate 0.5", "directions, all ranks"
    ]  # fmt: skip
    assert [row["front"] for row in rows] == ["x", "x", "x", ""]
    assert rows[3]["ID vs target"].startswith("−30.0 [")
    assert rows[3]["recovered %"].startswith("50 [")


def test_the_summary_is_json_that_leads_back_to_the_records():
    made = recovered("made", 9, 12)
    (pair,) = recoveries([*made, *ends()])
    found = json.loads(json.dumps(recovery_summary(pair)))
    assert found == recovery_summary(pair)
    assert (found["source"]["name"], found["target"]["name"]) == ("early", "late")
    assert (found["best"]["among"], found["best"]["records"]) == (1, [made[0].key] * 2)
    (row,) = found["checkpoints"]
    assert (row["recovered"]["value"], row["rank_share"], row["layer_share"]) == (0.5, 1, 1)
    assert (row["ood"]["k"], row["id"]["record"]) == (9, made[1].key)
