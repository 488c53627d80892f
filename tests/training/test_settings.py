"""What may be chosen: checked in one place, typed for editors."""

import dataclasses
import typing

import pytest

from minisift.training.settings import Options, Settings, make_settings


def test_settings_are_checked():
    assert make_settings({"shots": 0}).prompts(1000) == 5000
    assert Settings().prompts(1000) == 556
    assert Settings(max_prompts=7).prompts(10**6) == 7
    assert Settings(max_prompts=7).prompts(10**6, spans=10**7) == 7
    for wrong in (
        {"shots": -1},
        {"strategy": "x"},
        {"sampling": "x"},
        {"quantize": "int4"},
        {"template": "x"},
        {"epochs": 0},
        {"runs": 0},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.*fix: "):
            make_settings(wrong)
    with pytest.raises(TypeError, match="shotz"):
        make_settings({"shotz": 1})


def test_sentences_that_hold_many_spans_are_seen_less_often():
    assert Settings().prompts(200, spans=400) == Settings().prompts(200)
    assert Settings().prompts(200, spans=2000) == round(5 * 200 / 9)
    assert Settings().prompts(200, spans=10**6) == Settings().prompts(200, spans=2000)
    assert Settings().prompts(1000, spans=12_000) == Settings().prompts(1000) == 556
    assert Settings(epochs=3).prompts(200, spans=2000) == round(3 * 200 / 9)


def test_a_run_does_without_more_where_others_learn_it():
    shares = [Settings().share_held_out(runs) for runs in (1, 2, 3, 9)]
    assert shares == [0.1, 0.1, 0.2, 0.2]
    assert Settings(held_out=0).share_held_out(3) == Settings(held_out=0).share_held_out(1) == 0


def test_the_fewer_sentences_the_more_runs_are_averaged():
    runs = [Settings().averaged(sentences) for sentences in (1, 50, 120, 300, 10**6)]
    assert runs == [3, 3, 2, 1, 1]
    assert Settings().averaged(50, spans=600) == 1
    assert Settings(epochs=3).averaged(50) == Settings(max_prompts=3).averaged(50) == 1
    assert Settings(epochs=3, runs=2).averaged(10**6) == 2


def test_the_learning_rate_falls_with_the_size_of_the_model():
    assert Settings().rate(100) == Settings().rate(134_500_000) == 1.5e-3
    assert Settings().rate(268_000_000) == pytest.approx(1.06e-3, rel=0.01)
    assert Settings().rate(7_000_000_000) == pytest.approx(2e-4, rel=0.05)
    assert Settings(learning_rate=3e-3).rate(10**9) == 3e-3


def test_an_adapter_that_has_learned_goes_on_at_a_lower_rate_with_few_sentences():
    rate = Settings().rate
    assert rate(100, onward=0) == rate(100, onward=50) == pytest.approx(0.4 * rate(100))
    assert rate(100, onward=50) < rate(100, onward=200) < rate(100, onward=450) == rate(100)
    assert Settings(learning_rate=3e-3).rate(100, onward=50) == 3e-3


def test_options_are_the_fields_of_settings():
    wanted = typing.get_type_hints(Settings)
    assert typing.get_type_hints(Options) == wanted
    assert list(Options.__annotations__) == [field.name for field in dataclasses.fields(Settings)]
    assert Options.__optional_keys__ == set(wanted)
