"""Rows from a data set of the Hugging Face hub, or from a folder that the library datasets saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge import extras
from tuneforge.components import Context, DataSource
from tuneforge.data.each import each_element
from tuneforge.data.files import saved_by_datasets
from tuneforge.data.paths import located
from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Kept, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run

BATCH = 1000
"""Rows decoded at once."""

MEDIA = ("Image", "Audio", "Video", "Pdf", "Nifti")
"""Features that hold no text."""

Change = Callable[[Any], Any]


@dataclass(kw_only=True)
class Hub(DataSource):
    """A data set by its name on the hub, or a folder written with `save_to_disk`; never with remote code.

    Classes come out by their names. Columns of images, audio and video are not decoded and not read, said aloud.
    `line` is the 1-based row of the split. What has been downloaded once is read offline.
    """

    name: ClassVar[str] = "hub"
    extra: ClassVar[str] = "hub"
    module: ClassVar[str] = "datasets"

    subset: str | None = None
    """The data set's configuration, where it has several; null: its default."""
    revision: str | None = None
    """Commit, tag or branch on the hub; null: the newest that is there."""
    each: str | None = None
    """A nested list, as a dotted path: one row of each of its elements, with the columns around it."""

    @property
    def needs_path(self) -> bool:
        """A name is needed, or a folder."""
        return False

    def check(self, run: Run) -> Iterable[str]:
        """A name, and for a folder nothing that only the hub has."""
        if not self.path:
            yield "path: name a data set of the hub (owner/name), or a folder that datasets saved"
        elif saved_by_datasets(self.path) and (self.subset or self.revision):
            yield f"path={self.path} is a saved folder: subset and revision have no meaning for it"

    def read(self, context: Context) -> Kept:
        """Rows of the split; a data set that is not there, or not to be reached, is a ConfigError."""
        return each_element(self._rows(self._without_media(self._loaded(), context)), self.each, context)

    def fingerprint(self) -> str:
        """The fingerprint that datasets keeps."""
        return str(self._loaded()._fingerprint)

    def _loaded(self) -> Any:
        extras.require("datasets", "hub", "data=hub")
        import datasets

        folder = located(self.path)
        try:
            if saved_by_datasets(self.path):
                found = datasets.load_from_disk(str(folder))
                return self._split(found) if isinstance(found, datasets.DatasetDict) else found
            if folder.exists():
                raise ConfigError(f"path={self.path} was not saved by datasets; to read its files say data={self.path}")
            return datasets.load_dataset(self.path, self.subset, split=self.split, revision=self.revision)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"path={self.path}: {_said(error)}") from error

    def _split(self, found: Mapping[str, Any]) -> Any:
        if self.split not in found:
            known = ", ".join(found)
            raise ConfigError(f"split={self.split}: {self.path} has {known}.{nearest(self.split, list(found))}")
        return found[self.split]

    def _without_media(self, found: Any, context: Context) -> Any:
        media = [name for name, feature in found.features.items() if type(feature).__name__ in MEDIA]
        if media:
            context.note(
                f"{self.path}: {', '.join(media)} not read in {len(found):,} rows: images and sound are no text"
            )
        return found.remove_columns(media)

    def _rows(self, found: Any) -> Kept:
        changes = {name: change for name, feature in found.features.items() if (change := named_classes(feature))}
        line = 0
        for batch in found.with_format("arrow").iter(batch_size=BATCH):
            for columns in batch.to_pylist():
                line += 1
                columns.update({name: change(columns[name]) for name, change in changes.items()})
                yield Row(columns=columns, file=self.path, line=line)


def named_classes(feature: Any) -> Change | None:
    """How a value's numbers of classes become their names, also inside lists and objects; None where it has none."""
    if hasattr(feature, "int2str"):
        return lambda value: feature.int2str(value) if isinstance(value, int) and value >= 0 else None
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    if inner is not None:
        change = named_classes(inner)
        return change and (lambda value: value if value is None else [change(one) for one in value])
    if isinstance(feature, Mapping):
        inside = {name: change for name, below in feature.items() if (change := named_classes(below))}
        return (lambda value: value and {**value, **{n: c(value[n]) for n, c in inside.items()}}) if inside else None
    return None


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    offline = "offline" in text.lower() or "connection" in text.lower() or isinstance(error, ConnectionError)
    return f"{text[:300]}{' (is the hub to be reached? HF_HUB_OFFLINE=1 forbids it)' if offline else ''}"
