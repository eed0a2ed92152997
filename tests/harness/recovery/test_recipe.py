import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from points24.harness.recovery.methods import methods
from points24.harness.recovery.recipe import Recipe, recipes_of
from points24.tasks.errors import InputError


def only(**given) -> Recipe:
    (recipe,) = recipes_of(**given)
    return recipe


@pytest.mark.parametrize(
    ("given", "recorded", "label", "name"),
    [
        (
            {"ranks": ["top 20%"]},
            {"method": "spectral", "layers": "all", "restore": "directions", "ranks": "top 20%", "modules": None},
            "directions, top 20% of ranks", "directions-top-20pct-layers-all",
        ),
        (
            {"ranks": ["Top 20% +  tail 5%"], "layers": ["first 25%"], "modules": ["q_proj, k_proj"], "taper": [16]},
            {
                "method": "spectral", "layers": "first 25%", "restore": "directions",
                "ranks": "top 20% + tail 5%", "modules": ("q_proj", "k_proj"), "taper": "16",
            },
            "directions, top 20% + tail 5% of ranks, first 25% of layers, q_proj k_proj, taper 16",
            "directions-top-20pct-and-tail-5pct-layers-first-25pct-modules-q_proj-k_proj-taper-16",
        ),
        (
            {"method": "paper-scripts", "ranks": ["top 2560"], "restore": ["both"], "script": ["qwen"], "layers": ["0-9"]},
            {
                "method": "paper-scripts", "layers": "0-9", "restore": "both", "ranks": "top 2560",
                "script": "qwen",
            },
            "paper-scripts, both, top 2560 ranks, layers 0-9, qwen's script",
            "paper-scripts-both-top-2560-layers-0-9-qwen",
        ),
        (
            {"method": "interpolate", "weight": [0]},
            {"method": "interpolate", "layers": "all", "weight": 0}, "interpolate 0", "interpolate-0.0-layers-all",
        ),
        (
            {"method": "task-arithmetic", "weight": ["-0.5"], "layers": ["0-3,9"]},
            {"method": "task-arithmetic", "layers": "0-3,9", "weight": -0.5},
            "task-arithmetic -0.5, layers 0-3,9", "task-arithmetic-minus-0.5-layers-0-3-and-9",
        ),
        (
            {"method": "reset", "layers": ["last 4"]},
            {"method": "reset", "layers": "last 4"}, "reset, last 4 layers", "reset-layers-last-4",
        ),
    ],
)  # fmt: skip
def test_what_is_recorded_is_read_back(given, recorded, label, name):
    recipe = only(**given)
    assert recipe.describe() == recorded
    assert list(recipe.describe()) == list(recorded)
    assert Recipe.read({"source": "a", "target": "b", "name": "x"} | recorded) == recipe
    assert (recipe.label, recipe.name) == (label, name)


@pytest.mark.parametrize("switch", ["compat", "paper_scripts"])
def test_in_old_records_the_method_paper_scripts_is_a_switch_of_spectral_recovery(switch):
    old = {"method": "spectral", "layers": "all", "restore": "both", "ranks": "all", "modules": None}
    assert Recipe.read(old | {switch: True}) == only(method="paper-scripts", ranks=["all"], restore=["both"])
    assert Recipe.read(old) == only(ranks=["all"], restore=["both"])


def test_every_combination_is_made_once():
    recipes = recipes_of(ranks=["top 5%", "all"], restore=["values", "both"], layers=["0", "1"])
    assert [recipe.name for recipe in recipes] == [
        f"{restore}-{ranks}-layers-{layer}"
        for restore in ("values", "both") for ranks in ("top-5pct", "all") for layer in (0, 1)
    ]  # fmt: skip
    with pytest.raises(InputError, match="the same recipe is asked for twice"):
        recipes_of(ranks=["all", "ALL"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"method": "spectrum"},
            "method: expected spectral or dare or",
        ),
        ({"ranks": ["all"], "weight": [1]}, "weight does not go with method spectral"),
        ({"method": "reset", "layers": ["0"], "ranks": ["all"]}, "ranks does not go with method reset"),
        (
            {"method": "paper-scripts", "ranks": ["all"], "taper": ["5%"]},
            "taper does not go with method paper-scripts",
        ),
        (
            {"method": "paper-scripts", "ranks": ["all"], "script": ["gemma"]},
            "script: expected llama or qwen, found 'gemma'",
        ),
        ({"ranks": ["all"], "restore": ["vectors"]}, "restore: expected directions or values or both, found"),
        ({"method": "interpolate", "weight": ["half"]}, "weight half: expected a number"),
        ({"method": "interpolate", "weight": [float("inf")]}, "weight inf: expected a number"),
    ],
)
def test_what_makes_no_recipe_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        recipes_of(**given)


def test_shares_and_what_limits_a_recipe():
    spectral, counted = only(ranks=["all"], layers=["first 25%"]), only(ranks=["top 8"], layers=["0"])
    assert (spectral.method.rank_share, spectral.layers.share, spectral.method.restores_whole_layers) == (
        1,
        0.25,
        True,
    )
    assert (counted.method.rank_share, counted.layers.share, counted.method.restores_whole_layers) == (
        None,
        None,
        False,
    )
    half = only(method="interpolate", weight=[0.5])
    assert (half.weight, half.ranks, half.method.rank_share, half.method.restores_whole_layers) == (
        0.5,
        None,
        None,
        False,
    )
    assert half.method.ends_at_source
    assert only(method="reset", layers=["0"]).method.restores_whole_layers


def test_the_same_layers_and_ranks_are_one_recipe():
    assert only(ranks=["all"], layers=["0,1,2,5"]) == only(ranks=["all"], layers=["5, 0-1,1-2"])
    assert only(ranks=["all"], layers=["first 25.0%"]) == only(ranks=["all"], layers=["first 25%"])
    assert only(ranks=["tail 5% + top 20.50%"]) == only(ranks=["top 20.5%+tail 5%"])
    assert only(ranks=["all"], modules=["q_proj,q_proj"]) == only(ranks=["all"], modules=["q_proj"])
    assert only(ranks=["top 33.333333%"]).name != only(ranks=["top 33.3333%"]).name


AMOUNTS = st.integers(1, 30).map(str) | st.decimals(
    "0.000000001", 100, places=9, allow_nan=False
).map("{:f}%".format)  # fmt: skip
RANKS = st.just("all") | st.builds(
    " + ".join, st.lists(st.builds("{} {}".format, st.sampled_from(["top", "tail"]), AMOUNTS), min_size=1, max_size=3)
)  # fmt: skip
RANGES = st.builds(lambda first, more: f"{first}-{first + more}" if more else f"{first}", st.integers(0, 12), st.integers(0, 3))  # fmt: skip
LAYERS = (
    st.just("all")
    | st.builds("{} {}".format, st.sampled_from(["first", "last"]), AMOUNTS)
    | st.lists(RANGES, min_size=1, max_size=4).map(",".join)
)
MODULES = st.lists(st.sampled_from(["q_proj", "k_proj", "mlp", "lm_head"]), min_size=1, max_size=3).map(
    ",".join
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SHARES = st.floats(0, 1, exclude_min=True)
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
SETTINGS = {
    "ranks": RANKS, "restore": st.sampled_from(["directions", "values", "both"]), "modules": MODULES, "taper": AMOUNTS,
    "weight": NUMBERS, "last": NUMBERS, "density": SHARES, "epsilon": st.just(0.0), "scale": POSITIVE,
    "threshold": POSITIVE, "seed": st.integers(0, 10**6), "elect": st.just(True),
    "script": st.sampled_from(["llama", "qwen"]),
}  # fmt: skip


@st.composite
def any_recipes(draw) -> Recipe:
    method = draw(st.sampled_from(sorted(methods())))
    given = {}
    for name, setting in methods()[method].settings().items():
        if (name, method) != ("modules", "paper-scripts") and (
            setting.example or name == "epsilon" or draw(st.booleans())
        ):
            value = draw(SETTINGS[name])
            given[name] = value if setting.kinds is bool else [value]
    return only(method=method, layers=[draw(LAYERS)], **given)


@settings(max_examples=400, deadline=None)
@given(st.lists(any_recipes(), min_size=2, max_size=6))
def test_other_recipes_have_other_names_and_records_give_them_back(recipes):
    assert len({recipe.name for recipe in recipes}) == len(set(recipes))
    assert len({recipe.name.lower() for recipe in recipes}) == len(set(recipes))
    for recipe in recipes:
        assert Recipe.read(json.loads(json.dumps(recipe.describe()))) == recipe


@given(weight=NUMBERS, layers=st.tuples(LAYERS, LAYERS))
def test_names_tell_signs_and_lists_apart(weight, layers):
    one, two = (only(method="interpolate", weight=[weight], layers=[text]) for text in layers)
    assert (one.name == two.name) == (one == two)
    minus = only(method="interpolate", weight=[-weight], layers=[layers[0]])
    assert (one.name == minus.name) == (one == minus)
