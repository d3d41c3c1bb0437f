"""Why a figure is what it is."""

from roofline.insight.explain import Explanation, explain

__all__ = ["Explanation", "explain"]
