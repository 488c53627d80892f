"""How much hypothesis draws, where it is not just what the profile says (see tests/conftest.py)."""

from hypothesis import HealthCheck, settings


def at_most(count, **options):
    """Of what is slow to check, no more than so much. options: those of `hypothesis.settings`."""
    return settings(max_examples=min(count, settings.default.max_examples), **options)


def times(factor):
    """Of what is quick to check, so many times as much."""
    return settings(max_examples=factor * settings.default.max_examples)


def files(count, **options):
    """Of files that are written and read, at most so many, all in the same folder."""
    return at_most(
        count,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        **options,
    )
