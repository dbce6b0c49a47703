"""The loader's order, its windows and its position."""

from __future__ import annotations

import pytest

from tuneforge.errors import TuneForgeError
from tuneforge.training.batches.loader import WindowLoader


def loader(units=10, size=2, accumulate=2, total=100, **more):
    return WindowLoader(
        [[i] for i in range(units)], lambda chosen: {"rows": [i for unit in chosen for i in unit]},
        size=size, accumulate=accumulate, total=total, **more,
    )  # fmt: skip


def epoch(of):
    return [[micro.rows for micro in window] for window in of]


def rows(windows):
    return [r for window in windows for micro in window for r in micro]


def test_every_row_once_per_epoch_and_the_last_window_is_short():
    windows = epoch(loader())
    assert sorted(rows(windows)) == list(range(10))
    assert [[len(m) for m in w] for w in windows] == [[2, 2], [2, 2], [2]]
    assert len(loader()) == 3


def test_order_depends_on_seed_and_epoch_alone():
    one = loader(seed=1)
    first, second = epoch(one), epoch(one)
    assert first != second
    again = loader(seed=1)
    assert [epoch(again), epoch(again)] == [first, second]
    assert epoch(loader(seed=2)) != first


def test_iterating_anew_without_reading_loses_nothing():
    one = loader()
    iter(one), iter(one)
    assert epoch(one) == epoch(loader())


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_loaded_state_goes_on_at_the_very_window(stop):
    whole = loader(total=8)
    expected = [w for _ in range(3) for w in epoch(whole)]
    first, seen = loader(total=8), []
    while len(seen) < stop:
        for window in first:
            seen.append([m.rows for m in window])
            if len(seen) == stop:
                break
    second = loader(total=8)
    second.load_state_dict(first.state_dict())
    assert second.done == stop
    rest = [w for _ in range(3) for w in epoch(second)]
    assert seen + rest == expected
    assert len(expected) == 8


def test_no_more_windows_than_the_run_has_steps():
    one = loader(total=4)
    assert [len(epoch(one)) for _ in range(3)] == [3, 1, 0]


def test_devices_share_each_window_and_one_without_rows_still_takes_part():
    devices = [loader(units=5, size=2, accumulate=1, rank=r, world=2, order=lambda e: range(5)) for r in range(2)]
    windows = [list(d) for d in devices]
    assert [[m.rows for m in w] for w in windows[0]] == [[(0, 2)], [(4,)]]
    assert [[m.rows for m in w] for w in windows[1]] == [[(1, 3)], [(4,)]]
    assert [m.counts for w in windows[1] for m in w] == [True, False]


@pytest.mark.parametrize(
    ("change", "said"), [({"units": 9}, "rows or packs 10, this run has 9"), ({"seed": 7}, "seed")]
)
def test_a_state_of_other_data_is_refused(change, said):
    with pytest.raises(TuneForgeError, match=said):
        loader(**change).load_state_dict(loader().state_dict())
