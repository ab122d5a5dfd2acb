"""Published pruner checkpoints of other projects, recognised by their `config.json`.

| family | network | weights and licence, according to the authors |
| --- | --- | --- |
| Provence | DeBERTa-v3 | `naver/provence-reranker-debertav3-v1`, CC BY-NC 4.0: no commercial use |
| XProvence | XLM-RoBERTa (bge-reranker-v2-m3) | `naver/xprovence-reranker-bgem3-v2`, no commercial use |
| OpenProvence | ModernBERT | `hotchpotch/open-provence-reranker-*`, MIT |

These weights are not shipped; the user agrees to their licence. The checkpoints run on the torch backend in fp32, with
this package's own segmentation, windows and merging.
"""

from secateur.models.families.known import FAMILIES, Family, FamilyEncoder, family_of, read_family

__all__ = ["FAMILIES", "Family", "FamilyEncoder", "family_of", "read_family"]
