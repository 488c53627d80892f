"""Temperatures that make scores mean what they say."""

import numpy as np
import pytest

from minisift.decoding.labelling import probability
from minisift.scoring.calibration import (
    end_bias,
    expected_calibration_error,
    expected_temperature,
    fit_temperature,
)


def test_probability_is_renormalised_over_what_was_allowed():
    gaps = [np.array([0.0, -1.0]), None, np.array([-2.0, 0.0, -2.0])]
    wanted = 1 / (1 + np.exp(-1)) / (1 + 2 * np.exp(-2))
    assert probability(gaps, 1.0) == pytest.approx(wanted)
    assert probability([None], 1.0) == 1.0
    assert probability(gaps, 100.0) == pytest.approx(1 / 6, abs=0.01)


def test_the_temperature_of_overconfident_logits_is_found():
    rng = np.random.default_rng(0)
    lines, right = [], []
    for gap in rng.uniform(0, 6, 4000):
        lines.append([np.array([0.0, -3 * gap])])
        right.append(bool(rng.random() < 1 / (1 + np.exp(-gap))))
    temperature = fit_temperature(lines, right)
    assert temperature == pytest.approx(3, rel=0.1)
    scores = [probability(line, temperature) for line in lines]
    assert expected_calibration_error(scores, right) < 0.03
    assert expected_calibration_error([probability(x, 1.0) for x in lines], right) > 0.05


def test_few_lines_only_move_the_temperature_that_is_expected():
    # each is right as often as a temperature of 2 says
    gaps = [0.5, 1.0, 2.0, 3.0, 4.0]
    likely = [round(20 / (1 + np.exp(-gap / 2))) for gap in gaps]
    lines = [[np.array([0.0, -gap])] for gap in gaps for _ in range(20)]
    right = [k < count for count in likely for k in range(20)]
    alone = fit_temperature(lines, right)
    assert alone == pytest.approx(2, rel=0.1)
    few, many = fit_temperature(lines, right, 4.0), fit_temperature(lines * 50, right * 50, 4.0)
    assert alone * 1.05 < few < 3.8
    assert many == pytest.approx(alone, rel=0.02)
    assert fit_temperature([], [], 4.0) == 4.0


def test_less_was_seen_more_often_and_is_expected_to_be_surer_of_itself():
    assert expected_temperature(50, 0) == 4.2
    few, some, many = (expected_temperature(worth, 0.5) for worth in (20, 200, 1000))
    assert few > some > many > 1
    assert (
        expected_temperature(50, 0.1)
        > expected_temperature(50, 0.5)
        > expected_temperature(50, 0.9)
        > 1
    )
    assert expected_temperature(1, 1) == 1


def test_nothing_to_fit_leaves_scores_alone():
    assert fit_temperature([], []) == 1.0
    assert fit_temperature([[np.array([0.0, -1.0])]], [True]) == 1.0
    assert expected_calibration_error([], []) == 0.0


def test_calibration_error_by_hand():
    assert expected_calibration_error([0.95, 0.95, 0.15], [True, False, False]) == pytest.approx(
        (2 * 0.45 + 0.15) / 3
    )


def test_the_end_is_even_with_one_span_that_is_half_as_likely_as_f1():
    for f1 in (0.3, 0.7, 1.0):
        likely = f1 / 2
        end = np.log(1 - likely) - end_bias(f1)
        assert end == pytest.approx(np.log(likely), abs=1e-3)
    assert end_bias(1.0) == 0
    assert end_bias(0.0) == end_bias(0.1) == end_bias(0.2)
