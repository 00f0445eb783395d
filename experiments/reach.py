"""Claims of the guide that an ablation cannot decide at its size, named before it runs."""

from qa_core.config import RunConfig
from qa_core.data.protocols import DECIDING, resolve_protocol
from qa_core.settings.data import ProtocolName
from qa_core.settings.model import EMBEDDED_BACKBONE
from reports.claims import CLAIMS
from studies.designed.catalogue import DESIGNS
from studies.profiles import PROFILES, Profile


def out_of_reach(base: RunConfig, asked: ProtocolName, profile: Profile) -> list[str]:
    """A line for each claim that such a run leaves open: what would decide it.

    Raises:
        UserError: Protocol and data contradict each other.
    """
    protocol = resolve_protocol(asked, base.data)
    if protocol not in ("auto", *DECIDING):
        return [f"every claim of the guide: PROTOCOL={protocol} decides none"]
    found: list[str] = []
    for claim in CLAIMS:
        lacks: list[str] = []
        if claim.published_backbone and base.clip.backbone == EMBEDDED_BACKBONE:
            lacks.append("a published backbone (BACKBONE=)")
        if claim.epochs > profile.epochs:
            enough = [name for name, other in PROFILES.items() if claim.epochs <= other.epochs]
            lacks.append(f"{claim.epochs} epochs (PROFILE={enough[0]})")
        if claim.family in DESIGNS and claim.family not in profile.studies:
            lacks.append(f"its study (make study STUDY={claim.family})")
        if lacks:
            found.append(f"{claim.question}: needs {' and '.join(lacks)}")
    return found
