"""A results file belongs to one study."""

import pytest

from codesign.errors import StudyError
from codesign.study.results import Results
from codesign.study.running import claim


def test_the_results_of_another_study_are_not_replaced(tmp_path):
    file = tmp_path / "results.sqlite"
    with Results(file) as results:
        claim(results, "first")
        claim(results, "first")  # running again is resuming
    with Results(file) as results:
        with pytest.raises(StudyError, match="holds the results and the page of the study 'first'"):
            claim(results, "second")
        claim(results, "first")
