"""The packages that apt has to bring. Makes steps; `system.py` speaks to apt."""

from __future__ import annotations

from collections.abc import Iterator

from ezrec.install import layout, system
from ezrec.install.steps import Step, StepFailed

_LISTS_VALID_S = 86_400.0


def steps() -> Iterator[Step]:
    """The lists first: what they do not name yet, such as picamera2 on a new card, would be passed over."""
    missing = _missing([*layout.PACKAGES, layout.CAMERA_PACKAGE])
    if missing not in ([], [layout.CAMERA_PACKAGE]) or (missing and system.lists_age_s() > _LISTS_VALID_S):
        yield Step("fetch apt's package lists", "only then does it know what can be had", _fetch_lists)
    yield Step(
        f"install with apt: {', '.join(layout.PACKAGES)}, and {layout.CAMERA_PACKAGE} where it has it",
        "EZREC needs them and does not contain them",
        lambda: system.apt_install(*_missing(_wanted())),
        lambda: not _missing(_wanted()),
    )


def _fetch_lists() -> None:
    """A list that is not ours may fail, as long as ours can be had."""
    try:
        system.apt_update()
    except StepFailed:
        if not all(map(system.is_to_be_had, _missing(list(layout.PACKAGES)))):
            raise


def _wanted() -> list[str]:
    has_camera = system.is_to_be_had(layout.CAMERA_PACKAGE)
    return [*layout.PACKAGES, layout.CAMERA_PACKAGE] if has_camera else list(layout.PACKAGES)


def _missing(packages: list[str]) -> list[str]:
    return [package for package in packages if not system.is_installed(package)]
