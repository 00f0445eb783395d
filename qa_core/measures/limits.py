"""The limits by which the guide judges a run: one place for advice, claims, figures and words."""

GAP_LIMIT = 0.05
"""Train-validation gap in SROCC above which a mode overfits."""

SATURATED_DELTA = 0.95
"""|delta| above which a correction counts as held back by its bound."""

BINDING_SHARE = 0.10
"""Share of saturated corrections, or of clamped predictions, above which the bound binds."""

OVER_CONSTRAINED_SHARE = 0.90
"""Share of small corrections above which a model may be over-constrained."""
