"""The faults that `make mutants` puts back into the product: the lines that they change have to be there."""

from pathlib import Path

import volumehealth
from mutants.faults import FAULTS, put_back

_SOURCE = Path(volumehealth.__file__).parent


def test_each_fault_that_the_product_had_once_can_be_put_back() -> None:
    mutants = list(put_back(_SOURCE))
    assert len(mutants) == len(FAULTS)
    for mutant in mutants:
        compile(mutant.text, mutant.path, "exec")
        assert mutant.text != (_SOURCE / mutant.path).read_text(encoding="utf-8")
