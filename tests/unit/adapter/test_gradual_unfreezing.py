"""The schedule: which groups train when, what the log says, and that a resumed run is the run."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from tests.unit.adapter.fitting import applied, moved, trainable
from tests.unit.training import small
from tuneforge.adapter.gradual_unfreezing import GradualUnfreezing
from tuneforge.errors import TuneForgeError
from tuneforge.training.fit import fit


def test_groups_go_down_from_the_head(tmp_path: Path) -> None:
    model = applied(GradualUnfreezing(), tmp_path, lambda: small.llama(tie=False, num_hidden_layers=3))
    groups = GradualUnfreezing().groups(model)
    assert "lm_head.weight" in groups[0]
    assert "model.norm.weight" in groups[0]
    assert [next(n.split(".")[2] for n in group if ".layers." in n) for group in groups[:3]] == ["2", "1", "0"]
    assert groups[3] == ["model.embed_tokens.weight"]
    assert sorted(chain(*groups)) == sorted(n for n, _ in model.named_parameters())
    assert len(GradualUnfreezing(layers=2).groups(model)) == 3


@pytest.mark.parametrize(
    ("until", "expected"),
    [(0.5, [1, 1, 2, 2, 3, 3, 3, 3, 3, 3]), (1.0, [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]), (0.01, [1] + [3] * 9)],
)
def test_schedule(until: float, expected: list[int]) -> None:
    adapter = GradualUnfreezing(until=until)
    assert [adapter.thawed(3, done, 10) for done in range(10)] == expected


def test_frozen_groups_do_not_move_and_the_log_counts_what_trains(tmp_path: Path) -> None:
    adapter = GradualUnfreezing(until=1.0)
    whole = {n: p.numel() for n, p in small.llama().named_parameters()}
    groups = adapter.groups(small.llama())
    sizes = [sum(whole[n] for group in groups[: k + 1] for n in group) for k in range(3)]
    run = small.settings(adapter=adapter, trainer__max_steps=6, batch__size=4)
    fitted = fit(run, small.loaded(small.llama()), small.encoded(small.rows(24)), None, False,
                 small.context(run, tmp_path))  # fmt: skip
    counted = [line["training_parameters"] for line in fitted.history]
    assert counted == [float(sizes[k]) for k in (0, 0, 1, 1, 2, 2)]
    assert "training_parameters" in (tmp_path / "logs" / "metrics.csv").read_text().splitlines()[0]
    # A run that ends before the others thaw moves only the first group.
    short = small.settings(adapter=GradualUnfreezing(until=1.0), trainer__max_steps=2, batch__size=4)
    model = fit(short, small.loaded(small.llama()), small.encoded(small.rows(24)), None, False,
                small.context(short, tmp_path / "short")).model  # fmt: skip
    assert moved(small.llama(), model) == set(groups[0]) | set(groups[1])  # the second thaws in the second step


class Stop(TuneForgeError):
    """What ends the run in the test."""


@pytest.mark.parametrize("at", [1, 3])
def test_resume_is_exact(tmp_path: Path, at: int) -> None:
    import lightning.pytorch as pl

    def run_to(folder: Path, resume: bool, stop: int = -1) -> object:
        class Stopping(pl.Callback):  # type: ignore[misc]
            def on_train_batch_start(self, trainer: object, module: object, *args: object) -> None:
                if module.tally.step == stop:  # type: ignore[attr-defined]
                    raise Stop

        run = small.settings(
            adapter=GradualUnfreezing(until=1.0), trainer__max_steps=6, batch__size=4, checkpoint__every=1,
            resume=str(folder) if resume else None,
        )  # fmt: skip
        model = small.llama(dropout=0.1)
        data = small.encoded(small.rows(24))
        return fit(run, small.loaded(model), data, None, False, small.context(run, folder), [Stopping()])

    straight = run_to(tmp_path / "a", False)
    with pytest.raises(Stop):
        run_to(tmp_path / "b", False, at)
    resumed = run_to(tmp_path / "b", True)
    assert resumed.resumed_from == at  # type: ignore[attr-defined]
    assert small.digest(resumed.model) == small.digest(straight.model)  # type: ignore[attr-defined]
    drop = lambda h: [{k: v for k, v in line.items() if k != "speed"} for line in h]  # noqa: E731
    assert drop(resumed.history) == drop(straight.history)  # type: ignore[attr-defined]


def test_everything_may_train(tmp_path: Path) -> None:
    model = applied(GradualUnfreezing(), tmp_path)
    assert trainable(model) == {n for n, _ in model.named_parameters()}
