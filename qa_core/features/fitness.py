"""Whether a backbone is fit for the images and prompts that it is given, in a sentence each."""

from qa_core.config import RunConfig
from qa_core.data.check import prompt_notes
from qa_core.features.workspace import Workspace
from qa_core.settings.model import EMBEDDED_BACKBONE


def fitness(config: RunConfig, workspace: Workspace) -> list[str]:
    """What a reader has to know before taking the results for CLIP's; empty if nothing is wrong."""
    backbone, found = workspace.backbone, list[str]()
    if config.clip.pretrained == "none":
        found.append("The backbone has random weights: nothing here says anything about CLIP.")
    if not config.data.is_own:
        return found
    if config.clip.backbone == EMBEDDED_BACKBONE:
        found.append(
            f"The embedded backbone reads {backbone.image_size} x {backbone.image_size} pixels and"
            " never saw a photograph: what it finds need not hold for CLIP (take CLIP's weights by"
            " BACKBONE= and PRETRAINED=)."
        )
    prompts = workspace.prompts if workspace.table.has_prompts else []
    cut = len(prompt_notes(prompts, backbone.tokenizer))
    if cut:
        found.append(
            f"{cut} of {len(prompts)} {_texts_words(len(prompts), workspace)} are longer than the"
            f" {backbone.tokenizer.context_length} tokens that the text tower reads, and are cut."
        )
    return found


def _texts_words(n_texts: int, workspace: Workspace) -> str:
    """What the texts of prompts are called: prompts are counted as a split keeps them together."""
    n_prompts = workspace.table.frame["group"].nunique()
    same = n_texts == n_prompts
    return "prompts" if same else f"texts of the {n_prompts} prompts that a split keeps together"
