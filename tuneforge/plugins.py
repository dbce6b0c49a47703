"""The catalogue: every installed component and preset, and who brought it."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from tuneforge import hookspecs
from tuneforge.components import Component
from tuneforge.errors import ConfigError, PluginError, nearest
from tuneforge.kinds import HELD_OUT_GROUPS, KINDS, REQUIRED_METHODS

ENTRY_POINTS = "tuneforge"
OWN = "tuneforge"
"""Our own distribution."""
YAML_GROUPS = ("experiment", "gate", "trainer")
"""Groups that hold YAML choices over a part of `Run` and no components."""
HEAVY = ("torch", "transformers", "lightning", "tensorflow", "jax", "pandas")
"""Libraries that a declaring module must not import."""
GROUPS = (*KINDS, *HELD_OUT_GROUPS, *YAML_GROUPS)


@dataclass(frozen=True)
class Owner:
    """The distribution that brought something."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Failure:
    """A plugin, or one class of it, that is not used, and why."""

    owner: Owner
    reason: str


@dataclass(frozen=True)
class Loading:
    """What loading a plugin cost: seconds, and the heavy libraries that it dragged in."""

    seconds: float
    heavy: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """A YAML choice."""

    group: str
    name: str
    path: Path
    owner: Owner


@dataclass
class Catalogue:
    """Components by `group/name`, presets by `group/name`, and what could not be used."""

    components: dict[str, type[Component]] = field(default_factory=dict)
    presets: dict[str, Preset] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)
    config_dirs: list[Path] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    collisions: list[str] = field(default_factory=list)
    plugins: dict[Owner, Loading] = field(default_factory=dict)
    manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager("tuneforge"))

    def options(self, group: str) -> list[str]:
        """Names that may be chosen in a group, sorted."""
        home = "data" if group in HELD_OUT_GROUPS else group
        return sorted(ref.split("/", 1)[1] for ref in (*self.components, *self.presets) if ref.startswith(home + "/"))

    def component(self, reference: str) -> type[Component]:
        """The class of `group/name`; ConfigError with the nearest name otherwise."""
        if reference not in self.components:
            raise ConfigError(
                f"no component '{reference}' is installed.{nearest(reference, self.components)}{self.suspects()}"
            )
        return self.components[reference]

    def reference(self, cls: type) -> str | None:
        """`group/name` of a registered class."""
        return next((ref for ref, known in self.components.items() if known is cls), None)

    def withdraw(self, reference: str, reason: str) -> Failure:
        """Take out a component that turned out to be unusable."""
        del self.components[reference]
        failure = Failure(self.owners.pop(reference), f"{reference}: {reason}")
        self.failures.append(failure)
        return failure

    def suspects(self) -> str:
        """The plugins that failed, a line each, to end a message with: what is missing may have come from them."""
        return "".join(f"\n  plugin {f.owner} is skipped: {f.reason}" for f in self.failures)

    def require_sound(self) -> None:
        """PluginError when two distributions claim one name."""
        if self.collisions:
            raise PluginError("\n".join(self.collisions))


def conf_dir() -> Path:
    """The folder of shipped YAML: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise PluginError("this installation of tuneforge has no conf/config.yaml; install it again")


@functools.cache
def load(group: str = "") -> Catalogue:
    """The catalogue of this installation, made once per process; of one group alone where that is all that is asked."""
    found = sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda e: (_owner(e).distribution != OWN, e.name))
    home = "data" if group in HELD_OUT_GROUPS else group
    catalogue = build(found, [kind for kind in KINDS if home in ("", kind)])
    for failure in catalogue.failures:
        if failure.owner.distribution == OWN:
            raise PluginError(f"TuneForge's own components do not load; install it again: {failure.reason}")
    return catalogue


def build(entry_points: Iterable[metadata.EntryPoint], kinds: Iterable[str] = KINDS) -> Catalogue:
    """A catalogue of what these entry points bring of some kinds, each loaded in its own try."""
    catalogue = Catalogue()
    catalogue.manager.add_hookspecs(hookspecs)
    for entry in entry_points:
        owner = _owner(entry)
        try:
            _admit(catalogue, entry, owner, kinds)
        except (Exception, SystemExit) as error:  # a plugin may raise anything at import; it is named and skipped
            catalogue.failures.append(Failure(owner, _reason(error)))
    return catalogue


def _owner(entry: metadata.EntryPoint) -> Owner:
    dist = entry.dist
    return Owner(dist.name if dist else "unknown", dist.version if dist else "?", entry.name)


def _reason(error: BaseException) -> str:
    """One line: what the plugin raised; our own errors speak for themselves."""
    lines = str(error).strip().splitlines()
    if lines and isinstance(error, PluginError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _admit(catalogue: Catalogue, entry: metadata.EntryPoint, owner: Owner, kinds: Iterable[str] = KINDS) -> None:
    """Load one entry point and take in what its hooks return; raises what the plugin raises."""
    before, started = set(sys.modules), time.perf_counter()
    plugin = entry.load()
    _refuse_wrong_hooks(catalogue.manager, plugin)
    catalogue.manager.register(plugin, name=f"{owner.distribution}:{owner.entry_point}")
    try:
        found = [(group, cls) for group in kinds for cls in _answers(catalogue.manager, plugin, f"tuneforge_{group}")]
        packages = list(_answers(catalogue.manager, plugin, "tuneforge_config_packages"))
        directories = [conf_dir()] if owner.distribution == OWN else []
        directories += [_package_dir(p) for p in packages]
        presets = [preset for directory in directories for preset in presets_in(directory, owner)]
    except BaseException:
        catalogue.manager.unregister(plugin)
        raise
    heavy = tuple(m for m in HEAVY if m in sys.modules and m not in before)
    catalogue.plugins[owner] = Loading(time.perf_counter() - started, heavy)
    for group, cls in found:
        problem = class_problem(group, cls)
        if problem:
            catalogue.failures.append(Failure(owner, problem))
        else:
            _claim(catalogue, f"{group}/{cls.name}", owner, catalogue.components, cls)
    catalogue.config_dirs += directories
    for preset in presets:
        _claim(catalogue, f"{preset.group}/{preset.name}", owner, catalogue.presets, preset)


def _refuse_wrong_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """PluginError for a hook that is misspelt, is not marked, or has an argument that it does not get."""
    known = [n for n in dir(hookspecs) if n.startswith("tuneforge_")]
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is None:
            if name in known and inspect.isroutine(getattr(plugin, name)):
                raise PluginError(f"'{name}' lacks the decorator @hookimpl")
            continue
        hook = options.get("specname") or name
        if hook not in known:
            if options.get("optionalhook"):
                continue
            raise PluginError(f"unknown hook '{hook}'.{nearest(hook, known)}")
        allowed = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        for argument in inspect.signature(getattr(plugin, name)).parameters:
            if argument not in allowed:
                takes = f"gets {', '.join(allowed)}" if allowed else "gets no argument"
                raise PluginError(f"hook '{hook}' {takes}, found '{argument}'")


def _answers(manager: pluggy.PluginManager, plugin: object, hook: str) -> Iterator[Any]:
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        if implementation.plugin is plugin:
            yield from implementation.function()


def class_problem(group: str, cls: Any) -> str | None:
    """Why a class returned by `tuneforge_<group>` cannot be a component, or None."""
    base = KINDS[group]
    label = f"tuneforge_{group} returned {getattr(cls, '__name__', cls)!r}"
    if not (isinstance(cls, type) and issubclass(cls, base)):
        return f"{label}, which is not a subclass of {base.__name__}"
    if "__dataclass_params__" not in cls.__dict__ or not dataclasses.is_dataclass(cls):
        return f"{label}, which lacks the decorator @dataclass(kw_only=True)"
    if not isinstance(getattr(cls, "name", None), str) or not cls.name.isidentifier():
        return f"{label}, whose `name` is not an identifier: {getattr(cls, 'name', None)!r}"
    missing = [m for m in REQUIRED_METHODS[group] if getattr(cls, m) is getattr(base, m)]
    if missing:
        return f"{label}, which does not implement {', '.join(missing)}"
    if group == "evaluator" and all(getattr(cls, m) is getattr(base, m) for m in ("score", "judge", "measure")):
        return f"{label}, which implements neither score nor judge nor measure"
    return None


def _claim(catalogue: Catalogue, reference: str, owner: Owner, table: dict[str, Any], thing: Any) -> None:
    if reference in catalogue.owners:
        first = catalogue.owners[reference]
        catalogue.collisions.append(f"{reference} is claimed by both {first} and {owner}; uninstall one of them")
        return
    catalogue.owners[reference] = owner
    table[reference] = thing


def _package_dir(package: str) -> Path:
    """Folder of a package that may lie inside another, found without importing either."""
    top, *rest = package.split(".")
    spec = importlib.util.find_spec(top)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location, *rest)
        if folder.is_dir():
            return folder
    raise PluginError(f"config package '{package}' is not installed or is not a folder")


def presets_in(directory: Path, owner: Owner) -> list[Preset]:
    """Every `<group>/<name>.yaml` below a config folder; PluginError for a folder that is no group."""
    found = []
    for path in sorted(directory.glob("*/*.yaml")):
        if path.parent.name in HELD_OUT_GROUPS:
            raise PluginError(f"{path}: what stands under data/ serves {path.parent.name} too; move it there")
        if path.parent.name not in GROUPS:
            raise PluginError(f"{path}: '{path.parent.name}' is no config group.{nearest(path.parent.name, GROUPS)}")
        found.append(Preset(path.parent.name, path.stem, path, owner))
    return found
