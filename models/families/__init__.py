"""Published pruner checkpoints of others, run as they lie on the hub: who made them is read off `config.json`.

| family | network | weights, by their authors' word |
| --- | --- | --- |
| Provence | DeBERTa-v3 | `naver/provence-reranker-debertav3-v1`, CC BY-NC 4.0: no commercial use |
| XProvence | XLM-RoBERTa (bge-reranker-v2-m3) | `naver/xprovence-reranker-bgem3-v2`, no commercial use |
| OpenProvence | ModernBERT | `hotchpotch/open-provence-reranker-*`, MIT |

No such weights are shipped; whoever loads them has agreed to their licence. The checkpoints run on the torch backend,
in fp32, with this package's own segmentation, windows and merging.
"""

from secateur.models.families.encoding import FamilyEncoder
from secateur.models.families.known import FAMILIES, Family, family_of, read_family

__all__ = ["FAMILIES", "Family", "FamilyEncoder", "family_of", "read_family"]
