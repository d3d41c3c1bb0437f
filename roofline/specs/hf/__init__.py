"""Any config.json of a language model -> Model, or a refusal that names what is not understood."""

from roofline.specs.hf.hub import is_hub_name
from roofline.specs.hf.read import from_hf, is_config
from roofline.specs.hf.sheet import sheet_text

__all__ = ["from_hf", "is_config", "is_hub_name", "sheet_text"]
